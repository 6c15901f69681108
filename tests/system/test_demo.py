"""The demo: one command, its report adds up, and nothing of it is left running however it ends."""

import fcntl
import os
import pty
import re
import signal
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Final

import orjson
import pytest

from streams.agents import FOLDS
from streams.contract.settings.policies import CONTROLS
from streams.demo.shares import DEMO_SHARES
from tests.system.cluster import ROOT
from tests.timeouts import HANG_S, Deadline, wait_until

EVENTS: Final = 4000
POLICY: Final = {"decisions", "impressions", "clicks", "ctr", "lift", "true_ctr", "regret", "regret_per_slate"}
TARGET: Final = {"examples", "positives", "auc", "log_loss", "base_log_loss", "calibration"}


@contextmanager
def demo(
    *arguments: str, output: "IO[bytes] | int" = subprocess.PIPE, **environment: str
) -> Iterator["subprocess.Popen[bytes]"]:
    """A demo in a session of its own, so that all that it starts can be told by it."""
    ours = ("HEADRACE_", "KAFKA_")
    process = subprocess.Popen(
        [sys.executable, "-m", "streams.cli.main", "demo", *arguments],
        cwd=ROOT,
        env={name: value for name, value in os.environ.items() if not name.startswith(ours)} | environment,
        stdout=output,
        stderr=subprocess.STDOUT,
    )
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def descendants(pid: int) -> set[int]:
    listed = subprocess.run(["ps", "-A", "-o", "pid=,ppid="], capture_output=True, check=True).stdout
    pairs = [tuple(map(int, line.split())) for line in listed.splitlines()]
    found = {pid}
    while more := {child for child, parent in pairs if parent in found} - found:
        found |= more
    return set(filter(is_running, found - {pid}))


def command_of(pid: int) -> str:
    return subprocess.run(
        ["ps", "-ww", "-o", "args=", "-p", str(pid)], capture_output=True, text=True, check=False
    ).stdout.strip()


def is_running(pid: int) -> bool:
    shown = subprocess.run(["ps", "-o", "stat=", "-p", str(pid)], capture_output=True, check=False).stdout
    return bool(shown.strip()) and not shown.startswith(b"Z")


def wait_for_parts(process: "subprocess.Popen[bytes]") -> set[int]:
    """Waits until broker, two workers, shoppers and their supervisors run; returns their process ids."""
    deadline = Deadline()
    while len(parts := descendants(process.pid)) < 6:
        deadline.check()
        assert process.poll() is None
        time.sleep(0.2)
    return parts


def test_its_report_adds_up(tmp_path: Path) -> None:
    report = tmp_path / "report.json"
    arguments = ("--events", str(EVENTS), "--seed", "7", "--headless", "--report", str(report))
    # So few events are an hour: only with less lateness are all events of some horizons among them.
    # Only the option sends made-up shoppers to a cluster.
    elsewhere = "127.0.0.1:1"
    with demo(*arguments, HEADRACE_TIME__ALLOWED_LATENESS_S="600", KAFKA_BOOTSTRAP_SERVERS=elsewhere) as process:
        parts = wait_for_parts(process)
        output, _ = process.communicate(timeout=HANG_S)
        assert process.returncode == 0, output.decode()
        assert not any(map(is_running, parts))
    assert b"\x1b" not in output
    assert b"not on KAFKA_BOOTSTRAP_SERVERS" in output
    told = orjson.loads(report.read_bytes())
    events = told["events"]
    assert events["produced"] == EVENTS + 4
    assert events["produced"] == events["applied"] + events["dead_letters"] + events["duplicates"]
    assert 0 <= events["late"] <= events["applied"]
    assert set(told["policies"]) == set(DEMO_SHARES)
    assert set(told["lift"]) == set(CONTROLS)
    for control, lift in told["lift"].items():
        assert lift.items() >= (told["policies"]["bandit"]["lift"][control] or {}).items()
        assert lift["policy"] == "bandit"
        assert lift["verdict"] in {"better", "worse", "not distinguishable", "too early"}
    for name in ("decisions", "impressions", "clicks"):
        assert told[name] == sum(policy[name] for policy in told["policies"].values()) > 0
    assert all(set(policy) >= POLICY for policy in told["policies"].values())
    assert all(policy["ctr"]["ci95"][0] <= policy["ctr"]["estimate"] for policy in told["policies"].values())
    assert told["rejected_metrics"] == 0
    assert told["purchases"] > 0
    assert {"purchase", "cart", "click"} >= set(told["targets"]) > set()
    assert told["amounts"]["spend"]["rmse"] > 0.0
    assert told["amounts"]["spend"]["base_rmse"] > 0.0
    assert all(set(target) >= TARGET for target in told["targets"].values())
    assert set(told["attainable"]) == {"purchase", "cart", "click", "spend"}
    assert all(set(told["attainable"][name]) >= TARGET for name in ("purchase", "cart", "click"))
    assert told["attainable"]["spend"]["deviance"] > 0.0
    rate = told["attainable_ctr"]
    assert 0.0 < max(rate["shown_ctr"], rate["attainable_ctr"]) <= rate["best_ctr"] < 1.0
    assert told["throughput_events_per_s"] > 0
    assert told["latency_ms"]["p50"] <= told["latency_ms"]["p95"] <= told["latency_ms"]["p99"]
    assert told["seconds"] > 0
    # Hours pass in a minute: so few events are most of an hour.
    assert told["event_time_s"] > 1800.0
    assert set(told["lag"]) == set(FOLDS)
    assert all(lag["records"] >= 0 and lag["latency_ms"]["p50"] > 0 for lag in told["lag"].values())
    assert 0.0 <= told["learned_share"] <= 1.0


def test_on_a_terminal_it_shows_what_is_recommended_to_whom() -> None:
    ours, its = pty.openpty()
    fcntl.ioctl(its, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
    shown, deadline = b"", Deadline()
    # All names have a prefix, so that the loop closes only if every part of it makes them alike.
    named = {"HEADRACE_ENGINE__APP_ID": "shop"}
    with demo("--events", "1000000", output=its, TERM="xterm-256color", **named) as process:
        os.close(its)
        while not re.search(rb"recommended to\W+user-", _without_styles(shown)):
            deadline.check()
            shown += os.read(ours, 65536)  # an error at the end of the demo, in which case it has not shown it
        process.send_signal(signal.SIGINT)
        with suppress(OSError):  # Linux: what ended has closed the terminal
            while os.read(ours, 65536):
                pass
        assert process.wait(HANG_S) == 130
    os.close(ours)


def _without_styles(shown: bytes) -> bytes:
    return re.sub(rb"\x1b\[[0-9;]*m", b"", shown)


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGKILL, -signal.SIGKILL)]
)
def test_nothing_is_left_running_when_it_is_ended_before_its_time(tmp_path: Path, number: int, code: int) -> None:
    said, temporary = tmp_path / "output", tmp_path / "temporary"
    temporary.mkdir()
    arguments = ("--events", "1000000", "--headless")
    with said.open("wb") as output, demo(*arguments, output=output, TMPDIR=str(temporary)) as process:
        parts = wait_for_parts(process)
        deadline = Deadline(said.read_bytes)
        while b"CTR" not in said.read_bytes():
            deadline.check()
            assert process.poll() is None
            time.sleep(0.1)
        process.send_signal(number)
        assert process.wait(HANG_S) == code
    wait_until(lambda: not any(map(is_running, parts)) and not list(temporary.iterdir()))
    assert b"Traceback" not in said.read_bytes()
    # Ctrl-C prints the summary of what was done.
    assert (b"interrupted after" in said.read_bytes()) == (number == signal.SIGINT)
    assert (b"loss above base" in said.read_bytes()) == (number == signal.SIGINT)


@pytest.mark.parametrize("folds", ["behaviour", "items learning"])
def test_it_ends_when_one_of_its_workers_does_and_says_which(tmp_path: Path, folds: str) -> None:
    said = tmp_path / "output"
    with said.open("wb") as output, demo("--events", "1000000", "--headless", output=output) as process:
        parts = wait_for_parts(process)
        [worker] = [pid for pid in parts if command_of(pid).endswith(f".json {folds}")]
        os.kill(worker, signal.SIGKILL)
        assert process.wait(HANG_S) == 1
    wait_until(lambda: not any(map(is_running, parts)))
    assert f"the worker of {' and '.join(folds.split())} ended with exit code -9" in said.read_text()


def test_a_report_that_cannot_be_written_is_refused_before_anything_is_begun(tmp_path: Path) -> None:
    with demo("--report", str(tmp_path / "nowhere" / "report.json")) as process:
        output, _ = process.communicate(timeout=HANG_S)
    assert process.returncode == 2
    assert output.startswith(b"headrace: ")
    assert output.count(b"\n") == 1
