"""Supervises child processes: when the parent dies, kills them and deletes their directory.

The supervisor is a process of its own, in a session of its own. It starts the children itself, so that none of them
ever runs unsupervised. Ctrl-C reaches only the parent, which decides what ends first. Parent and supervisor talk over a
pair of sockets, in lines of JSON: a number and a request, the same number and the reply.
"""

import os
import select
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import nullcontext, suppress
from pathlib import Path
from types import FrameType
from typing import Final, NoReturn

import msgspec

from streams.contract.errors import RefusedStart

_STOP_TIMEOUT_S: Final = 20.0
_KILL_TIMEOUT_S: Final = 30.0
_POLL_S: Final = 0.02
_PARENT_CHECK_S: Final = 0.25
_REQUEST_BYTES: Final = 65536


class _Start(msgspec.Struct, tag=True):
    command: Sequence[str]
    log: str | None
    has_stdin: bool
    """Whether the descriptor of its standard input comes along."""


class _Signal(msgspec.Struct, tag=True):
    """Sends a signal; 0 only asks whether the process still runs."""

    process: int
    number: int


class _Reply(msgspec.Struct):
    """The state of a process. The first reply, to no request, has the directory instead."""

    process: int = -1
    pid: int = -1
    exit_code: int | None = None
    directory: str = ""


_Request = _Start | _Signal
_decode_request: Final = msgspec.json.Decoder(tuple[int, _Request]).decode
_decode_reply: Final = msgspec.json.Decoder(tuple[int, _Reply]).decode


class ProcessGroup:
    """Child processes that end with this process, at the latest.

    Args:
        prefix: Of the directory's name.

    Attributes:
        directory: A temporary directory for their files; deleted at the end.
    """

    def __init__(self, prefix: str) -> None:
        self._last_request = 0
        self._socket, supervisors_end = socket.socketpair()
        with supervisors_end:
            self._supervisor = subprocess.Popen(
                [sys.executable, "-m", "streams.brokers.process_group", str(os.getpid()), prefix],
                stdin=supervisors_end.fileno(),
                start_new_session=True,
            )
        self._replies = self._socket.makefile("rb")
        self.directory = Path(self._reply().directory)

    def start(
        self, command: Sequence[str], *, log: Path | None = None, stdin: socket.socket | None = None
    ) -> "SupervisedProcess":
        """Starts a process.

        Args:
            log: File that its output is appended to; without one it has this process's standard output and error.
            stdin: Its standard input, nothing by default.
        """
        request = _Start(command, None if log is None else str(log), stdin is not None)
        reply = self._ask(request, [] if stdin is None else [stdin.fileno()])
        return SupervisedProcess(self, reply.process, reply.pid)

    def start_module(
        self, module: str, *arguments: str, log: Path | None = None, stdin: socket.socket | None = None
    ) -> "SupervisedProcess":
        """Starts a Python module, as :meth:`start`."""
        return self.start([sys.executable, "-m", module, *arguments], log=log, stdin=stdin)

    def signal(self, process: int, number: int) -> int | None:
        """Sends a signal to a process if it still runs, and returns its exit code if it does not."""
        return self._ask(_Signal(process, number)).exit_code

    def close(self) -> None:
        """Kills what still runs, and deletes the directory."""
        with suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)  # closes it for a fork of this process, too
        self._replies.close()
        self._socket.close()
        self._supervisor.wait(_KILL_TIMEOUT_S)

    def __enter__(self) -> "ProcessGroup":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _ask(self, request: _Request, descriptors: Sequence[int] = ()) -> _Reply:
        self._last_request += 1
        line = _line(self._last_request, request)
        with suppress(ConnectionError):  # then there is no reply
            if descriptors:
                socket.send_fds(self._socket, [line], descriptors)
            else:
                self._socket.sendall(line)
        return self._reply()

    def _reply(self) -> _Reply:
        """Reads the reply to the last request. Ctrl-C may have left earlier ones unread."""
        with suppress(ConnectionError):
            while line := self._replies.readline():
                request, reply = _decode_reply(line)
                if request == self._last_request:
                    return reply
        raise RefusedStart("the supervisor of the child processes has ended; standard error may say why")


class SupervisedProcess:
    """A child process of a group. Leaving the ``with`` block stops it."""

    def __init__(self, group: ProcessGroup, process: int, pid: int) -> None:
        self._group = group
        self._process = process
        self.pid = pid

    @property
    def exit_code(self) -> int | None:
        """``None`` while it runs; negative if a signal ended it."""
        return self._group.signal(self._process, 0)

    def signal(self, number: int) -> None:
        """Sends a signal; does nothing if the process has ended."""
        self._group.signal(self._process, number)

    def wait(self, timeout_s: float) -> int | None:
        """Waits for the end of the process and returns its exit code, or ``None`` if it still runs."""
        deadline_s = time.monotonic() + timeout_s
        while (code := self.exit_code) is None and time.monotonic() < deadline_s:
            time.sleep(_POLL_S)
        return code

    def stop(self) -> None:
        """Ends the process by SIGTERM, or by SIGKILL if that takes too long."""
        self.signal(signal.SIGTERM)
        if self.wait(_STOP_TIMEOUT_S) is None:
            self.kill()

    def kill(self) -> None:
        """Ends the process by SIGKILL, as a power cut would."""
        self.signal(signal.SIGKILL)
        self.wait(_KILL_TIMEOUT_S)

    def __enter__(self) -> "SupervisedProcess":
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()


def end_on_sigterm(status: int = 0) -> None:
    """Makes SIGTERM leave by way of the ``with`` blocks, so that they stop what they have started."""

    def end(signum: int, frame: FrameType | None) -> NoReturn:
        raise SystemExit(status)

    signal.signal(signal.SIGTERM, end)


def main() -> None:
    """Runs the supervisor, with the parent's process id and the directory's prefix as arguments."""
    parent, prefix = int(sys.argv[1]), sys.argv[2]
    for ignored in (signal.SIGINT, signal.SIGTERM):
        # The parent decides when it ends. The children do not inherit a handler, as they would SIG_IGN.
        signal.signal(ignored, lambda *_: None)
    processes: list[subprocess.Popen[bytes]] = []
    directory = tempfile.mkdtemp(prefix=prefix)
    try:
        with suppress(ConnectionError), socket.socket(fileno=sys.stdin.fileno()) as connection:
            connection.sendall(_line(0, _Reply(directory=directory)))
            for number, request, stdin in _requests(connection, parent):
                connection.sendall(_line(number, _obey(request, stdin, processes)))
    finally:
        for process in processes:
            process.kill()
        for process in processes:
            process.wait()
        shutil.rmtree(directory, ignore_errors=True)


def _line(number: int, message: _Request | _Reply) -> bytes:
    return msgspec.json.encode((number, message)) + b"\n"


def _requests(connection: socket.socket, parent: int) -> Iterator[tuple[int, _Request, int]]:
    """Yields requests, with their numbers and a child's standard input, until the parent closes its end or is gone.

    The end of the connection is seen at once. A change of the parent's id is seen a little later, but also where a fork
    of the parent holds the connection open. (Linux's parent-death signal comes too early: when the thread ends that
    started this process.)
    """
    begun, descriptors = b"", list[int]()
    while os.getppid() == parent:
        if not select.select([connection], [], [], _PARENT_CHECK_S)[0]:
            continue
        received, passed, _, _ = socket.recv_fds(connection, _REQUEST_BYTES, 1)
        if not received:
            return
        descriptors += passed
        *lines, begun = (begun + received).split(b"\n")
        for number, request in map(_decode_request, lines):
            has_stdin = isinstance(request, _Start) and request.has_stdin
            yield number, request, descriptors.pop(0) if has_stdin else subprocess.DEVNULL


def _obey(request: _Request, stdin: int, processes: list[subprocess.Popen[bytes]]) -> _Reply:
    if isinstance(request, _Start):
        with Path(request.log).open("ab") if request.log is not None else nullcontext() as output:
            processes.append(subprocess.Popen(request.command, stdin=stdin, stdout=output, stderr=output))
        if stdin != subprocess.DEVNULL:
            os.close(stdin)
        return _Reply(len(processes) - 1, processes[-1].pid)
    process = processes[request.process]
    process.send_signal(request.number)
    return _Reply(request.process, process.pid, process.poll())


if __name__ == "__main__":
    main()
