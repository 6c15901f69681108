"""Real workers, a real disk, a broker over TCP: SIGKILL anywhere loses nothing and counts nothing twice."""

import random
import signal
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from streams.engine.protocol import STEPS
from tests.engine.supervised import Process, Reader, Supervisor, running, stored_partition_rows, stored_rows
from tests.timeouts import Deadline, scaled

pytestmark = pytest.mark.broker

MOST_UNREAD = 10_000
"""Events that are published ahead of the workers: the embedded broker keeps a few MiB."""


def wait_for_work(supervisor: Supervisor, reader: Reader, process: Process) -> Process:
    """Waits until something is put out; returns the worker that lives then."""
    begun = len(reader.values)
    deadline = Deadline(process.log.read_text)
    while len(reader.values) == begun:
        deadline.check()
        process = supervisor.keep(process)
        reader.read()
    return process


def kill_again_and_again(folder: Path, *, same_disk: bool) -> None:
    """Kills a worker after each step and at some moments; the next one starts on its disk or on an empty one."""
    moments = random.Random(same_disk)
    disks = ("disk" if same_disk else f"disk-{number}" for number in range(100))
    with running(folder) as (_, shop, supervisor, reader):
        for step in STEPS:
            shop.publish(600)
            supervisor.run_until_killed(next(disks), f"{step}:2")
        for _ in range(2):
            shop.publish(6000)
            process = wait_for_work(supervisor, reader, supervisor.start(next(disks)))
            time.sleep(moments.uniform(0, 0.3))
            process.kill()
        last = next(disks)
        supervisor.run_to_the_end(last, reader, shop.refs())
        assert stored_rows(folder / last) == shop.counts()
        assert reader.refs() == shop.refs()
        counts = [row.counts for row in stored_partition_rows(folder / last).values()]
        assert counts == [{"applied": len(events)} for events in shop.events]


def test_a_kill_after_any_step_or_at_any_moment_changes_nothing(tmp_path: Path) -> None:
    with ThreadPoolExecutor() as pool:
        runs = []
        for same_disk in (True, False):
            folder = tmp_path / str(same_disk)
            folder.mkdir()
            runs.append(pool.submit(kill_again_and_again, folder, same_disk=same_disk))
        for run in runs:
            run.result()


def test_logging_before_emitting_would_lose_outputs_at_a_kill(tmp_path: Path) -> None:
    """The wrong order is really wrong: what the first worker logged and did not emit is never emitted."""
    with running(tmp_path) as (_, shop, supervisor, reader):
        shop.publish(600)
        supervisor.run_until_killed("disk", "emit:2", mutant="order")
        assert supervisor.lost_outputs(supervisor.start("disk"), reader, shop.refs())


def test_a_second_worker_joins_under_load_and_goes_on_alone_when_the_first_is_killed(tmp_path: Path) -> None:
    # The embedded broker refuses a member that is slower than the leader to ask for its partitions. Such a member would
    # idle for ever; the watchdog ends it, and here the supervisor starts it again.
    with running(tmp_path, ENGINE__WATCHDOG_S=str(scaled(4.0))) as (_, shop, supervisor, reader):
        shop.publish(10_000)
        first = wait_for_work(supervisor, reader, supervisor.start("first"))
        second = supervisor.start("second")
        deadline = Deadline(second.log.read_text)
        while not list((tmp_path / "second").rglob("*.db/CURRENT")):
            first, second = supervisor.keep(first), supervisor.keep(second)
            if sum(map(len, shop.events)) - len(reader.values) < MOST_UNREAD:
                shop.publish(100)
            reader.read()
            deadline.check()
        shop.publish(2000)
        second = wait_for_work(supervisor, reader, second)
        first.kill()
        shop.publish(2000)
        second = supervisor.wait_for_outputs(second, reader, shop.refs())
        second.send(signal.SIGTERM)
        assert second.wait() == 0
        assert stored_rows(tmp_path / "second") == shop.counts()
        assert reader.refs() == shop.refs()


def test_sigterm_in_the_middle_of_work_ends_with_0_within_the_bound_and_loses_nothing(tmp_path: Path) -> None:
    with running(tmp_path) as (_, shop, supervisor, reader):
        shop.publish(20_000)
        # One that is not through by then ends itself, with another code.
        worker = supervisor.start("disk", ENGINE__SHUTDOWN_TIMEOUT_S=str(scaled(10.0)), ENGINE__BATCH_RECORDS="10")
        worker = wait_for_work(supervisor, reader, worker)
        worker.send(signal.SIGTERM)
        assert worker.wait() == 0, worker.log.read_text()
        assert sum(row.events for row in stored_rows(tmp_path / "disk").values()) < 20_000
        supervisor.run_to_the_end("disk", reader, shop.refs())
        assert stored_rows(tmp_path / "disk") == shop.counts()
