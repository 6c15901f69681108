"""Rows on a real disk: recovery keeps the highest applied offset, and what is in memory is read anew after it."""

from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest
from confluent_kafka import Producer
from faust.types import TP
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from streams.contract.errors import BrokenInvariant
from streams.contract.fold import PARTITION_KEY, PartitionRow, RowHeader
from streams.contract.settings import load_settings
from streams.contract.topics import USERS_CHANGELOG
from streams.engine.offsets import Coverage
from streams.engine.tables import BatchStore, standby_left
from streams.engine.transport import Batch
from tests.engine import counting
from tests.engine.counting import Count
from tests.engine.supervised import PARTITIONS, running, stored_rows
from tests.timeouts import HANG_S


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """The table of an app that is built and not started; its store has a disk and needs no broker."""
    folder = tmp_path_factory.mktemp("data")
    app = counting.build(load_settings(environment={"HEADRACE_ENGINE__DATA_DIR": f'"{folder}"'}))
    app.finalize()
    yield app.tables["users"]
    app.offsets.close()


def changelog_batch(partition: int, rows: list[tuple[bytes, int, int]], first_offset: int) -> Any:
    """A fetched batch of the changelog, as Faust's recovery hands it over."""
    records = [
        SimpleNamespace(
            offset=first_offset + index,
            key=key,
            value=msgspec.msgpack.encode(Count(applied_offset=applied_offset, events=mark)),
        )
        for index, (key, applied_offset, mark) in enumerate(rows)
    ]
    end = first_offset + len(records)
    batch = Batch(records, first_offset, end)
    return SimpleNamespace(message=SimpleNamespace(partition=partition, value=batch, offset=end - 1))


partitions_used = iter(range(1_000_000))


@given(guards=st.lists(st.tuples(st.sampled_from([b"a", b"b"]), st.integers(0, 5)), min_size=1), data=st.data())
@settings(deadline=None, max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_recovery_keeps_the_row_with_the_highest_guard_and_of_equals_the_last(
    table: Any, guards: list[tuple[bytes, int]], data: st.DataObject
) -> None:
    store: BatchStore = table.data
    partition = next(partitions_used)
    rows = [(key, applied_offset, mark) for mark, (key, applied_offset) in enumerate(guards)]
    cut = data.draw(st.integers(0, len(rows)))
    for begin, part in ((0, rows[:cut]), (cut, rows[cut:])):
        if part:
            store.apply_changelog_batch([changelog_batch(partition, part, begin)], None, None)
    expected = {key: max(row[1:] for row in rows if row[0] == key) for key in {row[0] for row in rows}}
    found = {key: msgspec.msgpack.decode(value, type=Count) for key, value in store.scan(partition)}
    assert {key: (row.applied_offset, row.events) for key, row in found.items()} == expected
    assert store._db_for_partition(partition).get(store.offset_key) == str(len(rows) - 1).encode()
    store._dbs.pop(partition).close()


hostile_values = st.one_of(
    st.none(),
    st.binary(max_size=12),
    st.sampled_from([b"", b"\xc1", b"\x90", b"\x91\xc0", b"[" * 99, msgspec.msgpack.encode(["x"]), b"\x92\x01\xa1a"]),
    st.builds(
        # As a partition's row its third field is the number of a schema: the present one, or no number of any.
        lambda offset, mark: msgspec.msgpack.encode(Count(offset, events=mark)),
        st.integers(0, 5),
        st.sampled_from([1, *range(1000, 1009)]),
    ),
)
hostile_keys = st.one_of(
    st.sampled_from([b"a", b"b", b"a", PARTITION_KEY, b"__faust\0offset__", None]), st.binary(max_size=3)
)


@given(log=st.lists(st.tuples(hostile_keys, hostile_values), min_size=1, max_size=12), data=st.data())
@settings(deadline=None, max_examples=80, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_tombstone_deletes_a_row_and_what_is_no_row_is_refused_alone(
    table: Any, log: list[tuple[bytes | None, bytes | None]], data: st.DataObject
) -> None:
    store: BatchStore = table.data
    partition = next(partitions_used)
    expected: dict[bytes, tuple[int, bytes]] = {}
    for key, value in log:
        if key is None or key == store.offset_key:
            continue
        if value is None:
            if key != PARTITION_KEY:
                expected.pop(key, None)
            continue
        type_: type[PartitionRow | RowHeader] = PartitionRow if key == PARTITION_KEY else RowHeader
        try:
            header = msgspec.msgpack.decode(value, type=type_)
        except (msgspec.DecodeError, UnicodeDecodeError):
            continue
        if key not in expected or header.applied_offset >= expected[key][0]:
            expected[key] = header.applied_offset, value
    cut = data.draw(st.integers(0, len(log)))
    for begin, part in ((0, log[:cut]), (cut, log[cut:])):
        if part:
            records = [
                SimpleNamespace(offset=begin + place, key=key, value=value) for place, (key, value) in enumerate(part)
            ]
            batch = Batch(records, begin, begin + len(part))
            message = SimpleNamespace(partition=partition, value=batch, offset=batch.end - 1)
            store.apply_changelog_batch([SimpleNamespace(message=message)], None, None)
    found = dict(store.scan(partition))
    if (row := store.read(partition, [PARTITION_KEY])[0]) is not None:
        found[PARTITION_KEY] = row
    assert found == {key: value for key, (_, value) in expected.items()}
    assert store._db_for_partition(partition).get(store.offset_key) == str(len(log) - 1).encode()
    store._dbs.pop(partition).close()


def test_a_recovery_is_as_far_as_its_changelogs_are_and_what_a_standby_reads_is_no_part_of_it(table: Any) -> None:
    active, other, standby = (TP(USERS_CHANGELOG, next(partitions_used)) for _ in range(3))
    recovery, watchdog = table.app.tables.recovery, table.watchdog
    before = watchdog.condition()
    recovery.active_highwaters.update({active: 3, other: 3})
    recovery.active_offsets.update({active: 1, other: -1})  # Faust takes note of an offset before it hands rows over.
    recovery.standby_tps.add(standby)
    watchdog.recovery_started()
    table.data.apply_changelog_batch([changelog_batch(active.partition, [(b"a", 1, 0), (b"b", 1, 0)], 0)], None, None)
    table.data.apply_changelog_batch([changelog_batch(standby.partition, [(b"c", 1, 0)], 0)], None, None)
    condition = watchdog.condition()
    assert (condition.recovery.rows, condition.recovery.done) == (2, 2 / 8)
    assert condition.recovered_rows - before.recovered_rows == 2
    assert condition.standby_rows - before.standby_rows == 1
    watchdog.rebalance_ended(set())
    assert watchdog.condition().recovery.done == 1.0


def test_a_standby_is_ready_when_it_has_read_what_there_was_even_where_that_is_nothing(
    table: Any, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    behind, empty = (TP(USERS_CHANGELOG, next(partitions_used)) for _ in range(2))
    recovery, watchdog = table.app.tables.recovery, table.watchdog
    recovery.standby_tps.clear()
    recovery.standby_tps.update({behind, empty})
    recovery.standby_highwaters.update({behind: 1, empty: -1})
    recovery.standby_offsets.update({behind: -1, empty: None})
    watchdog.rebalance_ended(set(), standby_left(recovery))
    for offset, left in ((0, 1), (1, 0), (2, 0)):
        recovery.standby_offsets[behind] = offset
        table.data.apply_changelog_batch([changelog_batch(behind.partition, [(b"c", 1, 0)], offset)], None, None)
        assert watchdog.condition().standby_left == left
    assert [message.split()[0] for message in caplog.messages] == ["standbys-ready"]
    watchdog.rebalance_ended(set(), 0)
    assert len(caplog.messages) == 2
    watchdog.rebalance_ended(set())
    assert watchdog.condition().standby_left is None


def test_a_batch_that_does_not_join_what_the_disk_has_is_left_out_and_read_again(
    table: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, partition = table.data, next(partitions_used)
    again: list[tuple[int, int]] = []
    monkeypatch.setattr(store, "on_gap", lambda *place: again.append(place))
    monkeypatch.setattr(store, "coverage", lambda _: Coverage(0, 9))
    rows = [(b"%d" % offset, 1, 0) for offset in range(9)]
    # A fetch from before a seek comes first, then what was sought.
    for begin, end, known in ((0, 2, 2), (5, 9, 2), (2, 7, 7), (5, 9, 9)):
        store.apply_changelog_batch([changelog_batch(partition, rows[begin:end], begin)], None, None)
        assert len(list(store.scan(partition))) == known
    assert again == [(partition, 2)]


def test_a_gap_in_the_changelog_of_an_active_partition_is_a_broken_invariant(table: Any) -> None:
    with pytest.raises(BrokenInvariant, match="was not read from offset 2 on"):
        table._read_again(next(partitions_used), 2)


def test_what_is_known_of_a_partition_in_memory_is_forgotten_when_its_rows_are_recovered(table: Any) -> None:
    changed: list[int] = []
    table.on_change(changed.append)
    partition = next(partitions_used)
    table.data.apply_changelog_batch([changelog_batch(partition, [(b"a", 0, 0)], 0)], None, None)
    assert changed == [partition]


@pytest.mark.broker
def test_an_empty_disk_recovers_twenty_thousand_rows_and_a_stale_one_changes_nothing(tmp_path: Path) -> None:
    with running(tmp_path) as (broker, shop, supervisor, reader):
        producer = Producer({"bootstrap.servers": broker.bootstrap_servers, "compression.type": "lz4", "linger.ms": 50})
        expected = {b"old-%d" % number: Count(applied_offset=number, events=number) for number in range(20_000)}
        for number, (key, row) in enumerate(expected.items()):
            producer.produce(USERS_CHANGELOG, msgspec.msgpack.encode(row), key, partition=number % PARTITIONS)
        stale = msgspec.msgpack.encode(Count(applied_offset=0, events=99))
        for number, key in enumerate(expected):
            if number % 100 == 1:
                producer.produce(USERS_CHANGELOG, stale, key, partition=number % PARTITIONS)
        assert producer.flush(HANG_S) == 0
        shop.publish(200)
        supervisor.run_to_the_end("disk", reader, shop.refs())
        assert stored_rows(tmp_path / "disk") == {**expected, **shop.counts()}
