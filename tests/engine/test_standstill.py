"""A worker that stands still ends; one that has nothing to do stays."""

import signal
import time
from pathlib import Path

import pytest

from streams.engine.exits import STALLED
from streams.engine.watchdog import Standstill
from streams.ops.embedded import Request
from tests.engine.running import DEADLINE_S, running

PATIENCE_S = 10.0
P0, P1 = ("clickstream", 0), ("clickstream", 1)
INVALID_REQUEST = 42
LONGER_THAN_A_START_AND_PATIENCE_S = 12.0


def settled() -> Standstill:
    standstill = Standstill(PATIENCE_S, now_s=0.0)
    standstill.settled()
    return standstill


def test_a_rebalance_that_does_not_end_is_stuck_and_one_that_ends_is_not() -> None:
    standstill = Standstill(PATIENCE_S, now_s=0.0)
    assert not standstill.stuck_rebalance(10.0)
    assert standstill.stuck_rebalance(10.1)
    standstill.settled()
    assert not standstill.stuck_rebalance(1e9)
    standstill.rebalancing(100.0)
    assert not standstill.stuck_rebalance(110.0)
    assert standstill.stuck_rebalance(110.1)


def test_a_rebalance_may_last_as_long_as_rows_are_recovered_and_a_standby_is_no_rebalance() -> None:
    standstill = Standstill(PATIENCE_S, now_s=0.0)
    standstill.recovered(9.0)
    assert not standstill.stuck_rebalance(19.0)
    assert standstill.stuck_rebalance(19.1)
    standstill.settled()
    standstill.recovered(20.0)
    assert not standstill.stuck_rebalance(1e9)


def test_only_the_partition_that_lags_without_moving_is_stuck() -> None:
    standstill = settled()
    assert standstill.stuck_partitions({P0: 5, P1: 5}, {P0: 1, P1: 1}, 0.0) == []
    assert standstill.stuck_partitions({P0: 5, P1: 6}, {P0: 1, P1: 1}, 10.0) == []
    assert standstill.stuck_partitions({P0: 5, P1: 6}, {P0: 1, P1: 1}, 10.1) == [P0]
    assert standstill.stuck_partitions({P0: 5, P1: 6}, {P0: 1, P1: 1}, 20.1) == [P0, P1]


def test_without_lag_nothing_is_stuck_and_patience_begins_with_the_lag() -> None:
    standstill = settled()
    for now_s in (0.0, 50.0):
        assert standstill.stuck_partitions({P0: 5}, {P0: 0}, now_s) == []
    assert standstill.stuck_partitions({P0: 5}, {P0: 1}, 60.0) == []
    assert standstill.stuck_partitions({P0: 5}, {P0: 1}, 60.1) == [P0]


def test_a_rebalance_gives_every_partition_the_whole_patience_anew() -> None:
    standstill = settled()
    standstill.stuck_partitions({P0: 5}, {P0: 1}, 0.0)
    standstill.rebalancing(9.0)
    assert standstill.stuck_partitions({P0: 5}, {P0: 1}, 18.0) == []
    standstill.settled()
    assert standstill.stuck_partitions({P0: 5}, {P0: 1}, 18.5) == []
    assert standstill.stuck_partitions({P0: 5}, {P0: 1}, 28.6) == [P0]


@pytest.mark.slow
def test_a_worker_that_the_group_refuses_ends_instead_of_idling(tmp_path: Path) -> None:
    with running(tmp_path, ENGINE__WATCHDOG_S="3.0") as (broker, _, supervisor, _):
        broker.fail_requests(Request.SYNC_GROUP, [INVALID_REQUEST])
        worker = supervisor.start("disk")
        assert worker.wait(30.0) == STALLED
        assert "no rebalance was completed" in worker.log.read_text()


@pytest.mark.slow
def test_a_worker_whose_event_loop_is_stuck_ends_and_says_where(tmp_path: Path) -> None:
    with running(tmp_path, ENGINE__WATCHDOG_S="3.0") as (_, shop, supervisor, _):
        shop.publish(1)
        worker = supervisor.start("disk", mutant="stuck")
        assert worker.wait(30.0) == STALLED
        assert "has 1 records to read from offset 0 and none was acknowledged" in worker.log.read_text()


@pytest.mark.slow
def test_workers_with_nothing_to_read_or_no_partition_at_all_stay(tmp_path: Path) -> None:
    with running(tmp_path, partitions=1, ENGINE__WATCHDOG_S="3.0") as (_, shop, supervisor, reader):
        shop.publish(10)
        workers = [supervisor.wait_for_outputs(supervisor.start("first"), reader, shop.refs())]
        workers.append(supervisor.start("second"))
        # The embedded broker may refuse one that joins at first.
        begun_s = since_s = time.monotonic()
        while time.monotonic() - since_s < LONGER_THAN_A_START_AND_PATIENCE_S:
            stalls = supervisor.stalls
            workers = [supervisor.keep(worker) for worker in workers]
            if supervisor.stalls > stalls:
                since_s = time.monotonic()
            assert since_s - begun_s < DEADLINE_S, workers[1].log.read_text()
            time.sleep(0.1)
        for worker in workers:
            worker.send(signal.SIGTERM)
            assert worker.wait() == 0
