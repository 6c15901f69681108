"""The laws that every registered fold obeys, on the records of its source that a simulated shop has made.

Its rows and outputs are the same in batches of any size, with restarts and repeats; it names the rows that it changes;
what it stores it reads; what is no record of its source it rejects, and nothing else happens.
"""

import types
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from functools import cache
from itertools import repeat
from random import Random
from typing import Any, Final, Literal, NamedTuple, Union, get_args, get_origin, get_type_hints

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streams.agents import FOLDS
from streams.contract.errors import RefusedStart, RejectedRecord
from streams.contract.fold import Fold, PartitionRow, RowHeader, decode_partition_row
from streams.contract.outputs import Output
from streams.contract.records import decode_item_signals
from streams.contract.topics import EXAMPLES, ITEM_SIGNALS, METRICS
from streams.core.learning.examples import read_examples
from streams.testing import MemoryRecord, MemoryWorker, Pipeline
from tests.fuzzing import examples as of_law
from tests.pipeline.shop_log import SETTINGS, differing, shopped

EVERY_FOLD = pytest.mark.parametrize("name", FOLDS)


@cache
def fold_of(name: str) -> Fold[Any, Any, Any]:
    """The fold of that name; what it knows from its global tables does not change."""
    worker: MemoryWorker[Any, Any] = getattr(Pipeline(SETTINGS, shopped().begun_with), name)
    return worker.fold


def logs(name: str) -> dict[int, list[MemoryRecord]]:
    """The records of the fold's source by partition; some partitions have no learner."""
    topics, source = shopped().topics, fold_of(name).source
    found = {number: topics.records[source, number] for number in range(topics.partitions[source])}
    return {number: records for number, records in found.items() if records}


class Partition:
    """One partition as an engine runs it: rows and the partition's row go through their encoding at each restart."""

    def __init__(self, fold: Fold[Any, Any, Any], number: int) -> None:
        self.fold = fold
        self.number = number
        self.rows: dict[bytes, bytes] = {}
        self.outputs: list[Output] = []
        self.restart(msgspec.msgpack.encode(PartitionRow(rows_schema=fold.schema)))

    @property
    def row(self) -> bytes:
        return msgspec.msgpack.encode(self._state.row)

    def restart(self, row: bytes) -> None:
        self._state = self.fold.open(decode_partition_row(row), self.number, list(self.rows.items()))

    def step(self, records: Sequence[MemoryRecord]) -> dict[bytes, bytes]:
        """Folds a batch and stores its rows, which are returned."""
        events = []
        for record in records:
            try:
                events.append((record.offset, self.fold.decode(record, self.number)))
            except RejectedRecord:
                continue
        stored: dict[bytes, bytes] = {}
        while True:
            keys = set(self.fold.keys(self._state, events))
            rows = {key: self.fold.decode_row(self.rows[key]) if key in self.rows else None for key in keys}
            outputs, changed, n_left = self.fold.fold(self._state, events, rows)
            assert changed.keys() <= keys
            encoded = {key: self.fold.encode_row(row) for key, row in changed.items()}
            self.rows |= encoded
            stored |= encoded
            self.outputs += outputs
            if not n_left:
                self._state.row.applied_offset = records[-1].offset
                return stored
            events = events[-n_left:]

    def run(self, records: Sequence[MemoryRecord], sizes: Iterable[int], *, restarts: bool = False) -> "Partition":
        """Folds all records, in batches of these sizes, with or without a restart after each."""
        begin = 0
        for size in sizes:
            if begin >= len(records):
                break
            self.step(records[begin : begin + size])
            begin += size
            if restarts:
                self.restart(self.row)
        return self


def random_sizes(random: Random) -> Iterator[int]:
    while True:
        yield random.choice((1, 2, 7, 60, 500))


@cache
def one_by_one(name: str) -> dict[int, Partition]:
    return {number: Partition(fold_of(name), number).run(log, repeat(1)) for number, log in logs(name).items()}


class Line(NamedTuple):
    """Where an output is read: outputs of one line have an order, others have none between them."""

    topic: str
    partition: int | None
    key: bytes | None


def read(outputs: Sequence[Output]) -> dict[Any, Any]:
    """What readers find: the last of each key where that is all that is kept; of batches what is in them."""
    last_is_all = {topic.name for topic in shopped().settings.topics if topic.cleanup == "compact"} | {METRICS}
    found: dict[Any, list[Any]] = defaultdict(list)
    for output in outputs:
        line = Line(output.topic, output.partition, output.key)
        if output.topic == EXAMPLES:
            examples = read_examples(output.value)
            found[line] += zip(*(column.tolist() for column in examples if isinstance(column, np.ndarray)), strict=True)
            found[line, "outcomes"] += zip(*(column.tolist() for column in examples.outcomes), strict=True)
            if examples.size:
                found[line, "columns"] = [examples.learner, examples.partition, examples.models, examples.reward_types]
        elif output.topic == ITEM_SIGNALS:
            found[line] += decode_item_signals(output.value).signals
        elif output.topic in last_is_all:
            found[line] = [output.value]
        else:
            found[line].append((output.value, output.headers))
    return found


def check_the_same(name: str, partition: Partition) -> None:
    expected = one_by_one(name)[partition.number]
    assert not differing(partition.rows, expected.rows)
    assert decode_partition_row(partition.row) == decode_partition_row(expected.row)


@EVERY_FOLD
def test_there_are_records_to_fold_and_rows_come_of_them(name: str) -> None:
    assert len(logs(name)) > 1
    for number, log in logs(name).items():
        assert len(log) > 5
        assert one_by_one(name)[number].rows
        assert one_by_one(name)[number].outputs


@EVERY_FOLD
@pytest.mark.parametrize("seed", [1, 2])
def test_rows_and_outputs_are_the_same_in_any_batches(name: str, seed: int) -> None:
    for number, log in logs(name).items():
        partition = Partition(fold_of(name), number).run(log, random_sizes(Random(seed)))
        check_the_same(name, partition)
        assert read(partition.outputs) == read(one_by_one(name)[number].outputs)


@EVERY_FOLD
def test_a_restart_after_every_batch_changes_nothing(name: str) -> None:
    for number, log in logs(name).items():
        partition = Partition(fold_of(name), number).run(log, random_sizes(Random(3)), restarts=True)
        check_the_same(name, partition)
        assert read(partition.outputs) == read(one_by_one(name)[number].outputs)


@EVERY_FOLD
@pytest.mark.parametrize("seed", [4, 5, 6])
def test_what_is_folded_again_changes_no_row_however_much_of_a_batch_was_stored(name: str, seed: int) -> None:
    random = Random(seed)
    for number, log in logs(name).items():
        begin = random.randrange(len(log) // 2)
        batch = log[begin : begin + random.choice((20, 200))]
        partition = Partition(fold_of(name), number).run(log[:begin], random_sizes(random))
        row, before = partition.row, dict(partition.rows)
        changed = partition.step(batch)
        after = dict(partition.rows)
        partition.restart(row)
        partition.run(batch, random_sizes(random))
        assert not differing(partition.rows, after)
        partition.rows = before | {key: value for key, value in changed.items() if random.random() < 0.5}
        partition.restart(row)
        partition.run(log[begin:], random_sizes(random))
        assert not differing(partition.rows, one_by_one(name)[number].rows)


@EVERY_FOLD
def test_a_row_is_stored_as_it_is_and_begins_with_its_header(name: str) -> None:
    fold = fold_of(name)
    for number, log in logs(name).items():
        for value in one_by_one(name)[number].rows.values():
            row = fold.decode_row(value)
            assert fold.encode_row(row) == value
            header = msgspec.msgpack.decode(value, type=RowHeader)
            assert header == RowHeader(row.applied_offset, row.deadline_ms)
            assert 0 <= header.applied_offset <= log[-1].offset


PRIMITIVES: Final[dict[Any, st.SearchStrategy[Any]]] = {
    int: st.integers(-(2**63), 2**63 - 1),
    float: st.floats(allow_nan=False),
    str: st.text(max_size=8),
    bytes: st.binary(max_size=16),
    bool: st.booleans(),
    type(None): st.none(),
    Any: st.lists(st.integers(0, 9) | st.binary(max_size=8), max_size=3),
}


def values(kind: Any) -> st.SearchStrategy[Any]:
    """Draws anything that a field of this type may hold."""
    arguments = get_args(kind)
    if kind in PRIMITIVES:
        return PRIMITIVES[kind]
    if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
        return st.builds(kind, **{field.name: values(field.type) for field in msgspec.structs.fields(kind)})
    if get_origin(kind) is list:
        return st.lists(values(arguments[0]), max_size=3)
    if get_origin(kind) is dict:
        return st.dictionaries(values(arguments[0]), values(arguments[1]), max_size=3)
    if get_origin(kind) is tuple:
        return st.tuples(*(values(each) for each in arguments if each is not Ellipsis))
    assert get_origin(kind) in (Literal, Union, types.UnionType), kind
    return st.sampled_from(arguments) if get_origin(kind) is Literal else st.one_of(*map(values, arguments))


@cache
def rows(name: str) -> st.SearchStrategy[Any]:
    """Draws any row of a fold."""
    return values(get_type_hints(type(fold_of(name)).decode_row)["return"])


@EVERY_FOLD
@settings(max_examples=of_law(40))
@given(data=st.data())
def test_any_row_that_was_encoded_is_decoded_and_its_header_is_readable_alone(name: str, data: st.DataObject) -> None:
    fold, row = fold_of(name), data.draw(rows(name))
    encoded = fold.encode_row(row)
    assert fold.decode_row(encoded) == row
    assert fold.encode_row(fold.decode_row(encoded)) == encoded
    assert msgspec.msgpack.decode(encoded, type=RowHeader) == RowHeader(row.applied_offset, row.deadline_ms)


@EVERY_FOLD
@settings(max_examples=of_law(40))
@given(data=st.data(), n_missing=st.integers(1, 15))
def test_a_row_of_an_older_version_lacks_what_came_later_and_is_read(
    name: str, data: st.DataObject, n_missing: int
) -> None:
    fold, row = fold_of(name), data.draw(rows(name))
    whole = msgspec.msgpack.decode(fold.encode_row(row))
    older = fold.decode_row(msgspec.msgpack.encode(whole[: max(len(whole) - n_missing, 0)]))
    assert older.applied_offset == (row.applied_offset if n_missing < len(whole) else -1)


Changes = list[tuple[int, int, bytes]]
changes: st.SearchStrategy[Changes] = st.lists(
    st.tuples(st.integers(0, 10**6), st.integers(0, 3), st.binary(max_size=3)), max_size=4
)


def changed(value: bytes, changes: Changes) -> bytes:
    """Replaces a few bytes, here and there."""
    spoiled = bytearray(value)
    for place, length, replacement in changes:
        start = place % (len(spoiled) + 1)
        spoiled[start : start + length] = replacement
    return bytes(spoiled)


@EVERY_FOLD
@given(data=st.data(), value=st.binary(max_size=300), changes=changes)
def test_any_bytes_are_a_row_or_said_to_be_none(name: str, data: st.DataObject, value: bytes, changes: Changes) -> None:
    fold = fold_of(name)
    for stored in (value, changed(fold.encode_row(data.draw(rows(name))), changes)):
        try:
            row = fold.decode_row(stored)
        except (msgspec.DecodeError, UnicodeDecodeError):
            continue
        except RefusedStart:
            with pytest.raises(RefusedStart, match=r"of schema \d+, and this version reads \d+ to \d+"):
                fold.decode_row(stored)
            continue
        assert fold.decode_row(fold.encode_row(row)) == row or "nan" in repr(row)


def read_or_rejected(name: str, record: MemoryRecord, partition: int) -> bool:
    """Whether a record is taken; whatever it is, nothing but a RejectedRecord is raised."""
    try:
        fold_of(name).decode(record, partition)
    except RejectedRecord:
        return False
    return True


@EVERY_FOLD
@given(value=st.none() | st.binary(max_size=300), key=st.none() | st.binary(max_size=20))
def test_bytes_are_no_record(name: str, value: bytes | None, key: bytes | None) -> None:
    assert not read_or_rejected(name, MemoryRecord(0, 1_700_000_000_000, key, value), 0)


HOSTILE: Final[tuple[Any, ...]] = (
    None,
    "",
    "\0",
    "x" * 200,
    -1,
    1.5,
    2**63 - 1,
    -(2**63),
    1e308,
    -1e308,
    [],
    {},
    b"",
    b"\xff" * 7,
    True,
)


@st.composite
def with_a_value_changed(draw: st.DrawFn, value: bytes) -> bytes:
    """Replaces one value, wherever it is, by another, or leaves it out."""
    codec: Any = msgspec.json if value[:1] == b"{" else msgspec.msgpack
    node = tree = codec.decode(value)
    while True:
        key = draw(st.sampled_from(sorted(node) if isinstance(node, dict) else range(len(node))))
        if not (isinstance(node[key], dict | list) and node[key] and draw(st.booleans())):
            break
        node = node[key]
    if draw(st.booleans()):
        del node[key]
    elif isinstance(node[key], bytes) and draw(st.booleans()):
        node[key] = node[key][: draw(st.integers(0, len(node[key])))]
    else:
        node[key] = draw(st.sampled_from(HOSTILE))
    encoded: bytes = codec.encode(tree)
    return encoded


@EVERY_FOLD
@given(data=st.data(), changes=changes)
def test_a_record_with_bytes_or_a_value_changed_is_rejected_or_folded(
    name: str, data: st.DataObject, changes: Changes
) -> None:
    number = data.draw(st.sampled_from(sorted(logs(name))))
    log = logs(name)[number]
    record = data.draw(st.sampled_from([record for record in log if read_or_rejected(name, record, number)]))
    value = record.value or b""
    for spoiled in (changed(value, changes), data.draw(with_a_value_changed(value))):
        hostile = record._replace(offset=log[-1].offset + 1, value=spoiled)
        if read_or_rejected(name, hostile, number):
            end, partition = one_by_one(name)[number], Partition(fold_of(name), number)
            partition.rows = dict(end.rows)
            partition.restart(end.row)
            for row in partition.step([hostile]).values():
                assert partition.fold.encode_row(partition.fold.decode_row(row)) == row


@EVERY_FOLD
def test_a_record_of_another_partition_or_cut_short_is_rejected(name: str) -> None:
    for number, log in logs(name).items():
        taken = [record for record in log if read_or_rejected(name, record, number)]
        assert len(taken) > 5
        for record in taken[:20]:
            value = record.value or b""
            assert not read_or_rejected(name, record._replace(value=value[:-1]), number)
            # Time may pass in any partition.
            others = [] if b'"tick"' in value else [other for other in logs(name) if other != number]
            assert not any(read_or_rejected(name, record, other) for other in others)
