"""Workers as a supervisor and a person at a terminal see them: exit codes, and one clear line or none."""

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Final

import pytest

from streams.brokers.embedded import EmbeddedBroker
from streams.contract.events import Event
from tests.system.cluster import ROOT, Cluster, cluster
from tests.timeouts import HANG_S, Deadline, scaled

NOBODY: Final = "127.0.0.1:1"


def headrace(*arguments: str, code: int) -> str:
    """Runs a command without any settings from outside; returns what it said on standard error."""
    ours = ("HEADRACE_", "KAFKA_")
    done = subprocess.run(
        [sys.executable, "-m", "streams.cli.main", *arguments],
        cwd=ROOT,
        env={name: value for name, value in os.environ.items() if not name.startswith(ours)},
        capture_output=True,
        timeout=HANG_S,
        check=False,
    )
    assert done.returncode == code, done.stderr.decode()
    assert done.stdout == b""
    return done.stderr.decode()


def is_one_line(said: str) -> bool:
    return "incident=worker-ends" in said and said.count("\n") == 1


def test_a_worker_without_a_broker_says_so_in_a_line(tmp_path: Path) -> None:
    said = headrace("--bootstrap-servers", NOBODY, "worker", "--data", str(tmp_path / "disk"), code=4)
    assert is_one_line(said)
    assert f"no broker answers at {NOBODY}" in said


def test_a_worker_without_topics_says_how_to_make_them(tmp_path: Path) -> None:
    with EmbeddedBroker() as broker:
        said = headrace(
            "--bootstrap-servers", broker.bootstrap_servers, "worker", "--data", str(tmp_path / "disk"), code=3
        )
    assert is_one_line(said)
    assert "headrace topics create" in said


def folding(it: Cluster) -> None:
    """Gives a worker something to be in the middle of."""
    users = [f"user-{number % 99}" for number in range(3000)]
    it.publish(
        [
            Event(event_id=f"e{number}", timestamp_ms=1_700_000_000_000, kind="view", user_id=user, item_id="i")
            for number, user in enumerate(users)
        ]
    )


OF_A_BUSY_MACHINE = (
    "is overlapping",
    "Task timed out!",
    "make sure it's hanging before restart",
    "Thread keepalive is not responding",
)
"""Remarks of Faust: one of its timers was late, or a rebalance took longer than a session."""
# Longer than a pause of a busy machine, and shorter than the watchdog waits for a rebalance.
PATIENT: Final = {
    "HEADRACE_ENGINE__SESSION_TIMEOUT_S": str(scaled(20.0)),
    "HEADRACE_ENGINE__WATCHDOG_S": str(scaled(45.0)),
}


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_worker_that_is_told_to_stop_while_it_folds_ends_quietly_with_0(tmp_path: Path, number: int) -> None:
    with cluster(tmp_path, HEADRACE_ENGINE__BATCH_RECORDS="20", **PATIENT) as it:
        folding(it)
        worker = it.start("disk")
        deadline = Deadline(worker.said)
        while not it.rows_of_partitions("clickstream"):
            deadline.check()
            assert worker.code is None, worker.said()
        worker.send(number)
        assert worker.wait() == 0, worker.said()
        said = [line for line in worker.said().splitlines() if not any(remark in line for remark in OF_A_BUSY_MACHINE)]
        assert [line for line in said if "level=info incident=" not in line] == []
        assert "incident=worker-stops" in said[-1]
        it.settle(it.start("disk"))[0].stop()
        assert sum(row.counts["applied"] for row in it.rows_of_partitions("clickstream").values()) == 3000


def test_the_faust_command_runs_the_app(tmp_path: Path) -> None:
    with cluster(tmp_path, HEADRACE_ENGINE__DATA_DIR=str(tmp_path / "disk"), **PATIENT) as it:
        folding(it)
        process = subprocess.Popen(
            [str(Path(sys.executable).with_name("faust")), "-A", "streams.app", "worker"],
            cwd=ROOT,
            env=it.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        try:
            it.settle()
            process.send_signal(signal.SIGINT)
            output, errors = process.communicate(timeout=HANG_S)
        finally:
            process.kill()
        assert process.returncode == 0
        # On a busy machine Faust says of its timers that they are late.
        remarks = [remark.encode() for remark in OF_A_BUSY_MACHINE]
        assert [line for line in errors.splitlines() if not any(remark in line for remark in remarks)] == []
        assert b"\x1b[?25" not in output
        assert len(it.inspect("users", "disk")) == 99
