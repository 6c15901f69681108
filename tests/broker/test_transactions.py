"""Exactly once on a real broker: each mechanism does what it is there for, and is missed where it is taken away."""

import signal
import sys
from pathlib import Path

import pytest
from confluent_kafka import Consumer, TopicPartition

from streams.contract.fold import PARTITION_KEY, decode_partition_row
from streams.contract.topics import PREDICTIONS, USERS_CHANGELOG
from streams.engine.exit_codes import FENCED
from tests.broker.on_kafka import OnKafka, on_kafka, partition_totals, read_whole
from tests.engine.supervised import PARTITIONS, stored_rows
from tests.timeouts import scaled, wait_until

pytestmark = pytest.mark.kafka


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
    wait_until(lambda: applied(uncommitted_totals(it.servers)) >= expected, lambda: uncommitted_totals(it.servers))
    paused.send(signal.SIGCONT)
    code = paused.wait() if not mutant else 0
    it.run_to_the_end(it.supervisor.keep(other))
    return code


def wait_until_stopped(pid: int) -> None:
    wait_until(lambda: Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "T")


def uncommitted_totals(servers: str) -> list[dict[str, int]]:
    newest = {
        number: decode_partition_row(value).counts
        for number, key, value in read_whole(servers, USERS_CHANGELOG, PARTITIONS, "read_uncommitted")
        if key == PARTITION_KEY
    }
    return list(newest.values())


def applied(totals: list[dict[str, int]]) -> int:
    return sum(each.get("applied", 0) for each in totals)


@pytest.mark.skipif(sys.platform != "linux", reason="whether a process is stopped is asked of /proc")
def test_a_worker_that_was_paused_in_a_transaction_is_fenced_when_it_wakes_up(kafka: str, tmp_path: Path) -> None:
    with on_kafka(kafka, tmp_path) as it:
        assert pause_in_a_commit_until_another_took_over(it, "") == FENCED
        assert it.wrong() == {}


def test_without_fencing_the_paused_worker_would_write_what_was_written(kafka: str, tmp_path: Path) -> None:
    # As long as Kafka allows, since the broker would fence the paused worker by its time limit.
    with on_kafka(kafka, tmp_path, ENGINE__TRANSACTION_TIMEOUT_S="900.0") as it:
        pause_in_a_commit_until_another_took_over(it, "fencing")
        wait_until(lambda: it.wrong().get("repeated"), it.wrong)


def lost_after_a_kill_in_a_commit(it: OnKafka, successor: str) -> set[str]:
    """A worker is killed with all records of a transaction written; another begins on an empty disk."""
    it.shop.publish(600)
    killed = it.supervisor.start("killed", mutant="killed-in-commit")
    assert killed.wait() == -signal.SIGKILL, killed.log.read_text()
    return it.lost_outputs(it.supervisor.start("other", mutant=successor))


def test_what_a_killed_worker_left_uncommitted_counts_for_nothing(kafka: str, tmp_path: Path) -> None:
    with on_kafka(kafka, tmp_path) as it:
        assert lost_after_a_kill_in_a_commit(it, "") == set()
        assert it.wrong() == {}


def test_reading_uncommitted_rows_would_lose_the_outputs_that_were_aborted_with_them(
    kafka: str, tmp_path: Path
) -> None:
    with on_kafka(kafka, tmp_path) as it:
        assert lost_after_a_kill_in_a_commit(it, "read-committed")


def test_storing_rows_before_they_are_committed_would_leave_a_disk_that_is_ahead(kafka: str, tmp_path: Path) -> None:
    with on_kafka(kafka, tmp_path) as it:
        it.shop.publish(600)
        it.supervisor.run_until_killed("disk", "stored-first:2", mutant="store-first")
        assert it.lost_outputs(it.supervisor.start("disk"))


def test_a_dead_workers_open_transaction_holds_readers_no_longer_than_its_bound(kafka: str, tmp_path: Path) -> None:
    """Nobody takes over: the broker itself ends the transaction."""
    with on_kafka(kafka, tmp_path, ENGINE__TRANSACTION_TIMEOUT_S=str(scaled(2.0))) as it:
        it.shop.publish(600)
        killed = it.supervisor.start("killed", mutant="killed-in-commit")
        assert killed.wait() == -signal.SIGKILL
        before = end_of_committed(kafka)
        wait_until(lambda: end_of_committed(kafka) > before)


def end_of_committed(servers: str) -> int:
    """Where the outputs end for a reader of committed records, all partitions together."""
    consumer = Consumer({"bootstrap.servers": servers, "group.id": "ends", "log_level": 2})
    ends = [consumer.get_watermark_offsets(TopicPartition(PREDICTIONS, number))[1] for number in range(PARTITIONS)]
    consumer.close()
    return sum(ends)
