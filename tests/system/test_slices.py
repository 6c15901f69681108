"""A worker is killed among the slices of what one tick made due: it goes on where it stopped."""

import time
from pathlib import Path
from typing import Final

from msgspec.structs import replace

from streams.admin.inspection import scan_tables
from streams.contract.events import Event
from streams.contract.topics import CLICKSTREAM, PREDICTIONS
from streams.testing import MemoryRecord, Pipeline
from tests.system.cluster import Cluster, cluster
from tests.timeouts import Deadline

START_MS: Final = 1_700_000_000_000
WEEK_MS: Final = 7 * 24 * 3_600_000
USERS: Final = 120
SETTINGS: Final = {
    "HEADRACE_KAFKA__PARTITIONS": "1",
    "HEADRACE_FREEZE_GLOBAL_TABLES": "true",
    "HEADRACE_ENGINE__BATCH_DUE_ROWS": "20",
}


def views(begin_ms: int) -> list[Event]:
    return [
        Event(event_id=f"v{at_ms}", timestamp_ms=at_ms, kind="view", user_id=f"user-{number}", item_id="item-1")
        for number, at_ms in enumerate(range(begin_ms, begin_ms + USERS))
    ]


def until_folded(it: Cluster, disk: str) -> None:
    """Runs a worker until all is folded, and ends it in peace."""
    worker = it.start(disk, "behaviour")
    deadline = Deadline(worker.said)
    while not it.is_folded(CLICKSTREAM):
        deadline.check()
        worker = it.keep(worker)
        time.sleep(0.05)
    worker.stop()


def test_a_worker_that_is_killed_among_slices_ends_with_the_rows_of_one_batch(tmp_path: Path) -> None:
    disks = ("first", "first", "second", "second", "second")
    with cluster(tmp_path, **SETTINGS) as it:
        it.publish(views(START_MS))
        until_folded(it, disks[0])
        tick = Event(event_id="tick", timestamp_ms=START_MS + WEEK_MS, kind="tick")
        it.publish([tick, *views(START_MS + WEEK_MS)])
        for name, point in zip(disks[1:], ("emit:2", "log:2", "store:1"), strict=False):
            it.until_killed(name, f"clickstream:{point}", folds=["behaviour"])
        assert it.rows_of_partitions(CLICKSTREAM)[0].due_cursor is not None
        until_folded(it, disks[-1])
        at_once = replace(it.settings, engine=replace(it.settings.engine, batch_due_rows=10 * USERS))
        records = it.records(CLICKSTREAM)
        log = [MemoryRecord(each.offset, START_MS + 2 * WEEK_MS, each.key, each.value) for each in records]
        quiet = Pipeline(at_once, log={0: log})
        quiet.behaviour.drain()
        assert {key: row for _, key, row in scan_tables(it.folder / disks[-1], "users")} == {
            key: row for (_, key), row in quiet.behaviour.rows().items()
        }
        assert {record.value for record in it.records(PREDICTIONS)} == set(quiet.topics.values(PREDICTIONS))
