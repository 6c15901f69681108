"""A worker that stands still ends; one that has nothing to do stays."""

import signal
import time
from pathlib import Path

import pytest

from streams.brokers.mock_cluster import Request
from streams.engine.exit_codes import STALLED
from streams.engine.watchdog import Position, StallDetector
from tests.engine.supervised import PARTITIONS, Process, Supervisor, running
from tests.timeouts import Deadline, scaled

PATIENCE_S = 10.0
P0, P1 = ("clickstream", 0), ("clickstream", 1)
INVALID_REQUEST = 42
SHORT = {"ENGINE__WATCHDOG_S": str(scaled(3.0))}


def settled() -> StallDetector:
    detector = StallDetector(PATIENCE_S, now_s=0.0)
    detector.rebalance_ended()
    return detector


def test_a_rebalance_that_does_not_end_is_stuck_and_one_that_ends_is_not() -> None:
    detector = StallDetector(PATIENCE_S, now_s=0.0)
    assert not detector.stuck_rebalance(10.0)
    assert detector.stuck_rebalance(10.1)
    detector.rebalance_ended()
    assert not detector.stuck_rebalance(1e9)
    detector.rebalance_started(100.0)
    assert not detector.stuck_rebalance(110.0)
    assert detector.stuck_rebalance(110.1)


def test_a_rebalance_may_last_as_long_as_rows_are_recovered_and_a_standby_is_no_rebalance() -> None:
    detector = StallDetector(PATIENCE_S, now_s=0.0)
    detector.rows_recovered(9.0)
    assert not detector.stuck_rebalance(19.0)
    assert detector.stuck_rebalance(19.1)
    detector.rebalance_ended()
    detector.rows_recovered(20.0)
    assert not detector.stuck_rebalance(1e9)


def test_only_the_partition_that_lags_without_moving_is_stuck() -> None:
    detector = settled()
    assert detector.stuck_partitions({P0: Position(5), P1: Position(5)}, {P0: 1, P1: 1}, 0.0) == []
    assert detector.stuck_partitions({P0: Position(5), P1: Position(6)}, {P0: 1, P1: 1}, 10.0) == []
    assert detector.stuck_partitions({P0: Position(5), P1: Position(6)}, {P0: 1, P1: 1}, 10.1) == [P0]
    assert detector.stuck_partitions({P0: Position(5), P1: Position(6)}, {P0: 1, P1: 1}, 20.1) == [P0, P1]


def test_a_partition_that_stores_rows_is_not_stuck_even_if_one_event_takes_all_the_time() -> None:
    detector = settled()
    for stores in range(5):
        assert detector.stuck_partitions({P0: Position(5, stores)}, {P0: 1}, 9.0 * stores) == []
    assert detector.stuck_partitions({P0: Position(5, 4)}, {P0: 1}, 46.1) == [P0]


def test_without_lag_nothing_is_stuck_and_patience_begins_with_the_lag() -> None:
    detector = settled()
    for now_s in (0.0, 50.0):
        assert detector.stuck_partitions({P0: Position(5)}, {P0: 0}, now_s) == []
    assert detector.stuck_partitions({P0: Position(5)}, {P0: 1}, 60.0) == []
    assert detector.stuck_partitions({P0: Position(5)}, {P0: 1}, 60.1) == [P0]


def test_a_rebalance_gives_every_partition_the_whole_patience_anew() -> None:
    detector = settled()
    detector.stuck_partitions({P0: Position(5)}, {P0: 1}, 0.0)
    detector.rebalance_started(9.0)
    assert detector.stuck_partitions({P0: Position(5)}, {P0: 1}, 18.0) == []
    detector.rebalance_ended()
    assert detector.stuck_partitions({P0: Position(5)}, {P0: 1}, 18.5) == []
    assert detector.stuck_partitions({P0: Position(5)}, {P0: 1}, 28.6) == [P0]


@pytest.mark.broker
def test_a_worker_that_the_group_refuses_ends_instead_of_idling(tmp_path: Path) -> None:
    with running(tmp_path, PARTITIONS, **SHORT) as (broker, _, supervisor, _):
        broker.fail_requests(Request.SYNC_GROUP, [INVALID_REQUEST])
        worker = supervisor.start("disk")
        assert worker.wait() == STALLED
        assert "no rebalance was completed" in worker.log.read_text()


@pytest.mark.broker
def test_a_worker_whose_event_loop_is_stuck_ends_and_says_where(tmp_path: Path) -> None:
    with running(tmp_path, PARTITIONS, **SHORT) as (_, shop, supervisor, _):
        shop.publish(1)
        worker = supervisor.start("disk", mutant="stuck")
        deadline = Deadline(worker.log.read_text)
        while "has 1 records to read from offset 0 and none was acknowledged" not in worker.log.read_text():
            deadline.check()
            if worker.code is not None:
                # It was too slow to get its partitions within the watchdog's patience, and has another try with more.
                assert worker.code == STALLED
                assert "no rebalance was completed" in worker.log.read_text()
                supervisor.be_more_patient()
                worker = supervisor.start("disk", mutant="stuck")
            time.sleep(0.1)
        assert worker.wait() == STALLED


@pytest.mark.broker
def test_workers_with_nothing_to_read_or_no_partition_at_all_stay(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LOGLEVEL", "info")
    with running(tmp_path, 1, **SHORT) as (_, shop, supervisor, reader):
        shop.publish(10)
        first = supervisor.wait_for_outputs(supervisor.start("first"), reader, shop.refs())
        workers = until_all_stay(supervisor, [first, supervisor.start("second")])
        idle = ["partitions=0 " in worker.until_told("rebalance-ends") for worker in workers]
        assert sorted(idle) == [False, True]
        for worker in workers:
            worker.send(signal.SIGTERM)
            assert worker.wait() == 0


def until_all_stay(supervisor: Supervisor, workers: list[Process]) -> list[Process]:
    """Waits until a rebalance ended for all, and for twice the watchdog's patience nothing has happened since.

    The embedded broker may refuse one that joins at first; the watchdog ends it then, and it is started again.
    """
    seen, since_s = -1, time.monotonic()
    deadline = Deadline(lambda: [worker.log.read_text() for worker in workers])
    while time.monotonic() - since_s < 2 * supervisor.patience_s:
        deadline.check()
        workers = [supervisor.keep(worker) for worker in workers]
        rebalances = sum(worker.told("rebalance-") for worker in workers)
        if rebalances != seen or not all(worker.told("rebalance-ends") for worker in workers):
            seen, since_s = rebalances, time.monotonic()
        time.sleep(0.1)
    return workers
