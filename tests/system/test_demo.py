"""The demo: one command, its report adds up, and nothing of it is left running however it ends."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Final

import orjson
import pytest

from streams.contract.settings import Settings
from tests.system.cluster import DEADLINE_S, ROOT

EVENTS: Final = 4000
POLICY: Final = {"decisions", "impressions", "clicks", "ctr", "ctr_ci95", "true_ctr", "regret", "regret_per_slate"}
TARGET: Final = {"examples", "positives", "auc", "log_loss", "base_log_loss", "calibration"}


@contextmanager
def demo(*arguments: str, output: "IO[bytes] | int" = subprocess.PIPE) -> Iterator["subprocess.Popen[bytes]"]:
    """A demo in a session of its own, so that all that it starts can be told by it."""
    ours = ("HEADRACE_", "KAFKA_")
    process = subprocess.Popen(
        [sys.executable, "-m", "streams.ops.cli", "demo", *arguments],
        cwd=ROOT,
        env={name: value for name, value in os.environ.items() if not name.startswith(ours)},
        stdout=output,
        stderr=subprocess.STDOUT,
    )
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def children(pid: int) -> list[int]:
    listed = subprocess.run(["ps", "-A", "-o", "pid=,ppid="], capture_output=True, check=True).stdout
    pairs = [tuple(map(int, line.split())) for line in listed.splitlines()]
    return [child for child, parent in pairs if parent == pid and is_running(child)]


def is_running(pid: int) -> bool:
    shown = subprocess.run(["ps", "-o", "stat=", "-p", str(pid)], capture_output=True, check=False).stdout
    return bool(shown.strip()) and not shown.startswith(b"Z")


def wait_for_parts(process: "subprocess.Popen[bytes]") -> list[int]:
    """Waits until broker, worker and shoppers run; returns their process ids."""
    deadline_s = time.monotonic() + DEADLINE_S
    while len(parts := children(process.pid)) < 3:
        assert process.poll() is None
        assert time.monotonic() < deadline_s
        time.sleep(0.2)
    return parts


def test_its_report_adds_up(tmp_path: Path) -> None:
    report = tmp_path / "report.json"
    with demo("--events", str(EVENTS), "--seed", "7", "--headless", "--report", str(report)) as process:
        parts = wait_for_parts(process)
        output, _ = process.communicate(timeout=DEADLINE_S)
        assert process.returncode == 0, output.decode()
        assert not any(map(is_running, parts))
    assert b"\x1b" not in output
    told = orjson.loads(report.read_bytes())
    events = told["events"]
    assert events["produced"] == EVENTS + 4
    assert events["produced"] == events["applied"] + events["dead_letters"] + events["duplicates"]
    assert 0 <= events["late"] <= events["applied"]
    assert set(told["policies"]) == set(Settings().decisions.shares)
    for name in ("decisions", "impressions", "clicks"):
        assert told[name] == sum(policy[name] for policy in told["policies"].values()) > 0
    assert all(set(policy) >= POLICY for policy in told["policies"].values())
    assert told["purchases"] > 0
    assert {"purchase", "cart", "click"} >= set(told["targets"]) > set()
    assert told["amounts"]["spend"]["rmse"] > 0.0
    assert told["amounts"]["spend"]["base_rmse"] > 0.0
    assert all(set(target) >= TARGET for target in told["targets"].values())
    assert told["throughput_events_per_s"] > 0
    assert told["latency_ms"]["p50"] <= told["latency_ms"]["p95"] <= told["latency_ms"]["p99"]
    assert told["seconds"] > 0


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGKILL, -signal.SIGKILL)]
)
def test_nothing_is_left_running_when_it_is_ended_before_its_time(tmp_path: Path, number: int, code: int) -> None:
    said = tmp_path / "output"
    with said.open("wb") as output, demo("--events", "1000000", "--headless", output=output) as process:
        parts = wait_for_parts(process)
        while b"CTR" not in said.read_bytes():
            assert process.poll() is None
            time.sleep(0.1)
        process.send_signal(number)
        assert process.wait(DEADLINE_S) == code
    deadline_s = time.monotonic() + DEADLINE_S
    while any(map(is_running, parts)):
        assert time.monotonic() < deadline_s
        time.sleep(0.1)
    assert b"Traceback" not in said.read_bytes()


def test_a_report_that_cannot_be_written_is_refused_before_anything_is_begun(tmp_path: Path) -> None:
    with demo("--report", str(tmp_path / "nowhere" / "report.json")) as process:
        output, _ = process.communicate(timeout=DEADLINE_S)
    assert process.returncode == 2
    assert output.startswith(b"headrace: ")
    assert output.count(b"\n") == 1
