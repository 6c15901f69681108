"""Outcomes of what was served: what Behaviour sends of them, which of them are refused, and that each counts once."""

from itertools import pairwise
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streams.contract.arrays import unpack_arrays
from streams.contract.errors import RejectedRecord
from streams.contract.records import MSGPACK, N_GROUPS, ExampleBatch, ServedBatch
from streams.core.learning.examples import Outcomes, read_examples
from streams.core.models.served_quality import ServedEvaluation
from tests.learning.test_learning_fold import Record, Worker, batch, models_of

Positions = list[tuple[int, int]]

ALIKE = {"offsets": np.int64, "indices": np.int32, "served": np.float32, "labels": np.float64}
"""Columns whose bytes are changed, with their types; the others are one byte a row, but for the times."""


def served(positions: Positions, partition: int = 0, **changes: bytes) -> ServedBatch:
    """Outcomes that depend on nothing but their source positions."""
    random = [np.random.default_rng([9, partition, *position]) for position in positions]
    columns = {
        "offsets": np.array([offset for offset, _ in positions], np.int64).tobytes(),
        "indices": np.array([index for _, index in positions], np.int32).tobytes(),
        "served": np.array([each.random() for each in random], np.float32).tobytes(),
        "labels": np.array([float(each.random() < 0.4) for each in random]).tobytes(),
        "timestamps_ms": np.array([1_700_000_000_000 + offset for offset, _ in positions], np.int64).tobytes(),
        "groups": bytes(int(each.integers(N_GROUPS)) for each in random),
        "from_prior": bytes(int(each.random() < 0.2) for each in random),
    }
    return ServedBatch(**(columns | changes))


def sent(positions: Positions, partition: int = 0, /, **changes: bytes) -> ExampleBatch:
    """Outcomes at all positions, and examples at each second one."""
    examples = batch("purchase", positions[::2], partition)
    return msgspec.structs.replace(examples, outcomes=served(positions, partition, **changes))


def log() -> list[ExampleBatch]:
    """Records of two partitions: outcomes alone, examples with outcomes, examples alone."""
    records = []
    for number in range(24):
        positions = [(3 * number + offset, index) for offset in range(3) for index in range(2)]
        partition = number % 2
        match number % 3:
            case 0:
                records.append(msgspec.structs.replace(batch("purchase", []), partition=partition))
                records[-1] = msgspec.structs.replace(records[-1], outcomes=served(positions, partition))
            case 1:
                records.append(sent(positions, partition))
            case _:
                records.append(batch("purchase", positions, partition))
    return records


def all_outcomes() -> list[Outcomes]:
    return [read_examples(MSGPACK.encode(record)).outcomes for record in log()]


def evaluation(worker: Worker) -> dict[str, np.ndarray]:
    arrays = unpack_arrays(worker.row.evaluation)
    return {name: array for name, array in arrays.items() if name.startswith("served/")}


@given(cuts=st.lists(st.integers(0, 24), max_size=5), again=st.integers(0, 23))
@settings(deadline=None, max_examples=15)
def test_each_outcome_counts_once_however_records_are_cut_and_repeated(cuts: list[int], again: int) -> None:
    worker, events = Worker(), Worker().decode(log())
    for start, end in pairwise([0, *sorted(cuts), 24]):
        worker.run(events[start:end])
    before = worker.row
    repeated = Worker().decode(log()[again:], first_offset=24)
    worker.run(repeated)
    assert (worker.row.state, worker.row.evaluation) == (before.state, before.evaluation)
    assert worker.row.duplicates == sum(len(each._positions()) for _, each in repeated)

    plain = ServedEvaluation(is_amount=False)
    for outcomes in all_outcomes():
        plain.update(outcomes.served, outcomes.labels, outcomes.groups, outcomes.from_prior)
    quality = models_of(worker.metrics).served
    assert quality == plain.quality()
    n_prior = sum(int(outcomes.from_prior.sum()) for outcomes in all_outcomes())
    assert (quality.from_prior, quality.quality.examples) == (n_prior, 16 * 6 - n_prior)


def test_outcomes_regrouped_by_a_repeat_count_once() -> None:
    positions = [(offset, index) for offset in range(12) for index in range(2)]
    straight, crashed = Worker(), Worker()
    straight.run(straight.decode([sent(positions)]))
    crashed.run(crashed.decode([sent(positions[:10])]))
    crashed.run(crashed.decode([sent(positions[4:16]), sent(positions[2:])], first_offset=1))
    assert crashed.row.evaluation == straight.row.evaluation
    assert crashed.row.state == straight.row.state
    assert crashed.row.duplicates == 6 + 14


def test_outcomes_without_an_example_are_measured_and_teach_nothing() -> None:
    worker = Worker()
    worker.run(worker.decode([batch("purchase", [(0, 0), (1, 0)])]))
    state, examples = worker.row.state, worker.row.examples
    alone = msgspec.structs.replace(batch("purchase", []), outcomes=served([(2, 0), (2, 1), (5, 0)]))
    worker.run(worker.decode([alone], first_offset=1))
    assert (worker.row.state, worker.row.examples) == (state, examples)
    assert worker.row.applied_positions.last == {0: (0, 5, 0)}
    quality = models_of(worker.metrics).served
    assert quality.quality.examples + quality.from_prior == 3
    assert worker.row.version == 2


def changed(name: str, values: list[Any], dtype: Any) -> dict[str, bytes]:
    return {name: np.array(values, dtype).tobytes()}


@pytest.mark.parametrize(
    "changes",
    [
        changed("offsets", [2, 1, 3], np.int64),
        changed("offsets", [1, 1, 3], np.int64),
        changed("offsets", [1, 2], np.int64),
        changed("served", [0.1, np.nan, 0.2], np.float32),
        changed("served", [0.1, np.inf, 0.2], np.float32),
        changed("served", [0.1, -0.1, 0.2], np.float32),
        changed("served", [0.1, 1.5, 0.2], np.float32),
        changed("served", [0.1, 0.2, 0.2], np.float64),
        changed("labels", [0.0, np.nan, 1.0], np.float64),
        changed("labels", [0.0, 0.5, 1.0], np.float64),
        changed("labels", [0.0, 1.0], np.float64),
        changed("groups", [0, N_GROUPS, 1], np.uint8),
        changed("groups", [0, 1], np.uint8),
        changed("from_prior", [0, 1], np.uint8),
        changed("timestamps_ms", [1, 2, 3], np.int32),
        {"indices": b""},
        {"served": b"\x00"},
    ],
    ids=lambda changes: next(iter(changes)),
)
def test_outcomes_that_would_spoil_a_measure_are_malformed(changes: dict[str, bytes]) -> None:
    record = sent([(1, 0), (2, 0), (3, 0)], **changes)
    with pytest.raises(RejectedRecord) as rejected:
        Worker().decode([record])
    assert rejected.value.reason == "malformed"


def test_neither_examples_nor_outcomes_is_malformed() -> None:
    nothing = batch("purchase", [])
    for record in (nothing, msgspec.structs.replace(nothing, outcomes=served([]))):
        with pytest.raises(RejectedRecord, match="no examples"):
            Worker().decode([record])


VALID = MSGPACK.encode(sent([(number, 0) for number in range(5)]))


@given(place=st.integers(0, len(VALID) - 1), byte=st.integers(0, 255), cut=st.integers(0, 3))
@settings(max_examples=150, deadline=None)
def test_a_record_with_a_byte_changed_is_measured_or_malformed_and_never_crashes(
    place: int, byte: int, cut: int
) -> None:
    mutated = bytearray(VALID)
    mutated[place] = byte
    worker = Worker()
    try:
        event = worker.fold.decode(Record(bytes(mutated[: len(mutated) - cut])), worker.partition)
    except RejectedRecord:
        return
    worker.run([(0, event)])
    for array in evaluation(worker).values():
        assert np.isfinite(array).all()


@given(name=st.sampled_from(sorted(ALIKE)), place=st.integers(0, 4), content=st.binary(min_size=8, max_size=8))
@settings(max_examples=150, deadline=None)
def test_outcomes_with_any_numbers_are_measured_or_malformed_and_spoil_no_sum(
    name: str, place: int, content: bytes
) -> None:
    positions = [(number, 0) for number in range(5)]
    size = np.dtype(ALIKE[name]).itemsize
    column = bytearray(getattr(served(positions), name))
    column[place * size : (place + 1) * size] = content[:size]
    worker = Worker()
    try:
        events = worker.decode([sent(positions, **{name: bytes(column)})])
    except RejectedRecord:
        return
    worker.run(events)
    assert all(np.isfinite(array).all() for array in evaluation(worker).values())
    assert models_of(worker.metrics).served.quality.log_loss is not None
