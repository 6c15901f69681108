"""Keeps processes for another one: when that one ends, however it ends, they end too and their folder goes.

It starts them itself, so that there is no moment at which one runs that nobody would end. The parent talks to it in
lines of JSON on standard input, one answer a line: ``{"start": [...]}`` gives ``{"pid": ...}``, ``{"signal": pid,
"number": n}`` and ``{"wait": pid, "timeout_s": s}`` give ``{"code": ...}``, which is null while the process runs.
"""

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Final

import streams
from streams.contract.errors import RefusedStart

_STOP_S: Final = 30.0


class Keeper:
    """The parent's side.

    Args:
        folder: Removed at the end, with all that is in it.
    """

    def __init__(self, folder: Path) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "streams.ops.keeper", str(folder)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            cwd=Path(streams.__path__[0]).parent,
            # Ctrl-C reaches only the parent, which decides what ends first.
            start_new_session=True,
        )
        self._orders, self._answers = _pipe(self._process.stdin), _pipe(self._process.stdout)

    def start(self, command: list[str], log: Path) -> int:
        """Starts a process, its output appended to ``log``, and returns its id."""
        return int(self._ask(start=command, log=str(log))["pid"])

    def signal(self, pid: int, number: int) -> None:
        """Sends a signal to a process that was started here; one that has ended does not mind."""
        self._ask(signal=pid, number=number)

    def wait(self, pid: int, timeout_s: float) -> int | None:
        """Waits for the end of a process and returns its exit code, or ``None`` if it still runs."""
        code = self._ask(wait=pid, timeout_s=timeout_s)["code"]
        return None if code is None else int(code)

    def close(self) -> None:
        """Ends all processes and removes the folder."""
        self._orders.close()
        self._process.wait(_STOP_S)
        self._answers.close()

    def __enter__(self) -> "Keeper":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _ask(self, **order: Any) -> dict[str, Any]:
        self._orders.write(json.dumps(order).encode() + b"\n")
        self._orders.flush()
        line = self._answers.readline()
        if not line:
            raise RefusedStart("the process that keeps the broker has ended")
        answer: dict[str, Any] = json.loads(line)
        return answer


def _pipe(pipe: IO[bytes] | None) -> IO[bytes]:
    if pipe is None:
        raise RefusedStart("the process that keeps the broker was started without pipes")
    return pipe


def main() -> None:
    """Keeps processes until standard input ends."""
    kept: dict[int, subprocess.Popen[bytes]] = {}
    try:
        for line in sys.stdin.buffer:
            sys.stdout.buffer.write(json.dumps(_obey(json.loads(line), kept)).encode() + b"\n")
            sys.stdout.buffer.flush()
    except BrokenPipeError:
        pass  # The parent is gone in the middle of an order.
    finally:
        for process in kept.values():
            process.kill()
            process.wait()
        shutil.rmtree(sys.argv[1], ignore_errors=True)


def _obey(order: dict[str, Any], kept: dict[int, subprocess.Popen[bytes]]) -> dict[str, Any]:
    if "start" in order:
        with Path(order["log"]).open("ab") as log:
            process = subprocess.Popen(order["start"], stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        kept[process.pid] = process
        return {"pid": process.pid}
    if "signal" in order:
        kept[order["signal"]].send_signal(order["number"])
        return {}
    try:
        return {"code": kept[order["wait"]].wait(order["timeout_s"])}
    except subprocess.TimeoutExpired:
        return {"code": None}


if __name__ == "__main__":
    for ignored in (signal.SIGINT, signal.SIGTERM):
        signal.signal(ignored, signal.SIG_IGN)
    if os.getppid() > 1:
        main()
