"""The same log and the same global tables give the same rows, to the byte, at any speed and in batches of any size."""

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final, NamedTuple

import msgspec

from streams.admin.inspection import scan_tables
from streams.contract.topics import CLICKSTREAM, ITEMS, MODELS
from streams.core.items.fold import ItemRow
from tests.system.cluster import Cluster, Record, cluster

EVENTS: Final = 1500
# Of one partition, so that the signals of two are not applied in the order in which they happen to come.
SETTINGS: Final = {"HEADRACE_KAFKA__PARTITIONS": "1"}
FROZEN: Final = {**SETTINGS, "HEADRACE_FREEZE_GLOBAL_TABLES": "true"}

Feeds = dict[str, list[Record]]


class Rows(NamedTuple):
    """Rows on a worker's disk; of items without the applied offset, which numbers records of signals, not events."""

    users: dict[bytes, bytes]
    items: dict[bytes, bytes]


def without_guard(value: bytes) -> bytes:
    row = msgspec.msgpack.decode(value, type=ItemRow)
    row.applied_offset = 0
    return msgspec.msgpack.encode(row)


def stored(it: Cluster) -> Rows:
    return Rows(
        {key: value for _, key, value in scan_tables(it.folder / "disk", "users")},
        {key: without_guard(value) for _, key, value in scan_tables(it.folder / "disk", "items")},
    )


def fed(it: Cluster, global_tables: Feeds) -> None:
    for topic, records in global_tables.items():
        for record in records:
            it.produce(record.value, record.key, record.partition, topic)
    it.flush()


def shopped(folder: Path, global_tables: Feeds, settings: dict[str, str]) -> tuple[Rows, list[Record], Feeds]:
    """Shoppers in a closed loop with a worker: the rows, the log that it was, and what the global tables then held."""
    with cluster(folder, **settings) as it:
        fed(it, global_tables)
        worker = it.start("disk")
        it.headrace("simulate", "--events", str(EVENTS), "--users", "150", "--items", "200", "--seed", "4")
        it.settle(worker)[0].stop()
        return stored(it), it.records(CLICKSTREAM), {topic: it.records(topic) for topic in (ITEMS, MODELS)}


def folded(
    folder: Path, global_tables: Feeds, log: Sequence[Record], batch_records: int, *, slowly: bool
) -> tuple[Rows, int]:
    """The same log, folded by another worker; its rows, and in how many records it wrote item signals."""
    with cluster(folder, **FROZEN, HEADRACE_ENGINE__BATCH_RECORDS=str(batch_records)) as it:
        fed(it, global_tables)
        worker = it.start("disk")
        for number, record in enumerate(log):
            it.produce(record.value, record.key, record.partition)
            if slowly and number % 40 == 0:
                it.flush()
                time.sleep(0.05)
        it.flush()
        it.settle(worker)[0].stop()
        return stored(it), len(it.records("item-signals"))


def test_speed_and_batch_size_change_no_byte_of_a_row(tmp_path: Path) -> None:
    folders = [tmp_path / str(number) for number in range(6)]
    for folder in folders:
        folder.mkdir()
    _, _, global_tables = shopped(folders[0], {}, SETTINGS)
    assert global_tables[ITEMS]
    rows, log, _ = shopped(folders[1], global_tables, FROZEN)
    joined = [msgspec.json.decode(record.value)["kind"] for record in log]
    assert joined.count("click") > 50
    batches = set()
    variants = [(7, False), (100, True), (2000, False), (2000, True)]
    for folder, (size, slowly) in zip(folders[2:], variants, strict=True):
        again, n_batches = folded(folder, global_tables, log, size, slowly=slowly)
        batches.add(n_batches)
        assert again.users == rows.users, (size, slowly)
        assert again.items == rows.items, (size, slowly)
    assert len(batches) > 2
