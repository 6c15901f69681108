"""No bytes, and no well-formed record with hostile values, on a topic between folds raises anything but a rejection."""

import struct
from collections.abc import Callable
from copy import deepcopy
from typing import Any, Final, NamedTuple

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streams.contract.errors import RejectedRecord
from streams.contract.fold import Fold, PartitionRow
from streams.contract.metrics import decode_metrics
from streams.contract.outputs import Output
from streams.contract.records import (
    MSGPACK,
    ExampleBatch,
    ItemSignal,
    ItemSignalBatch,
    ItemSummary,
    decode_item,
    decode_parameters,
)
from streams.contract.settings import Items, Kafka, Settings
from streams.contract.topics import ITEMS, METRICS, MODELS
from streams.core.features.schema import feature_schema
from streams.core.items.fold import ItemsFold
from streams.core.learning import LearningFold
from streams.core.models.scoring import Scorers
from streams.core.policies.q_agent import N_STATES
from streams.core.policies.reward_models import PolicyModels
from streams.core.policies.slate_features import N_FEATURES
from streams.core.retrieval.item_table import ItemTable
from tests.fuzzing import examples

NOW_MS: Final = 1_700_000_000_000
DEFAULTS: Final = Settings()
SETTINGS: Final = Settings(
    kafka=Kafka(partitions=1),
    items=Items(neighbours=3, max_items=64),
    targets=tuple(
        msgspec.structs.replace(target, models=models)
        for target, models in zip(
            DEFAULTS.targets, [("linear", "ftrl", "blend"), ("additive", "kernel"), ("hurdle",)], strict=False
        )
    ),
)
SCHEMA: Final = feature_schema(SETTINGS.windows)
WIDTHS: Final = {"bandit": N_FEATURES + 2, "q": 4}

NUMBERS: Final = (-5, -1, 0, 1, 2**31, 2**53, 2**63 - 1, 2**63, 2**64 - 1, -(2**63), 10**13)
FLOATS: Final = (float("nan"), float("inf"), -float("inf"), -5.0, -0.0, 5e-324, 1e15, 1e300, 1.7e308)
COLUMN_CELLS: Final = tuple(struct.pack("<d", number) for number in FLOATS) + tuple(
    struct.pack("<q", number) for number in (-1, 0, 1, 2**62, 2**63 - 1, -(2**63))
)
SINGLE_CELLS: Final = tuple(struct.pack("<f", number) for number in (np.nan, np.inf, -1.0, 0.5, 3e38, 1e15, 1e-40))

junk = st.one_of(
    st.sampled_from(NUMBERS),
    st.sampled_from(FLOATS),
    st.none(),
    st.booleans(),
    st.sampled_from(["", "\0", "\0partition", "a", "x" * 200, "linear#2", "blend", "[" * 90]),
    st.binary(max_size=24),
    st.sampled_from([[], [[]], ["a"] * 300, [1.0] * 300, list(range(9)), {}, {"a": 1}, {1: 2}]),
)


def paths(value: Any, here: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The place of every value within a record."""
    found = [here]
    entries = enumerate(value) if isinstance(value, list) else value.items() if isinstance(value, dict) else ()
    for key, entry in entries:
        found += paths(entry, (*here, key))
    return found


@st.composite
def hostile(draw: st.DrawFn, name: str) -> bytes:
    """A record with a few values that are another's, or with other bytes; sometimes only bytes."""
    if draw(st.integers(0, 9)) == 0:
        return draw(st.binary(max_size=60))
    record = msgspec.msgpack.decode(GOOD[name])
    for _ in range(draw(st.integers(1, 3))):
        *path, last = draw(st.sampled_from(paths(record)[1:]))
        parent = record
        for key in path:
            parent = parent[key]
        parent[last] = deepcopy(draw(spoiled(parent[last])))
    encoded = MSGPACK.encode(record)
    return encoded if draw(st.integers(0, 9)) else encoded[: draw(st.integers(0, len(encoded)))]


def spoiled(value: Any) -> st.SearchStrategy[Any]:
    if isinstance(value, bytes) and value:
        cells = st.sampled_from(COLUMN_CELLS + SINGLE_CELLS)
        return st.one_of(st.builds(overwritten, st.just(value), st.integers(0, len(value) - 1), cells), junk)
    if isinstance(value, float):
        return st.one_of(st.sampled_from(FLOATS), junk)
    if isinstance(value, int):
        return st.one_of(st.sampled_from(NUMBERS), junk)
    if isinstance(value, list) and value:
        return st.one_of(st.just(value * 2), st.just(value[:-1]), st.just(value * 200), junk)
    return junk


def overwritten(content: bytes, place: int, cell: bytes) -> bytes:
    begin = place // len(cell) * len(cell)
    return (content[:begin] + cell + content[begin + len(cell) :])[: len(content)]


class Record(NamedTuple):
    value: bytes | None
    offset: int = 0
    timestamp: int = 0
    key: bytes | None = None
    timestamp_type: int = 0


SIGNALS: Final = MSGPACK.encode(
    ItemSignalBatch(
        0,
        [
            ItemSignal(1, 0, NOW_MS, "a", "view", "hats", 9.5, ["b", "c"]),
            ItemSignal(1, 1, NOW_MS, "b", "covisit", None, None, ["a"], 1),
            ItemSignal(2, 0, NOW_MS + 1, "a", "purchase", "hats", 9.0, ["b"]),
            ItemSignal(3, 0, NOW_MS + 2, "a", "impression", None, None, []),
        ],
    )
)
SUMMARY: Final = MSGPACK.encode(
    ItemSummary("a", "hats", 9.5, NOW_MS, NOW_MS + 5, 3.5, 9.0, 1.0, ["b", "c"], [2.0, 1.0], ["b"], [1.0])
)


def example_batch(learner: str) -> bytes:
    n, predicts = 4, learner not in WIDTHS
    random = np.random.default_rng(len(learner))
    columns = WIDTHS.get(learner, len(SCHEMA.names))
    vectors = random.lognormal(1.0, 1.0, (n, columns))
    if learner == "bandit":
        vectors[:, -2:] = [[0, 0], [1, 1], [2, 0], [3, 1]]
    if learner == "q":
        vectors[:] = [[1, 1, 2, 3], [2, 0, -1, 0], [0, 1, N_STATES - 1, 1], [3, 2, 1, 7]]
    models = next((target.models for target in SETTINGS.targets if target.name == learner), ())
    types = ["click", "margin"] if learner == "bandit" else []
    outcomes = None
    if predicts:
        served = (np.arange(n, dtype=np.int64), np.zeros(n, np.int32), np.full(n, 0.3, np.float32), np.ones(n))
        rest = (np.full(n, NOW_MS, np.int64), np.arange(n, dtype=np.uint8), np.array([0, 0, 1, 0], np.uint8))
        outcomes = [column.tobytes() for column in (*served, *rest)]
    batch = [
        learner,
        0,
        np.arange(n, dtype=np.int64).tobytes(),
        np.zeros(n, np.int32).tobytes(),
        columns,
        vectors.astype(np.float32).tobytes(),
        np.array([0.0, 1.0, 0.0, 1.0]).tobytes(),
        list(models),
        random.random((n, len(models))).tobytes(),
        np.full(n, 3.0).tobytes(),
        np.full(n, NOW_MS, np.int64).tobytes(),
        types,
        np.zeros((n, len(types))).tobytes(),
        [],
        np.zeros(n, np.int8).tobytes(),
        outcomes,
    ]
    return MSGPACK.encode(msgspec.convert(batch, ExampleBatch))


def folded(fold: Fold[Any, Any, Any], partition: int, *values: bytes) -> list[Output]:
    """Folds what is not rejected, each record in a batch of its own, and its rows through their encoding."""
    row, stored, outputs = PartitionRow(), dict[bytes, bytes](), list[Output]()
    for offset, value in enumerate(values):
        try:
            event = fold.decode(Record(value, offset), partition)
        except RejectedRecord:
            continue
        state = fold.open(row, partition, stored.items())
        events = [(offset, event)]
        rows = {key: fold.decode_row(stored[key]) if key in stored else None for key in fold.keys(state, events)}
        result = fold.fold(state, events, rows)
        stored |= {key: fold.encode_row(changed) for key, changed in result.rows.items()}
        outputs += result.outputs
        row = msgspec.msgpack.decode(MSGPACK.encode(state.row), type=PartitionRow)
    return outputs


def changed(name: str, changes: dict[tuple[int, ...], Any]) -> bytes:
    """A good record with some values of somebody else's, each by its place."""
    record = msgspec.msgpack.decode(GOOD[name])
    for (*path, last), value in changes.items():
        parent = record
        for key in path:
            parent = parent[key]
        parent[last] = value
    return MSGPACK.encode(record)


def doubles(*numbers: float) -> bytes:
    return struct.pack(f"<{len(numbers)}d", *numbers)


def longs(*numbers: int) -> bytes:
    return struct.pack(f"<{len(numbers)}q", *numbers)


@pytest.mark.parametrize(
    "changes",
    [
        {(0,): 7},
        {(0,): -1},
        {(1, 0, 0): 2**63},
        {(1, 0, 2): 2**63},
        {(1, 0, 2): -1},
        {(1, 0, 3): "\0partition"},
        {(1, 0, 3): ""},
        {(1, 0, 4): "stare"},
        {(1, 0, 6): -5.0},
        {(1, 0, 6): float("nan")},
        {(1, 0, 7): ["b"] * 129},
    ],
)
def test_signals_of_hostile_values_are_malformed(changes: dict[tuple[int, ...], Any]) -> None:
    with pytest.raises(RejectedRecord) as rejected:
        ItemsFold(SETTINGS).decode(Record(changed("signals", changes)), 0)
    assert rejected.value.reason == "malformed"


@pytest.mark.parametrize(
    "changes",
    [
        {(3,): -1},
        {(4,): 2**63},
        {(5,): -5.0},
        {(5,): float("nan")},
        {(7,): float("inf")},
        {(2,): -1.0},
        {(8,): ["b"] * 129, (9,): [1.0] * 129},
        {(9,): [1.0]},
        {(9,): [1.0] * 3},
        {(9,): [1.0, -1.0]},
        {(10,): []},
    ],
)
def test_an_item_of_hostile_values_is_refused(changes: dict[tuple[int, ...], Any]) -> None:
    assert decoded(decode_item, changed("summary", changes)) is None


@pytest.mark.parametrize(
    "changes",
    [
        {(1,): 1},
        {(1,): 2**40},
        {(2,): longs(-1, 1, 2, 3)},
        {(4,): 2**62, **dict.fromkeys([(2,), (3,), (5,), (6,), (8,), (9,), (10,), (14,)], b"")},
        {(6,): doubles(0.0, 1.0, 2.0, 0.0)},
        {(7,): [], (8,): b""},
        {(7,): ["linear", "linear", "blend"]},
        {(9,): doubles(1.0, 1.0, 1.0, 1e300)},
        {(9,): doubles(1.0, 1.0, 1.0, 5e-324)},
        {(10,): longs(0, 0, 0, 2**62)},
        {(10,): longs(0, 0, 0, -1)},
        {(11,): ["click"], (12,): doubles(*[0.0] * 4)},
        {(15, 4): longs(0, 0, 0, 2**62)},
        {(15, 6): b"\0\0\2\0"},
    ],
)
def test_examples_of_hostile_values_are_malformed(changes: dict[tuple[int, ...], Any]) -> None:
    own = SETTINGS.partition_of_learner("purchase")
    with pytest.raises(RejectedRecord) as rejected:
        LearningFold(SETTINGS).decode(Record(changed("purchase", changes)), own)
    assert rejected.value.reason == "malformed"


@settings(max_examples=examples(200))
@given(hostile("signals"))
def test_no_item_signals_end_the_items_fold_or_publish_what_readers_refuse(value: bytes) -> None:
    outputs = folded(ItemsFold(SETTINGS), 0, SIGNALS, value, SIGNALS)
    assert {output.topic for output in outputs} <= {ITEMS}
    for output in outputs:
        decode_item(output.value)


@pytest.mark.parametrize("learner", SETTINGS.learners)
def test_no_examples_end_the_learning_fold_or_publish_what_readers_refuse(learner: str) -> None:
    good, partition = example_batch(learner), SETTINGS.partition_of_learner(learner)
    assert folded(LearningFold(SETTINGS), partition, good), "the record that is spoiled is a good one"

    @settings(max_examples=examples(150))
    @given(hostile(learner))
    def law(value: bytes) -> None:
        scorers, policies = Scorers(SETTINGS.targets, SCHEMA), PolicyModels(SETTINGS.decisions)
        for output in folded(LearningFold(SETTINGS), partition, value, good):
            if output.topic == METRICS:
                decode_metrics(output.value)
            else:
                assert output.topic == MODELS
                parameters = decode_parameters(output.value)
                assert (policies if learner in policies.versions else scorers).apply(parameters), parameters

    law()


@settings(max_examples=examples(200))
@given(st.lists(hostile("summary"), min_size=1, max_size=4))
def test_no_item_ends_the_item_table(values: list[bytes]) -> None:
    item_table = ItemTable(SETTINGS)
    for value in [SUMMARY, *values, SUMMARY]:
        if (summary := decoded(decode_item, value)) is not None:
            item_table.apply([summary])
    n = len(item_table)
    assert np.isfinite(item_table.popularity[:n]).all()
    assert np.isfinite(item_table.ctr(np.arange(n))).all()
    assert not np.isnan(item_table.standing[:n]).any()
    assert (item_table.closeness[:n] >= 0.0).all()
    assert all(0 <= item < n for item in [*item_table.popular, *item_table.newest])


def models() -> dict[str, bytes]:
    fold = LearningFold(SETTINGS)
    return {
        (output.key or b"").decode(): output.value
        for learner in SETTINGS.learners
        for output in folded(fold, SETTINGS.partition_of_learner(learner), example_batch(learner))
        if output.topic == MODELS
    }


GOOD_MODELS: Final = models()
GOOD: Final = {
    "signals": SIGNALS,
    "summary": SUMMARY,
    **{learner: example_batch(learner) for learner in SETTINGS.learners},
    **GOOD_MODELS,
}
"""By a name, so that a failure does not print them."""


@pytest.mark.parametrize("model", GOOD_MODELS)
def test_no_parameters_end_who_scores_with_them(model: str) -> None:
    good = decode_parameters(GOOD_MODELS[model])
    vectors = np.random.default_rng(0).lognormal(1.0, 3.0, (5, len(SCHEMA.names))).astype(np.float32)

    @settings(max_examples=examples(100))
    @given(hostile(model))
    def law(value: bytes) -> None:
        parameters = decoded(decode_parameters, value)
        if parameters is None:
            return
        scorers, policies = Scorers(SETTINGS.targets, SCHEMA), PolicyModels(SETTINGS.decisions)
        for each in (parameters, good, parameters):
            (policies if each.learner in policies.versions else scorers).apply(each)
        for target in scorers.names:
            assert np.isfinite(scorers.score(target, vectors)).all()
            scorers.reasons(target, vectors)
        for reward in policies.rewards.values():
            estimates = reward.estimate(np.ones((2, 3, N_FEATURES)), deviations=True)
            assert np.isfinite(estimates.means).all()
            assert np.isfinite(estimates.deviations).all()
        assert np.isfinite(policies.table).all()

    law()


def decoded(decode: Callable[[bytes], Any], value: bytes) -> Any:
    """Decodes as the reader of a global table does, which refuses what raises one of these errors."""
    try:
        return decode(value)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
