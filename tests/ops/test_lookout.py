"""The lookout tells what begins and what ends, once, and sums up what comes often."""

import logging
from collections import Counter
from types import SimpleNamespace
from typing import Any

import pytest

from streams.engine.feeds import FeedProgress
from streams.engine.recovery import Recovery
from streams.engine.watchdog import Condition
from streams.ops.lookout import Lookout

P0 = ("clickstream", 0)
WELL = Condition(frozenset({P0}), None, {P0: 0.0}, {P0: 5}, 0.5)


class Watched:
    """A worker and a feed that are as a test says."""

    def __init__(self, caplog: pytest.LogCaptureFixture) -> None:
        self.condition = WELL
        self.feed = FeedProgress("items", 3, 0, 0.0)
        self.noted: Counter[str] = Counter()
        worker: Any = SimpleNamespace(engine=SimpleNamespace(progress=SimpleNamespace(noted=self.noted)))
        self._caplog = caplog
        caplog.set_level(logging.INFO)
        self.lookout = Lookout({"clickstream": worker}, lambda: self.condition, [lambda: self.feed], 20.0)

    def look(self, times: int = 1) -> list[str]:
        self._caplog.clear()
        for _ in range(times):
            self.lookout.look()
        return self._caplog.messages


@pytest.fixture
def watched(caplog: pytest.LogCaptureFixture) -> Watched:
    return Watched(caplog)


def test_of_a_worker_that_is_well_nothing_is_said(watched: Watched) -> None:
    assert watched.look(100) == []


def test_what_begins_is_told_once_and_so_is_its_end(watched: Watched) -> None:
    watched.condition = WELL._replace(standing_s={P0: 21.0, ("items", 1): 22.0, ("items", 0): 2.0})
    watched.feed = FeedProgress("items", 3, 2, 21.0)
    assert watched.look(50) == [
        "standing-still what=partitions where=clickstream-0,items-1 seconds=22",
        "feed-stalled what=items seconds=21 lag=2",
    ]
    watched.condition, watched.feed = WELL, FeedProgress("items", 5, 0, 0.0)
    assert watched.look(50) == ["moving-again what=partitions", "feed-caught-up what=items"]


def test_a_recovery_is_told_of_now_and_then_while_it_lasts(watched: Watched) -> None:
    recovery = Recovery(begun_s=0.0, seconds=2.0, rows=60, offsets=75, left=25)
    watched.condition = WELL._replace(recovery=recovery)
    assert watched.look(12) == ["recovering rows=60 rows_per_s=30 done=0.75 seconds=2.0"] * 2
    watched.condition = WELL._replace(recovery=recovery.ended(3.0))
    assert watched.look(12) == []


def test_of_a_broker_that_does_not_answer_only_that_is_told(watched: Watched) -> None:
    watched.condition, watched.feed = WELL._replace(silent_s=25.0), FeedProgress("items", 3, 0, 25.0)
    assert watched.look(50) == ["broker-silent what=broker seconds=25"]
    watched.condition, watched.feed = WELL, FeedProgress("items", 3, 0, 0.0)
    assert watched.look(50) == ["broker-back what=broker"]


def test_a_partition_that_stood_still_and_went_to_another_worker_is_forgotten(watched: Watched) -> None:
    watched.condition = WELL._replace(standing_s={P0: 21.0})
    watched.look()
    watched.condition = WELL._replace(assigned=frozenset(), standing_s={}, lag={})
    watched.look()
    watched.condition = WELL._replace(standing_s={P0: 21.0})
    assert watched.look() == ["standing-still what=partitions where=clickstream-0 seconds=21"]


def test_the_first_dead_letter_of_a_reason_is_told_at_once_and_then_a_sum_each_minute(watched: Watched) -> None:
    watched.noted["dead_letters.malformed"] += 1
    assert watched.look() == ["dead-letters topic=clickstream reason=malformed records=1"]
    told = []
    for _ in range(60):
        watched.noted["dead_letters.malformed"] += 10
        told += watched.look()
    assert told == ["dead-letters topic=clickstream reason=malformed records=300"] * 2
    watched.noted["skipped_offsets"] += 4
    assert watched.look() == ["skipped-offsets topic=clickstream offsets=4"]
