"""Every block of the README, run as its reader runs it."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

import pytest

from streams.contract.metrics import Totals, WorkerMetrics, decode_metrics
from streams.contract.topics import METRICS
from tests.docs.pages import README, blocks_of
from tests.system.cluster import QUICK, ROOT, Reader
from tests.timeouts import HANG_S, wait_until

BLOCKS: Final = blocks_of(README)
MAKE: Final = [block.text.strip() for block in BLOCKS if block.text.startswith("make ")]
SHOP: Final = [block for block in BLOCKS if not block.text.startswith("make ")]

SHORT: Final = {
    "make demo": ("--events 500 --seed 7 --headless", "504 events published = 504 applied"),
    "make test": ("--numprocesses 0 -p no:cacheprovider tests/contract/test_partitioning.py", " passed in "),
}
"""Command to the arguments that make it short, and to what it then says."""


def environment(**more: str) -> dict[str, str]:
    """That of a reader: nothing of the make and the pytest that run this test."""
    ours = ("HEADRACE_", "KAFKA_", "MAKE", "MFLAGS", "PYTEST_")
    outside = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
    return {**outside, "PYTHONPATH": str(ROOT), **more}


@pytest.mark.parametrize("command", MAKE)
def test_what_is_made_runs(command: str) -> None:
    arguments, said = SHORT[command]
    # What is installed stays as it is, however old: this process runs from it.
    installed = [word for stamp in ("run", "setup") for word in ("-o", f".venv/.headrace-{stamp}")]
    done = subprocess.run(
        [*command.split(), *installed, f"ARGS={arguments}"],
        cwd=ROOT,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=HANG_S,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert said in done.stdout


class Shell:
    """A bash that is given one line after another, and ends at the first that fails."""

    def __init__(self, folder: Path, output: Path) -> None:
        self._folder = folder
        self._output = output
        self._lines = 0
        # A worker that stands still on a busy machine goes on here, and a session lasts.
        settings = {**QUICK, "HEADRACE_ENGINE__WATCHDOG_S": str(HANG_S)}
        with output.open("wb") as said:
            self.process = subprocess.Popen(
                ["bash", "-e"],
                cwd=folder,
                env=environment(**settings),
                stdin=subprocess.PIPE,
                stdout=said,
                stderr=said,
                start_new_session=True,
            )

    def run(self, line: str) -> None:
        """Runs a line to its end."""
        assert self.process.stdin
        self._lines += 1
        done = f"line {self._lines} is done"
        self.process.stdin.write(f"{line}\necho {done}\n".encode())
        self.process.stdin.flush()
        wait_until(lambda: done in self.said() or self.process.poll() is not None, self._all_said)
        assert self.process.poll() is None, self._all_said()

    def said(self) -> str:
        return self._output.read_text("utf-8")

    def _all_said(self) -> str:
        return "".join(log.read_text("utf-8") for log in (self._output, *self._folder.glob("*.log")))

    def close(self) -> None:
        assert self.process.stdin
        self.process.stdin.close()
        assert self.process.wait(HANG_S) == 0, self.said()

    def is_anything_running(self) -> bool:
        try:
            os.killpg(self.process.pid, 0)
        except ProcessLookupError:
            return False
        return True


@contextmanager
def shell(folder: Path, output: Path) -> Iterator[Shell]:
    """A shell of which nothing is left running."""
    made = Shell(folder, output)
    try:
        yield made
    finally:
        with suppress(ProcessLookupError):
            os.killpg(made.process.pid, signal.SIGKILL)
        made.process.communicate()  # closes what the shell was fed by


def test_the_shop_gets_a_slate_and_its_click_is_joined_to_it(tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / ".venv").symlink_to(sys.prefix)
    checked = 0
    with shell(folder, tmp_path / "said") as it:
        for block in SHOP:
            if block.language == "python":
                (folder / "shop.py").write_text(block.text, "utf-8")
                continue
            for line in block.text.splitlines():
                it.run(line)
                if line == "python shop.py":
                    check_feedback((folder / "broker.address").read_text("utf-8").strip())
                    checked += 1
        it.close()
        wait_until(lambda: not it.is_anything_running(), it.said)
    assert checked == 1
    assert '"probabilities"' in it.said()
    assert {path.name for path in folder.iterdir()} == {".venv", "shop.py"}


def check_feedback(servers: str) -> None:
    """Waits until the click is counted; all events have to be applied, and all feedback joined to the slate."""
    reader = Reader(servers, METRICS, 1)
    newest: list[Totals] = []

    def is_counted() -> bool:
        records = [decode_metrics(record.value) for record in reader.read()]
        newest.extend(record.totals for record in records if isinstance(record, WorkerMetrics))
        return bool(newest) and "click" in newest[-1].kinds

    wait_until(is_counted, lambda: newest)
    reader.close()
    totals = newest[-1]
    assert totals.kinds.items() >= {"impression": 1, "click": 1}.items()
    assert totals.applied == sum(totals.kinds.values()) == totals.kinds["view"] + 2
    assert totals.decisions == totals.kinds["view"]
    assert sum(policy.clicks for policy in totals.policies.values()) == 1
    assert (totals.unjoinable, totals.dead_letters, totals.late) == (0, {}, 0)
