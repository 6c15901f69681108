"""The lookout tells what begins and what ends, once, and sums up what comes often."""

import logging
from collections import Counter
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest

from streams.contract.fold import PartitionRow
from streams.engine.global_tables import GlobalTableProgress
from streams.engine.readers import Unread
from streams.engine.recovery import Recovery
from streams.engine.watchdog import Condition, changes
from streams.observability.alerts import AlertMonitor

P0 = ("clickstream", 0)
WELL = Condition(frozenset({P0}), None, {P0: 0.0}, {P0: 5}, 0.5)


class Watched:
    """A worker and a global table that are as a test says."""

    def __init__(self, caplog: pytest.LogCaptureFixture) -> None:
        self.condition = WELL
        self.global_table = GlobalTableProgress("items", 3, 0, 0.0)
        self.alert_counts: Counter[str] = Counter()
        self.row = PartitionRow()
        self.opened: dict[int, Any] = {}
        engine = SimpleNamespace(progress=SimpleNamespace(alert_counts=self.alert_counts))
        worker: Any = SimpleNamespace(engine=engine, partitions=self.opened)
        self._caplog = caplog
        caplog.set_level(logging.INFO)
        self.monitor = AlertMonitor({"clickstream": worker}, lambda: self.condition, [lambda: self.global_table], 20.0)

    def store(self, watermark_ms: int = 0, **more: int) -> None:
        """Stores the row of partition 2 of the clickstream, with so much more counted."""
        self.row.watermark_ms = watermark_ms
        for name, by in more.items():
            self.row.count(name, by)
        stored = msgspec.msgpack.encode(self.row)
        opened_with = self.opened[2].opened_with if 2 in self.opened else stored
        self.opened[2] = SimpleNamespace(committed=stored, opened_with=opened_with)

    def look(self, times: int = 1) -> list[str]:
        self._caplog.clear()
        for _ in range(times):
            self.monitor.check()
        return self._caplog.messages


@pytest.fixture
def watched(caplog: pytest.LogCaptureFixture) -> Watched:
    return Watched(caplog)


def test_of_a_worker_that_is_well_nothing_is_said(watched: Watched) -> None:
    assert watched.look(100) == []


def test_what_begins_is_told_once_and_so_is_its_end(watched: Watched) -> None:
    watched.condition = WELL._replace(stalled_for_s={P0: 21.0, ("items", 1): 22.0, ("items", 0): 2.0})
    watched.global_table = GlobalTableProgress("items", 3, 2, 21.0)
    assert watched.look(50) == [
        "partitions-stalled what=partitions where=clickstream-0,items-1 seconds=22",
        "global-table-stalled what=items seconds=21 lag=2",
    ]
    watched.condition, watched.global_table = WELL, GlobalTableProgress("items", 5, 0, 0.0)
    assert watched.look(50) == ["partitions-resumed what=partitions", "global-table-caught-up what=items"]


def test_a_recovery_is_told_of_now_and_then_while_it_lasts(watched: Watched) -> None:
    recovery = Recovery(begun_s=0.0, seconds=2.0, rows=60, offsets=75, left=25)
    watched.condition = WELL._replace(recovery=recovery)
    assert watched.look(12) == ["recovering rows=60 rows_per_s=30 done=0.75 seconds=2.0"] * 2
    watched.condition = WELL._replace(recovery=recovery.ended(3.0))
    assert watched.look(12) == []


def test_of_a_broker_that_does_not_answer_only_that_is_told(watched: Watched) -> None:
    watched.condition, watched.global_table = WELL._replace(silent_s=25.0), GlobalTableProgress("items", 3, 0, 25.0)
    assert watched.look(50) == ["broker-unreachable what=broker seconds=25"]
    watched.condition, watched.global_table = WELL, GlobalTableProgress("items", 3, 0, 0.0)
    assert watched.look(50) == ["broker-reachable what=broker"]


def test_a_topic_that_changed_is_told_once_and_so_is_its_return(watched: Watched) -> None:
    watched.condition = WELL._replace(changed={"clickstream": "was deleted"})
    assert watched.look(50) == ['topic-changed what=clickstream why="was deleted"']
    watched.condition = WELL
    assert watched.look(50) == ["topic-unchanged what=clickstream"]


def test_each_partition_that_nobody_reads_is_told_once_and_so_is_its_reader(watched: Watched) -> None:
    watched.condition = WELL._replace(unread={("examples", 1): Unread(5, 61.0), ("examples", 0): Unread(7, 60.0)})
    assert watched.look(50) == [
        "unread-partition what=examples-0 records=7 seconds=60",
        "unread-partition what=examples-1 records=5 seconds=61",
    ]
    watched.condition = WELL._replace(unread={("examples", 1): Unread(5, 61.0)})
    assert watched.look(50) == ["partition-read what=examples-0"]


@pytest.mark.parametrize(
    ("found", "why"),
    [
        ({"a": 4, "b": 1, "c": 9}, {}),
        ({"a": 8, "b": 1}, {"a": "has 8 partitions, not 4: 4 are read by nobody"}),
        ({"a": 3, "b": 1}, {"a": "was made anew with 3 partitions, not 4"}),
        ({"b": 1}, {"a": "was deleted"}),
    ],
)
def test_partitions_are_those_of_the_topic_and_not_those_that_are_assigned(
    found: dict[str, int], why: dict[str, str]
) -> None:
    assert changes({"a": 4, "b": 1}, found) == why


def test_a_partition_that_stood_still_and_went_to_another_worker_is_forgotten(watched: Watched) -> None:
    watched.condition = WELL._replace(stalled_for_s={P0: 21.0})
    watched.look()
    watched.condition = WELL._replace(assigned=frozenset(), stalled_for_s={}, lag={})
    watched.look()
    watched.condition = WELL._replace(stalled_for_s={P0: 21.0})
    assert watched.look() == ["partitions-stalled what=partitions where=clickstream-0 seconds=21"]


def test_the_first_dead_letter_of_a_reason_is_told_at_once_and_then_a_sum_each_minute(watched: Watched) -> None:
    watched.alert_counts["dead_letters.malformed"] += 1
    assert watched.look() == ["dead-letters topic=clickstream reason=malformed records=1"]
    told = []
    for _ in range(60):
        watched.alert_counts["dead_letters.malformed"] += 10
        told += watched.look()
    assert told == ["dead-letters topic=clickstream reason=malformed records=300"] * 2
    watched.alert_counts["skipped_offsets"] += 4
    assert watched.look() == ["skipped-offsets topic=clickstream offsets=4"]
    watched.alert_counts["duplicates.3"] += 549
    assert watched.look() == ["duplicates-dropped topic=clickstream partition=3 duplicates=549"]


def test_many_late_events_are_told_once_a_minute_and_few_are_not(watched: Watched) -> None:
    watched.store(late=10**6, applied=10**6)
    assert watched.look(60) == []
    watched.store(late=99, applied=99)
    assert watched.look(60) == []
    watched.store(late=100, applied=1001)
    assert watched.look(60) == []
    watched.store(late=100, applied=1000)
    assert watched.look(60) == ["late-events topic=clickstream partition=2 late=100 applied=1000"]


def test_what_happened_before_the_first_look_is_told_and_what_another_worker_did_is_not(watched: Watched) -> None:
    watched.store(watermark_jumps=1, late=1000, applied=1000)
    watched.store(watermark_ms=1_800_000_000_000, watermark_jumps=1, late=100, applied=100)
    jumped, late = watched.look(30)
    assert jumped.startswith("watermark-jumped topic=clickstream partition=2")
    assert late == "late-events topic=clickstream partition=2 late=100 applied=100"
    watched.opened.clear()
    assert watched.look() == []
    watched.store(watermark_jumps=1, late=1000, applied=1000)
    assert watched.look(60) == []


def test_a_watermark_that_jumped_is_told_with_the_time_it_reached(watched: Watched) -> None:
    watched.store(watermark_jumps=1)
    assert watched.look(3) == []
    watched.store(watermark_ms=1_800_000_000_000, watermark_jumps=1)
    told = ["watermark-jumped topic=clickstream partition=2 watermark=2027-01-15T08:00:00+00:00"]
    assert watched.look(3) == told
