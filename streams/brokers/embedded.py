"""Embedded broker in a child process, with commands that inject faults.

The broker's standard input is a socket to the parent. The broker first sends its address, then answers each command, in
lines of JSON.
"""

import select
import socket
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import IO, Any, Final, Literal

import msgspec

from streams.brokers.mock_cluster import MockCluster
from streams.brokers.process_group import ProcessGroup, SupervisedProcess, end_on_sigterm
from streams.contract.errors import ConfigurationError, HeadraceError, RefusedStart
from streams.contract.settings import Settings

_TIMEOUT_S: Final = 120.0
"""For the start, and for the answer to each command."""

NOTICE: Final = (
    "for demos and tests only: it keeps 5 MiB per partition, in memory, and loses everything when it ends; "
    "for anything else use a real broker"
)


class _Reply(msgspec.Struct):
    """The error of a command, if there was one. The first reply, to no command, has the broker's address instead."""

    error: str | None = None
    bootstrap_servers: str = ""


_Method = Literal["create_topic", "set_round_trip", "fail_requests", "answer_again", "take_down", "bring_up"]


class _Command(msgspec.Struct):
    """A call of a method of :class:`MockCluster`."""

    method: _Method
    arguments: Sequence[Any]


_decode_command: Final = msgspec.json.Decoder(_Command).decode
_decode_reply: Final = msgspec.json.Decoder(_Reply).decode


class EmbeddedBroker:
    """Broker for demos and tests in a supervised child process.

    Args:
        topics: Name to number of partitions; another topic is created with 4 partitions at its first use.
        log: File that the process's output is appended to; without one it has this process's.

    Raises:
        RefusedStart: From :meth:`start`: it did not start in time; standard error may say why.

    Example::

        with EmbeddedBroker({"clickstream": 4}) as broker:
            producer = Producer({"bootstrap.servers": broker.bootstrap_servers})
    """

    def __init__(self, topics: Mapping[str, int] | None = None, log: Path | None = None) -> None:
        self._topics = dict(topics or {})
        self._log = log
        self._address = ""
        self._stack = ExitStack()
        self._process: SupervisedProcess | None = None
        self._connection: socket.socket
        self._answers: IO[bytes]

    @property
    def bootstrap_servers(self) -> str:
        """Address ``127.0.0.1:port``; each start has another."""
        return self._address

    @property
    def pid(self) -> int:
        return self._started().pid

    def start(self) -> None:
        """Starts the process, waits until it listens, and creates the topics."""
        try:
            group = self._stack.enter_context(ProcessGroup("headrace-broker-"))
            self._connection, brokers_end = socket.socketpair()
            self._stack.enter_context(self._connection)
            self._answers = self._stack.enter_context(self._connection.makefile("rb"))
            with brokers_end:
                self._process = group.start_module("streams.brokers.embedded", log=self._log, stdin=brokers_end)
            self._stack.enter_context(self._process)
            self._address = self._reply().bootstrap_servers
            for name, partitions in self._topics.items():
                self.create_topic(name, partitions)
        except BaseException:
            self.stop()
            raise

    def create_topic(self, name: str, partitions: int) -> None:
        """Creates a topic.

        Raises:
            ConfigurationError: It exists, or its name or number of partitions is invalid.
        """
        self._command("create_topic", name, partitions)

    def set_round_trip(self, milliseconds: int) -> None:
        """Delays every response from now on."""
        self._command("set_round_trip", milliseconds)

    def fail_requests(self, request: int, errors: Sequence[int]) -> None:
        """Answers the next requests of one kind with error codes, one each.

        Args:
            request: Kind, see :class:`streams.brokers.mock_cluster.Request`.
            errors: Codes of ``confluent_kafka.KafkaError``; ``_TRANSPORT`` closes the connection instead.
        """
        self._command("fail_requests", request, list(errors))

    def answer_again(self, request: int) -> None:
        """Forgets the error codes of one kind of requests that were not used up."""
        self._command("answer_again", request)

    def take_down(self) -> None:
        """Closes all connections and accepts no new ones; stored records stay."""
        self._command("take_down")

    def bring_up(self) -> None:
        """Accepts connections again, at the same address."""
        self._command("bring_up")

    def stop(self) -> None:
        """Ends the process, and with it all records; a second call does nothing."""
        self._process = None
        self._stack.close()

    def __enter__(self) -> "EmbeddedBroker":
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _started(self) -> SupervisedProcess:
        if self._process is None:
            raise RefusedStart("the embedded broker is not started")
        return self._process

    def _command(self, method: _Method, *arguments: object) -> None:
        self._started()
        try:
            _send(self._connection, _Command(method, arguments))
        except ConnectionError as error:
            raise RefusedStart("the embedded broker has ended") from error
        reply = self._reply()
        if reply.error is not None:
            raise ConfigurationError(reply.error)

    def _reply(self) -> _Reply:
        ready, _, _ = select.select([self._connection], [], [], _TIMEOUT_S)
        try:
            line = self._answers.readline() if ready else b""
        except ConnectionError:
            line = b""
        if not line:
            state = "has ended" if ready else f"did not answer within {_TIMEOUT_S:g} s"
            raise RefusedStart(f"the embedded broker {state}")
        return _decode_reply(line)


@contextmanager
def embedded_broker(settings: Settings, log: Path | None = None) -> Iterator[Settings]:
    """Runs an embedded broker that has all topics, and yields the settings with its address."""
    with EmbeddedBroker({topic.name: topic.partitions for topic in settings.topics}, log) as broker:
        kafka = msgspec.structs.replace(settings.kafka, bootstrap_servers=broker.bootstrap_servers)
        yield msgspec.structs.replace(settings, kafka=kafka)


@contextmanager
def serving(topics: Mapping[str, int], ready_file: Path | None = None) -> Iterator[MockCluster]:
    """Runs the broker in this process.

    Args:
        topics: Name to number of partitions.
        ready_file: Written atomically with the address when all topics exist; removed at the end.
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


def main() -> None:
    """Serves the process that started this one, see :class:`EmbeddedBroker`."""
    end_on_sigterm()
    with serving({}) as cluster, socket.socket(fileno=sys.stdin.fileno()) as parent, parent.makefile("rb") as commands:
        _send(parent, _Reply(bootstrap_servers=cluster.bootstrap_servers))
        for line in commands:
            _send(parent, _obey(cluster, line))


def _obey(cluster: MockCluster, line: bytes) -> _Reply:
    try:
        command = _decode_command(line)
        getattr(cluster, command.method)(*command.arguments)
    except (HeadraceError, msgspec.DecodeError) as error:
        return _Reply(str(error))
    return _Reply()


def _send(connection: socket.socket, message: msgspec.Struct) -> None:
    connection.sendall(msgspec.json.encode(message) + b"\n")


def _write_whole(path: Path, text: str) -> None:
    partial = path.with_name(f"{path.name}.partial")
    try:
        partial.write_text(text, "utf-8")
        partial.replace(path)
    except OSError as error:
        raise ConfigurationError(f"the ready file cannot be written: {error}") from error


if __name__ == "__main__":
    main()
