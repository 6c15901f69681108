"""The embedded broker as a process of its own, and the handle by which another process starts, disturbs and ends it.

The parent talks to the process in lines of JSON: the process first prints ``{"bootstrap_servers": ...}``, then answers
each command with ``{"error": null}`` or a reason. It ends when its standard input does, or its parent is gone.
"""

import os
import select
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType, TracebackType
from typing import IO, Any, Final, NoReturn, TypeVar, assert_never

import msgspec

import streams
from streams.contract.errors import ConfigurationError, HeadraceError, RefusedStart
from streams.ops.embedded import MockCluster

NOTICE: Final = (
    "for demos and tests, in memory only: it keeps 5 MiB a partition and forgets all when it ends; "
    "for anything else use a real broker"
)

_PARENT_CHECK_S: Final = 0.25
_STOP_TIMEOUT_S: Final = 5.0


class _Address(msgspec.Struct):
    bootstrap_servers: str


class _Reply(msgspec.Struct):
    error: str | None = None


class _CreateTopic(msgspec.Struct, tag=True):
    name: str
    partitions: int


class _SetRoundTrip(msgspec.Struct, tag=True):
    milliseconds: int


class _FailRequests(msgspec.Struct, tag=True):
    request: int
    errors: list[int]


class _TakeDown(msgspec.Struct, tag=True):
    pass


class _BringUp(msgspec.Struct, tag=True):
    pass


_Command = _CreateTopic | _SetRoundTrip | _FailRequests | _TakeDown | _BringUp
_decode_command: Final = msgspec.json.Decoder(_Command).decode
_AnswerT = TypeVar("_AnswerT", _Address, _Reply)


class EmbeddedBroker:
    """A broker for demos and tests, as a child process in a session of its own, so that Ctrl-C reaches only its parent.

    Args:
        topics: Name to number of partitions; any other topic comes to be with 4 partitions when it is first used.
        timeout_s: For its start, and for the answer to each command.

    Raises:
        RefusedStart: From :meth:`start`: it did not come up in time. What it had to say is on standard error.

    Example::

        with EmbeddedBroker({"clickstream": 4}) as broker:
            producer = Producer({"bootstrap.servers": broker.bootstrap_servers})
    """

    def __init__(self, topics: Mapping[str, int] | None = None, timeout_s: float = 20.0) -> None:
        self._topics = dict(topics or {})
        self._timeout_s = timeout_s
        self._process: subprocess.Popen[bytes] | None = None
        self._address = ""

    @property
    def bootstrap_servers(self) -> str:
        """The address, ``127.0.0.1:port``, of this start."""
        return self._address

    @property
    def pid(self) -> int:
        """Process id of the child."""
        return self._running().pid

    def start(self) -> None:
        """Starts the process, waits until it listens, and creates the topics."""
        self._process = subprocess.Popen(
            [sys.executable, "-m", "streams.ops.broker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            bufsize=0,
            cwd=Path(streams.__path__[0]).parent,
            start_new_session=True,
        )
        try:
            self._address = self._read(_Address).bootstrap_servers
            for name, partitions in self._topics.items():
                self.create_topic(name, partitions)
        except BaseException:
            self.stop()
            raise

    def create_topic(self, name: str, partitions: int) -> None:
        """Creates a topic.

        Raises:
            ConfigurationError: It exists, or the broker takes no such name or number.
        """
        self._command(_CreateTopic(name, partitions))

    def set_round_trip(self, milliseconds: int) -> None:
        """Delays every response from now on."""
        self._command(_SetRoundTrip(milliseconds))

    def fail_requests(self, request: int, errors: Sequence[int]) -> None:
        """Answers the next requests of one kind with error codes, one each.

        Args:
            request: Kind, see :class:`streams.ops.embedded.Request`.
            errors: Codes of ``confluent_kafka.KafkaError``; ``_TRANSPORT`` closes the connection instead.
        """
        self._command(_FailRequests(request, list(errors)))

    def take_down(self) -> None:
        """Closes all connections and accepts none; what is stored stays."""
        self._command(_TakeDown())

    def bring_up(self) -> None:
        """Accepts connections again, at the same address."""
        self._command(_BringUp())

    def stop(self) -> None:
        """Ends the process; all that it holds is gone. Stopping twice is fine."""
        if self._process is None:
            return
        process, self._process = self._process, None
        try:
            process.terminate()
            process.wait(_STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        finally:
            for pipe in (process.stdin, process.stdout):
                if pipe is not None:
                    pipe.close()

    def __enter__(self) -> "EmbeddedBroker":
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _running(self) -> "subprocess.Popen[bytes]":
        if self._process is None:
            raise RefusedStart("the embedded broker is not started")
        return self._process

    def _command(self, command: _Command) -> None:
        pipe = _pipe(self._running().stdin)
        try:
            pipe.write(msgspec.json.encode(command) + b"\n")
        except BrokenPipeError as error:
            raise RefusedStart("the embedded broker has ended") from error
        reply = self._read(_Reply)
        if reply.error is not None:
            raise ConfigurationError(reply.error)

    def _read(self, kind: type[_AnswerT]) -> _AnswerT:
        pipe = _pipe(self._running().stdout)
        ready, _, _ = select.select([pipe], [], [], self._timeout_s)
        line = pipe.readline() if ready else b""
        if not line:
            state = "has ended" if ready else f"did not answer within {self._timeout_s:g} s"
            raise RefusedStart(f"the embedded broker {state}")
        return msgspec.json.decode(line, type=kind)


@contextmanager
def serving(topics: Mapping[str, int], ready_file: Path | None = None) -> Iterator[MockCluster]:
    """Runs the broker in this process.

    Args:
        topics: Name to number of partitions.
        ready_file: Gets the address once all topics are there, whole or not at all; removed at the end.
    """
    with MockCluster() as cluster:
        for name, partitions in topics.items():
            cluster.create_topic(name, partitions)
        try:
            if ready_file is not None:
                _write_whole(ready_file, f"{cluster.bootstrap_servers}\n")
            yield cluster
        finally:
            if ready_file is not None:
                ready_file.unlink(missing_ok=True)


def end_on_sigterm(status: int = 0) -> None:
    """Makes SIGTERM leave by way of the ``with`` blocks."""

    def end(signum: int, frame: FrameType | None) -> NoReturn:
        raise SystemExit(status)

    signal.signal(signal.SIGTERM, end)


def main() -> None:
    """Serves the process that started this one, see :class:`EmbeddedBroker`."""
    end_on_sigterm()
    parent = os.getppid()
    with serving({}) as cluster:
        _print_line(_Address(cluster.bootstrap_servers))
        for line in _lines_of_parent(parent):
            _print_line(_obey(cluster, line))


def _lines_of_parent(parent: int) -> Iterator[bytes]:
    """Yields lines of standard input until it ends or the parent is gone.

    Each covers for the other: a fork of the parent may hold the pipe open, and a parent may die before its id is asked
    for. (Linux's parent-death signal is no third: it comes when the thread ends that started the child.)
    """
    pending = b""
    while os.getppid() == parent:
        if not select.select([sys.stdin.fileno()], [], [], _PARENT_CHECK_S)[0]:
            continue
        chunk = os.read(sys.stdin.fileno(), 65536)
        if not chunk:
            return
        *lines, pending = (pending + chunk).split(b"\n")
        yield from lines


def _obey(cluster: MockCluster, line: bytes) -> _Reply:
    try:
        command: _Command = _decode_command(line)
        match command:
            case _CreateTopic():
                cluster.create_topic(command.name, command.partitions)
            case _SetRoundTrip():
                cluster.set_round_trip(command.milliseconds)
            case _FailRequests():
                cluster.fail_requests(command.request, command.errors)
            case _TakeDown():
                cluster.take_down()
            case _BringUp():
                cluster.bring_up()
            case _:
                assert_never(command)
    except (HeadraceError, msgspec.DecodeError) as error:
        return _Reply(str(error))
    return _Reply()


def _print_line(answer: Any) -> None:
    sys.stdout.buffer.write(msgspec.json.encode(answer) + b"\n")
    sys.stdout.buffer.flush()


def _pipe(pipe: IO[bytes] | None) -> IO[bytes]:
    if pipe is None:
        raise RefusedStart("the embedded broker was started without pipes")
    return pipe


def _write_whole(path: Path, text: str) -> None:
    partial = path.with_name(f"{path.name}.partial")
    try:
        partial.write_text(text, "utf-8")
        partial.replace(path)
    except OSError as error:
        raise ConfigurationError(f"the ready file cannot be written: {error}") from error


if __name__ == "__main__":
    main()
