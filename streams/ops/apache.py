"""Apache Kafka on this machine: one node or three, in a temporary folder, on free ports of the loopback interface."""

import os
import signal
import socket
import subprocess
import tempfile
import time
import uuid
from base64 import urlsafe_b64encode
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Final

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from streams.contract.errors import RefusedStart
from streams.ops.clients import QUIET
from streams.ops.kafka_jars import kafka_jars
from streams.ops.keeper import Keeper

_START_TIMEOUT_S: Final = 60.0
_STOP_TIMEOUT_S: Final = 30.0
_POLL_S: Final = 0.2
_FORMAT_TIMEOUT_S: Final = 60.0
_JAVA: Final = ("java", "-Xms128m", "-Xmx512m", "-XX:+UseSerialGC", "-XX:-UsePerfData")

# What a cluster waits for in case more comes: here nothing more comes. And what it makes many of: here few are enough.
_SMALL_AND_QUICK: Final = {
    "auto.create.topics.enable": "false",
    "group.initial.rebalance.delay.ms": "200",
    "group.min.session.timeout.ms": "1000",
    "offsets.topic.num.partitions": "4",
    "transaction.state.log.num.partitions": "4",
    "transaction.abort.timed.out.transaction.cleanup.interval.ms": "500",
    "log.cleaner.dedupe.buffer.size": "8388608",
    "log.cleaner.backoff.ms": "500",
    "num.network.threads": "2",
    "num.io.threads": "4",
    "replica.lag.time.max.ms": "5000",
    "controlled.shutdown.enable": "true",
}


class ApacheKafka:
    """A cluster in KRaft mode whose nodes are broker and controller at once.

    Everything it starts ends with this process, even where this process is killed; its folder goes, too.

    Args:
        nodes: 1, or 3 to have replicas and leaders that change.
        overrides: Of the brokers' configuration.

    Raises:
        RefusedStart: From :meth:`start`: there is no Java or Maven, or it did not come up in time.

    Example::

        with ApacheKafka() as kafka:
            producer = Producer({"bootstrap.servers": kafka.bootstrap_servers})
    """

    def __init__(self, nodes: int = 1, overrides: Mapping[str, str] | None = None) -> None:
        self._ids = range(1, nodes + 1)
        self._overrides = dict(overrides or {})
        self._pids: dict[int, int] = {}
        self._ports: dict[int, tuple[int, int]] = {}
        self._stack = ExitStack()
        self._keeper: Keeper
        self._folder: Path
        self._jars: Path

    @property
    def bootstrap_servers(self) -> str:
        """The addresses of all nodes."""
        return ",".join(f"127.0.0.1:{broker}" for broker, _ in self._ports.values())

    @property
    def nodes(self) -> list[int]:
        """The ids of the nodes, running or not."""
        return list(self._ids)

    def pid(self, node: int = 1) -> int:
        """Process id of a running node."""
        return self._pids[node]

    def start(self) -> None:
        """Starts all nodes and waits until each answers."""
        self._jars = kafka_jars(os.environ)
        self._folder = Path(tempfile.mkdtemp(prefix="headrace-kafka-"))
        self._keeper = self._stack.enter_context(Keeper(self._folder))
        try:
            free = _free_ports(2 * len(self._ids))
            self._ports = {node: (free[2 * node - 2], free[2 * node - 1]) for node in self._ids}
            cluster = urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")
            for node in self._ids:
                self._format(node, cluster)
                self._start_process(node)
            self._wait_until_up()
        except BaseException:
            self.stop()
            raise

    def kill(self, node: int = 1) -> None:
        """Ends a node by SIGKILL, as a power cut would."""
        self._end(node, signal.SIGKILL)

    def shut_down(self, node: int = 1) -> None:
        """Ends a node in peace; what it led moves to others first."""
        self._end(node, signal.SIGTERM)

    def restart(self, node: int = 1) -> None:
        """Starts a node that was ended, on its data and at its address, and waits until the cluster is whole."""
        self._start_process(node)
        self._wait_until_up()

    def stop(self) -> None:
        """Ends everything and removes the folder. Stopping twice is fine."""
        self._stack.close()

    def __enter__(self) -> "ApacheKafka":
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _format(self, node: int, cluster: str) -> None:
        (self._folder / str(node)).mkdir()
        lines = [f"{name}={value}" for name, value in self._configuration(node).items()]
        self._properties(node).write_text("\n".join(lines) + "\n", "utf-8")
        # In one word: an id may begin with a hyphen, which as a word of its own would be an option.
        tool = ["kafka.tools.StorageTool", "format", f"--cluster-id={cluster}", "-c", str(self._properties(node))]
        done = subprocess.run(self._java(*tool), capture_output=True, timeout=_FORMAT_TIMEOUT_S, check=False)
        if done.returncode != 0:
            raise RefusedStart(f"Kafka's storage was not formatted: {done.stderr.decode(errors='replace')[-500:]}")

    def _configuration(self, node: int) -> dict[str, str]:
        broker, controller = self._ports[node]
        copies = str(len(self._ids))
        in_sync = str(len(self._ids) // 2 + 1)
        return {
            "process.roles": "broker,controller",
            "node.id": str(node),
            "controller.quorum.voters": ",".join(f"{each}@127.0.0.1:{port}" for each, (_, port) in self._ports.items()),
            "listeners": f"PLAINTEXT://127.0.0.1:{broker},CONTROLLER://127.0.0.1:{controller}",
            "advertised.listeners": f"PLAINTEXT://127.0.0.1:{broker}",
            "controller.listener.names": "CONTROLLER",
            "log.dirs": str(self._folder / str(node) / "log"),
            "default.replication.factor": copies,
            "min.insync.replicas": in_sync,
            "offsets.topic.replication.factor": copies,
            "transaction.state.log.replication.factor": copies,
            "transaction.state.log.min.isr": in_sync,
            **_SMALL_AND_QUICK,
            **self._overrides,
        }

    def _properties(self, node: int) -> Path:
        return self._folder / str(node) / "server.properties"

    def _java(self, *arguments: str) -> list[str]:
        return [*_JAVA, "-cp", str(self._jars / "*"), *arguments]

    def _start_process(self, node: int) -> None:
        log = self._folder / str(node) / "output"
        self._pids[node] = self._keeper.start(self._java("kafka.Kafka", str(self._properties(node))), log)

    def _end(self, node: int, number: int) -> None:
        pid = self._pids.pop(node)
        self._keeper.signal(pid, number)
        if self._keeper.wait(pid, _STOP_TIMEOUT_S) is None:
            self._keeper.signal(pid, signal.SIGKILL)
            self._keeper.wait(pid, _STOP_TIMEOUT_S)

    def _wait_until_up(self) -> None:
        deadline_s = time.monotonic() + _START_TIMEOUT_S
        for node in self._pids:
            client = AdminClient({"bootstrap.servers": f"127.0.0.1:{self._ports[node][0]}", **QUIET})
            while not self._is_up(client):
                if (code := self._keeper.wait(self._pids[node], 0.0)) is not None:
                    raise RefusedStart(f"Kafka's node {node} ended with exit code {code}: {self._said(node)}")
                if time.monotonic() > deadline_s:
                    raise RefusedStart(f"Kafka's node {node} did not come up: {self._said(node)}")
                time.sleep(_POLL_S)

    def _is_up(self, client: AdminClient) -> bool:
        try:
            return len(client.list_topics(timeout=2.0).brokers) == len(self._pids)
        except KafkaException:
            return False

    def _said(self, node: int) -> str:
        return (self._folder / str(node) / "output").read_text("utf-8", "replace")[-1000:]


def _free_ports(number: int) -> list[int]:
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(number)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]
