"""Apache Kafka on this machine: one or three nodes, on free ports of 127.0.0.1, with data in a temporary directory."""

import os
import socket
import time
import uuid
from base64 import urlsafe_b64encode
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Final

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from streams.brokers.kafka_jars import kafka_jars
from streams.brokers.process_group import ProcessGroup, SupervisedProcess
from streams.contract.connection import client_configuration
from streams.contract.errors import RefusedStart
from streams.contract.settings import Kafka

_START_TIMEOUT_S: Final = 300.0
_POLL_S: Final = 0.2
_FORMAT_TIMEOUT_S: Final = 300.0
_JAVA: Final = ("java", "-Xms128m", "-Xmx512m", "-XX:+UseSerialGC", "-XX:-UsePerfData")

# Short delays and small pools, which suit a cluster of one machine.
_SMALL_AND_QUICK: Final = {
    "auto.create.topics.enable": "false",
    "group.initial.rebalance.delay.ms": "200",
    "group.min.session.timeout.ms": "1000",
    "offsets.topic.num.partitions": "4",
    "transaction.state.log.num.partitions": "4",
    "transaction.abort.timed.out.transaction.cleanup.interval.ms": "500",
    "log.cleaner.dedupe.buffer.size": "8388608",
    "log.cleaner.backoff.ms": "500",
    "log.initial.task.delay.ms": "1000",
    "log.retention.check.interval.ms": "1000",
    "num.network.threads": "2",
    "num.io.threads": "4",
    "replica.lag.time.max.ms": "5000",
    "controlled.shutdown.enable": "true",
}


class KafkaNode:
    """One process of Kafka, its properties and its storage.

    Args:
        folder: Made for it; its properties and its output are there.
        cluster: Id of the cluster.
        properties: All of ``server.properties``.

    Raises:
        RefusedStart: The storage was not formatted.
    """

    def __init__(
        self, group: ProcessGroup, jars: Path, folder: Path, cluster: str, properties: Mapping[str, str]
    ) -> None:
        self._group = group
        self._jars = jars
        self._properties = folder / "server.properties"
        self._output = folder / "output"
        folder.mkdir()
        self._properties.write_text("".join(f"{name}={value}\n" for name, value in properties.items()), "utf-8")
        # One argument with "=": a cluster id may begin with a hyphen, and would be read as an option.
        tool = ["kafka.tools.StorageTool", "format", f"--cluster-id={cluster}", "-c", str(self._properties)]
        if group.start(self._java(*tool), log=self._output).wait(_FORMAT_TIMEOUT_S) != 0:
            raise RefusedStart(f"Kafka's storage was not formatted: {self.end_of_output()}")

    def start(self) -> SupervisedProcess:
        """Starts the process, with what the storage holds."""
        return self._group.start(self._java("kafka.Kafka", str(self._properties)), log=self._output)

    def end_of_output(self) -> str:
        """Returns the last lines that it wrote."""
        return self._output.read_text("utf-8", "replace")[-1000:]

    def _java(self, *arguments: str) -> list[str]:
        return [*_JAVA, "-cp", str(self._jars / "*"), *arguments]


class ApacheKafka:
    """Cluster in KRaft mode; each node is both broker and controller.

    All its processes and data end with this process, even if this process is killed.

    Args:
        nodes: 1, or 3 for replicas and leader changes.
        port: Where the first node listens; ``None`` for a free port, as the others have.

    Raises:
        RefusedStart: From :meth:`start`: Java or Maven is missing, the port is taken, or a node did not answer in time.

    Example::

        with ApacheKafka() as kafka:
            producer = Producer({"bootstrap.servers": kafka.bootstrap_servers})
    """

    def __init__(self, nodes: int = 1, port: int | None = None) -> None:
        self._ids = range(1, nodes + 1)
        self._port = port
        self._nodes: dict[int, KafkaNode] = {}
        self._processes: dict[int, SupervisedProcess] = {}
        self._ports: dict[int, tuple[int, int]] = {}
        self._stack = ExitStack()

    @property
    def bootstrap_servers(self) -> str:
        return ",".join(f"127.0.0.1:{broker}" for broker, _ in self._ports.values())

    @property
    def nodes(self) -> list[int]:
        """Ids of the nodes, running or not."""
        return list(self._ids)

    def start(self) -> None:
        """Starts all nodes and waits until each answers."""
        free = free_ports(2 * len(self._ids), self._port)
        jars = kafka_jars(os.environ)
        group = self._stack.enter_context(ProcessGroup("headrace-kafka-"))
        try:
            self._ports = {node: (free[2 * node - 2], free[2 * node - 1]) for node in self._ids}
            cluster = urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")
            for node in self._ids:
                folder = group.directory / str(node)
                self._nodes[node] = KafkaNode(group, jars, folder, cluster, self._configuration(node, folder / "log"))
                self._processes[node] = self._nodes[node].start()
            self._wait_until_up()
        except BaseException:
            self.stop()
            raise

    def kill(self, node: int = 1) -> None:
        """Ends a node by SIGKILL, as a power cut would."""
        self._processes.pop(node).kill()

    def restart(self, node: int = 1) -> None:
        """Starts a killed node with its data and address, and waits until all nodes know each other."""
        self._processes[node] = self._nodes[node].start()
        self._wait_until_up()

    def stop(self) -> None:
        """Kills all nodes and deletes their data; a second call does nothing."""
        self._stack.close()

    def __enter__(self) -> "ApacheKafka":
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _configuration(self, node: int, log: Path) -> dict[str, str]:
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
            "log.dirs": str(log),
            "default.replication.factor": copies,
            "min.insync.replicas": in_sync,
            "offsets.topic.replication.factor": copies,
            "transaction.state.log.replication.factor": copies,
            "transaction.state.log.min.isr": in_sync,
            **_SMALL_AND_QUICK,
        }

    def _wait_until_up(self) -> None:
        deadline_s = time.monotonic() + _START_TIMEOUT_S
        for node, process in self._processes.items():
            client = AdminClient(client_configuration(Kafka(bootstrap_servers=f"127.0.0.1:{self._ports[node][0]}")))
            while not self._is_up(client):
                if (code := process.exit_code) is not None:
                    said = self._nodes[node].end_of_output()
                    raise RefusedStart(f"Kafka's node {node} ended with exit code {code}: {said}")
                if time.monotonic() > deadline_s:
                    raise RefusedStart(f"Kafka's node {node} did not come up: {self._nodes[node].end_of_output()}")
                time.sleep(_POLL_S)

    def _is_up(self, client: AdminClient) -> bool:
        try:
            return len(client.list_topics(timeout=2.0).brokers) == len(self._processes)
        except KafkaException:
            return False


def free_ports(number: int, first: int | None = None) -> list[int]:
    """Finds free ports; ``first`` is the first of them, if it is given."""
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(number)]
        if first is not None:
            # As the broker does: what is left of the connections of one that has ended does not count.
            sockets[0].setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        for each, port in zip(sockets, [first or 0, *[0] * (number - 1)], strict=True):
            try:
                each.bind(("127.0.0.1", port))
            except OSError as error:
                raise RefusedStart(
                    f"Kafka cannot listen on 127.0.0.1:{port}: {error}; choose another --port"
                ) from error
        return [each.getsockname()[1] for each in sockets]
