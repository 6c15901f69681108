"""Rows that do not belong to this version or to this cluster are refused before anything is folded."""

from types import SimpleNamespace
from typing import Any

import msgspec
import pytest
from msgspec.structs import replace

from examples.wordcount import WordCount
from streams.contract.errors import RefusedStart
from streams.contract.fold import PARTITION_KEY, Identity, PartitionRow, decode_partition_row, record_digest
from streams.contract.settings import Engine, Settings
from streams.contract.source_epoch import in_epoch
from streams.engine.offsets import Coverage
from streams.engine.protocol import load, open_partition
from streams.engine.worker import FoldWorker
from streams.testing import MemoryTable

NOW = Identity(app_id="shop", partitions=4, shape={"windows": "5m = 5 x 60 s"}, followed={"time.confirming_users": "3"})


def table_with(row: PartitionRow) -> MemoryTable:
    table = MemoryTable()
    table.write(0, {PARTITION_KEY: msgspec.msgpack.encode(row)}, 0)
    return table


def worker_on(
    table: MemoryTable,
    source_end: int = 10,
    identity: Identity = NOW,
    ids: dict[str, str] | None = None,
    record: tuple[int, bytes] | None = None,
) -> FoldWorker:
    store: Any = SimpleNamespace(data=table, on_change=id, watchdog=SimpleNamespace(watch=lambda *_: None))
    there = record and record_digest(*record)
    offsets = SimpleNamespace(
        coverage=lambda topic, number: Coverage(0, source_end), digest=lambda topic, number, offset: there
    )
    app: Any = SimpleNamespace(
        outputs=None,
        offsets=offsets,
        settings=Settings(),
        topic_ids=SimpleNamespace(read=lambda topics: ids or {}),
        how_to_begin_anew=lambda: "so",
        how_to_reset_offset=lambda *place: "thus",
    )
    return FoldWorker(WordCount(), store, app, lambda: None, identity=identity)


def test_rows_of_another_schema_are_refused() -> None:
    with pytest.raises(RefusedStart, match=r"word-counts-changelog\[0\] are of schema 2, this version reads 1 to 1"):
        open_partition(WordCount(), table_with(PartitionRow(rows_schema=2)), Engine(), 0, 0)


@pytest.mark.parametrize(
    ("value", "why"),
    [
        (b"\xc1", r"the partition's row of word-counts-changelog\[0\] is none of this version .*; so"),
        (msgspec.msgpack.encode([9, 0, 2, 1]), "a partition's row is of schema 2, and this version reads 1 to 1"),
    ],
)
def test_a_partitions_row_of_another_version_is_refused(value: bytes, why: str) -> None:
    table = MemoryTable()
    table.write(0, {PARTITION_KEY: value}, 0)
    with pytest.raises(RefusedStart, match=why):
        worker_on(table)._open(0)


def test_rows_beyond_the_end_of_the_source_are_refused() -> None:
    table = table_with(PartitionRow(rows_schema=1, applied_offset=9))
    assert worker_on(table, 10)._open(0).position == 10
    with pytest.raises(RefusedStart, match=r"words\[0\] ends at offset 9, but offset 9 is applied"):
        worker_on(table, 9)._open(0)


CHANGELOG = WordCount.changelog
FIRST = {"words": "first", CHANGELOG: "first"}
STORED = replace(NOW, topic_ids=FIRST)


@pytest.mark.parametrize(
    ("identity", "ids", "why"),
    [
        (
            NOW,
            {**FIRST, CHANGELOG: "second"},
            rf"{CHANGELOG} was deleted and made anew \(its id is second, and that of",
        ),
        (replace(NOW, app_id="other"), FIRST, "rows are of the application 'shop', and engine.app_id is 'other'"),
        (replace(NOW, partitions=8), FIRST, "rows are of 4 partitions, and there are 8"),
        (
            replace(NOW, shape={"windows": "5m = 5 x 999 s"}),
            FIRST,
            "made with windows '5m = 5 x 60 s', and the settings have '5m = 5 x 999 s': sums of the old windows",
        ),
        (replace(NOW, shape={}), FIRST, "made with windows '5m = 5 x 60 s', and the settings have none: sums"),
    ],
)
def test_rows_of_something_else_are_refused_with_the_way_on(identity: Identity, ids: dict[str, str], why: str) -> None:
    table = table_with(PartitionRow(rows_schema=1, applied_offset=9, identity=STORED))
    with pytest.raises(RefusedStart, match=why) as refusal:
        worker_on(table, identity=identity, ids=ids)._open(0)
    assert str(refusal.value).endswith("; so")
    assert worker_on(table, ids=FIRST)._open(0).position == 10


def test_a_source_that_was_made_anew_is_read_from_its_beginning_in_the_next_epoch(
    caplog: pytest.LogCaptureFixture,
) -> None:
    table = table_with(PartitionRow(rows_schema=1, applied_offset=in_epoch(2, 9), identity=STORED))
    assert worker_on(table, ids=FIRST)._open(0).position == 10
    opened = worker_on(table, ids={**FIRST, "words": "second"})._open(0)
    assert opened.position == 0
    assert in_epoch(2, 10**9) < opened.state.row.applied_offset < in_epoch(3, 0)
    assert [record.message for record in caplog.records] == ["source-made-anew topic=words begin_anew=so"]
    assert decode_partition_row(table.rows[0][PARTITION_KEY]).applied_offset == in_epoch(
        2, 9
    )  # until a batch is stored


def test_where_topics_have_no_ids_the_last_record_tells() -> None:
    table = table_with(PartitionRow(rows_schema=1, applied_offset=9, last_record=record_digest(1000, b"rose")))
    assert worker_on(table, record=(1000, b"rose"))._open(0).position == 10
    assert worker_on(table, record=None)._open(0).position == 10  # Retention has removed it.
    for other in ((1001, b"rose"), (1000, b"violet")):
        with pytest.raises(RefusedStart, match=r"record at offset 9 of words\[0\] is another one than was applied"):
            worker_on(table, record=other)._open(0)


def test_a_topic_whose_id_cannot_be_read_keeps_the_one_that_is_stored() -> None:
    table = table_with(PartitionRow(rows_schema=1, applied_offset=9, identity=STORED))
    opened = worker_on(table)._open(0)
    assert opened.state.row.identity == STORED
    assert decode_partition_row(opened.committed).identity == STORED


def test_rows_of_before_identities_take_the_present_one() -> None:
    opened = worker_on(table_with(PartitionRow(rows_schema=1, applied_offset=9)), ids=FIRST)._open(0)
    assert opened.state.row.identity == STORED


def test_rows_follow_other_settings_and_the_worker_says_so_once(caplog: pytest.LogCaptureFixture) -> None:
    added = {**NOW.shape, "targets[0]": "purchase: event purchase within 60 s"}
    now = replace(NOW, shape=added, followed={"time.confirming_users": "1"})
    table = table_with(PartitionRow(rows_schema=1, applied_offset=9, identity=NOW))
    table.write(1, {PARTITION_KEY: msgspec.msgpack.encode(PartitionRow(rows_schema=1, identity=NOW))}, 0)
    worker = worker_on(table, identity=now)
    assert [worker._open(number).state.row.identity for number in (0, 1)] == [now, now]
    said = [record.message for record in caplog.records if "setting-changed" in record.message]
    assert len(said) == 2
    assert "setting=time.confirming_users was=3 now=1 what=" in said[0]
    assert "it was added, and changes no row" in said[1]


def test_a_row_that_somebody_else_wrote_is_reported_and_begins_anew(caplog: pytest.LogCaptureFixture) -> None:
    table = MemoryTable()
    table.write(0, {b"word": b"\xc1"}, 0)
    engine = worker_on(table, 10).engine
    partition = open_partition(WordCount(), table, Engine(), 0, 0)
    assert load(engine, partition, [(0, b"word")]) == {b"word": None}
    assert partition.state.row.counts == {"unreadable_rows": 1}
    assert "unreadable-row topic=word-counts-changelog partition=0" in caplog.text
