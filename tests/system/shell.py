"""A shell that runs the blocks of a page as their reader does."""

import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from tests.docs.pages import ROOT
from tests.system.cluster import QUICK
from tests.timeouts import HANG_S, wait_until


def environment(**more: str) -> dict[str, str]:
    """That of a reader: nothing of the make and the pytest that run this test."""
    ours = ("HEADRACE_", "KAFKA_", "MAKE", "MFLAGS", "PYTEST_")
    outside = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
    return {**outside, "PYTHONPATH": str(ROOT), **more}


class Shell:
    """A bash that is given some lines after others, and ends at the first that fails."""

    def __init__(self, folder: Path, output: Path) -> None:
        self._folder = folder
        self._output = output
        self._runs = 0
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

    def run(self, lines: str) -> None:
        """Runs lines to their end."""
        assert self.process.stdin
        self._runs += 1
        done = f"run {self._runs} is done"
        self.process.stdin.write(f"{lines}\necho {done}\n".encode())
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
