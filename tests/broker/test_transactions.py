"""Exactly once on a real broker: each mechanism does what it is there for, and is missed where it is taken away."""

import signal
import sys
import time
from pathlib import Path

import pytest
from confluent_kafka import Consumer, TopicPartition

from streams.contract.fold import PARTITION_KEY, decode_partition_row
from streams.contract.topics import PREDICTIONS, USERS_CHANGELOG
from streams.engine.exits import FENCED
from tests.broker.running import OnKafka, on_kafka, partition_totals, read_whole
from tests.engine.running import DEADLINE_S, PARTITIONS, stored_rows

pytestmark = [pytest.mark.kafka, pytest.mark.slow]


def test_kills_after_any_step_leave_every_output_once_and_every_row_right(kafka: str, tmp_path: Path) -> None:
    with on_kafka(kafka, tmp_path) as it:
        for number, step in enumerate(("fold", "emit", "log", "store", "acknowledge")):
            it.shop.publish(600)
            # Every other one begins on an empty disk.
            it.supervisor.run_until_killed(f"disk-{number // 2}", f"{step}:2")
        [last] = it.run_to_the_end(it.supervisor.start("disk-9"))
        last.send(signal.SIGTERM)
        assert last.wait() == 0, last.log.read_text()
        assert it.wrong() == {}
        stored, expected = stored_rows(tmp_path / "disk-9"), it.shop.counts()
        assert [key for key in stored.keys() | expected.keys() if stored.get(key) != expected.get(key)] == []
        assert partition_totals(kafka) == [{"applied": len(events)} for events in it.shop.events]


def pause_in_a_commit_until_another_took_over(it: OnKafka, mutant: str) -> int:
    """A worker is paused with its second transaction open, another takes over and ends the work, the first wakes up."""
    it.shop.publish(600)
    paused = it.supervisor.start("paused", mutant=f"{mutant}+paused-in-commit")
    wait_until_stopped(paused.pid)
    it.shop.publish(200)
    # A reader of committed records waits for the open transaction, or for the other's fencing it.
    other = it.supervisor.start("other")
    expected = len(it.shop.refs())
    deadline_s = time.monotonic() + DEADLINE_S
    while sum(totals.get("applied", 0) for totals in uncommitted_totals(it.servers)) < expected:
        assert time.monotonic() < deadline_s
        time.sleep(0.3)
    paused.send(signal.SIGCONT)
    code = paused.wait() if not mutant else 0
    it.run_to_the_end(it.supervisor.keep(other))
    if mutant:
        time.sleep(2.0)
    return code


def wait_until_stopped(pid: int) -> None:
    deadline_s = time.monotonic() + DEADLINE_S
    while Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "T":
        assert time.monotonic() < deadline_s
        time.sleep(0.05)


def uncommitted_totals(servers: str) -> list[dict[str, int]]:
    newest = {
        number: decode_partition_row(value).counts
        for number, key, value in read_whole(servers, USERS_CHANGELOG, PARTITIONS, "read_uncommitted")
        if key == PARTITION_KEY
    }
    return list(newest.values())


@pytest.mark.skipif(sys.platform != "linux", reason="whether a process is stopped is asked of /proc")
def test_a_worker_that_was_paused_in_a_transaction_is_fenced_when_it_wakes_up(kafka: str, tmp_path: Path) -> None:
    with on_kafka(kafka, tmp_path) as it:
        assert pause_in_a_commit_until_another_took_over(it, "") == FENCED
        assert it.wrong() == {}


def test_without_fencing_the_paused_worker_would_write_what_was_written(kafka: str, tmp_path: Path) -> None:
    # Long enough for the other to start on a busy machine: the broker would fence the paused worker by its time limit.
    with on_kafka(kafka, tmp_path, ENGINE__TRANSACTION_TIMEOUT_S="120.0") as it:
        pause_in_a_commit_until_another_took_over(it, "fencing")
        assert it.wrong()["repeated"] > 0


def kill_in_a_commit(it: OnKafka, successor: str) -> None:
    """A worker is killed with all records of a transaction written; another begins on an empty disk."""
    it.shop.publish(600)
    killed = it.supervisor.start("killed", mutant="killed-in-commit")
    assert killed.wait() == -signal.SIGKILL, killed.log.read_text()
    other = it.supervisor.start("other", mutant=successor)
    it.supervisor.wait_for_outputs(other, it.reader, it.shop.refs(), timeout_s=15.0 if successor else DEADLINE_S)


def test_what_a_killed_worker_left_uncommitted_counts_for_nothing(kafka: str, tmp_path: Path) -> None:
    with on_kafka(kafka, tmp_path) as it:
        kill_in_a_commit(it, "")
        assert it.wrong() == {}


def test_reading_uncommitted_rows_would_lose_the_outputs_that_were_aborted_with_them(
    kafka: str, tmp_path: Path
) -> None:
    with on_kafka(kafka, tmp_path) as it, pytest.raises(AssertionError, match="outputs are missing"):
        kill_in_a_commit(it, "read-committed")


def test_storing_rows_before_they_are_committed_would_leave_a_disk_that_is_ahead(kafka: str, tmp_path: Path) -> None:
    with on_kafka(kafka, tmp_path) as it:
        it.shop.publish(600)
        it.supervisor.run_until_killed("disk", "stored-first:2", mutant="store-first")
        with pytest.raises(AssertionError, match="outputs are missing"):
            it.supervisor.wait_for_outputs(it.supervisor.start("disk"), it.reader, it.shop.refs(), timeout_s=15.0)


def test_a_dead_workers_open_transaction_holds_readers_no_longer_than_its_bound(kafka: str, tmp_path: Path) -> None:
    """Nobody takes over: the broker itself ends the transaction."""
    with on_kafka(kafka, tmp_path, ENGINE__TRANSACTION_TIMEOUT_S="2.0") as it:
        it.shop.publish(600)
        killed = it.supervisor.start("killed", mutant="killed-in-commit")
        assert killed.wait() == -signal.SIGKILL
        before = end_of_committed(kafka)
        deadline_s = time.monotonic() + DEADLINE_S
        while end_of_committed(kafka) <= before:
            assert time.monotonic() < deadline_s
            time.sleep(0.2)


def end_of_committed(servers: str) -> int:
    """Where the outputs end for a reader of committed records, all partitions together."""
    consumer = Consumer({"bootstrap.servers": servers, "group.id": "ends", "log_level": 2})
    ends = [consumer.get_watermark_offsets(TopicPartition(PREDICTIONS, number))[1] for number in range(PARTITIONS)]
    consumer.close()
    return sum(ends)
