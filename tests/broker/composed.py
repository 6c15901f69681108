"""Services of docker-compose.yml as processes of this machine: hosts, ports and directories are replaced, no more."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Final

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from streams.brokers.apache_kafka import KafkaNode, free_ports
from streams.brokers.kafka_jars import kafka_jars
from streams.brokers.process_group import ProcessGroup
from streams.engine.exit_codes import FENCED, STALLED
from tests.timeouts import HANG_S, wait_until

ROOT: Final = Path(__file__).parents[2]
BROKER: Final = "kafka"
LOOPBACK: Final = "127.0.0.1"
_ANSWER_S: Final = 2.0
_DOCKERFILE: Final = (ROOT / "deploy/Dockerfile").read_text("utf-8")


def properties_of(environment: Mapping[str, Any]) -> dict[str, str]:
    """Makes ``server.properties`` from the environment of a container as the image ``apache/kafka`` does.

    >>> properties_of({"CLUSTER_ID": "x", "KAFKA_LOG_DIRS": "/data", "KAFKA_A__B___C": 1})
    {'log.dirs': '/data', 'a_b-c': '1'}
    """
    return {
        name.removeprefix("KAFKA_").lower().replace("_", ".").replace("...", "-").replace("..", "_"): str(value)
        for name, value in environment.items()
        if name.startswith("KAFKA_")
    }


def _of_image(instruction: str) -> list[str]:
    """Reads the words of an instruction of the image."""
    [words] = re.findall(rf"^{instruction}\b[^\[\n]*(\[.*\])$", _DOCKERFILE, re.MULTILINE)
    parsed: list[str] = json.loads(words)
    return parsed


class Container:
    """One process of a service of Headrace, with its data directory and its output."""

    def __init__(self, folder: Path, command: Sequence[str], environment: Mapping[str, str]) -> None:
        self.folder = folder
        self._command = command
        self._environment = {**environment, "HEADRACE_ENGINE__DATA_DIR": str(folder / "data")}
        folder.mkdir()
        self.process = self.start()

    def start(self) -> "subprocess.Popen[bytes]":
        with (self.folder / "output").open("ab") as output, (self.folder / "errors").open("ab") as errors:
            return subprocess.Popen(self._command, cwd=ROOT, env=self._environment, stdout=output, stderr=errors)

    def said(self) -> str:
        return (self.folder / "output").read_text("utf-8") + (self.folder / "errors").read_text("utf-8")

    def check_runs(self) -> None:
        """Fails where it has ended; a worker that was too slow on a busy machine is started again, as Docker would."""
        if self.process.poll() in (STALLED, FENCED):
            self.process = self.start()
        assert self.process.poll() is None, self.said()

    def is_healthy(self) -> bool:
        """Asks as the image's health check does."""
        self.check_runs()
        command = [*_program(_of_image("HEALTHCHECK"))]
        return (
            subprocess.run(command, cwd=ROOT, env=self._environment, capture_output=True, check=False).returncode == 0
        )

    def kill(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()


class Composition:
    """The services, started by the names that the file gives them; a second one is a replica of it.

    Args:
        compose: The parsed file.
        folder: For the directories of all containers.

    Attributes:
        published: Address of the broker outside of the composition.
        properties: The broker's, as it has them.
    """

    def __init__(self, compose: Mapping[str, Any], folder: Path) -> None:
        self._services = compose["services"]
        self._folder = folder
        self._stack = ExitStack()
        broker = self._services[BROKER]["environment"]
        inside = [int(port) for port in re.findall(r":(\d+)", broker["KAFKA_LISTENERS"])]
        self._ports = dict(zip(inside, free_ports(len(inside)), strict=True))
        [ports] = self._services[BROKER]["ports"]
        _, outside, container = ports.split(":")
        assert outside == container
        self.published = self._address(f"localhost:{container}")
        self.properties = {name: self._address(value) for name, value in properties_of(broker).items()}
        self.properties["log.dirs"] = str(folder / "kafka-data")

    def start_broker(self) -> None:
        """Starts the broker, and waits until it is healthy."""
        jars = kafka_jars(os.environ)
        group = self._stack.enter_context(ProcessGroup("headrace-composed-"))
        cluster = self._services[BROKER]["environment"]["CLUSTER_ID"]
        node = KafkaNode(group, jars, group.directory / BROKER, cluster, self.properties)
        process = node.start()
        *question, servers = self._services[BROKER]["healthcheck"]["test"]
        assert question == ["CMD", "/opt/kafka/bin/kafka-broker-api-versions.sh", "--bootstrap-server"]
        client = AdminClient({"bootstrap.servers": self._address(servers), "log_level": 0})

        def is_healthy() -> bool:
            assert process.exit_code is None, node.end_of_output()
            try:
                return bool(client.list_topics(timeout=_ANSWER_S).brokers)
            except KafkaException:
                return False

        wait_until(is_healthy, node.end_of_output)

    def start(self, service: str, command: Sequence[str] | None = None) -> Container:
        """Starts a container of a service, with its own command or another one."""
        declared = self._services[service]
        words = [*_of_image("ENTRYPOINT"), *(command or declared["command"])]
        outside = {name: value for name, value in os.environ.items() if not name.startswith(("HEADRACE_", "KAFKA_"))}
        environment = {name: self._address(str(value)) for name, value in declared["environment"].items()}
        folder = self._folder / f"{service}-{len(list(self._folder.iterdir()))}"
        container = Container(folder, _program(words), {**outside, **environment})
        self._stack.callback(container.kill)
        return container

    def run(self, service: str) -> None:
        """Runs a service to its end, which has to be in order."""
        container = self.start(service)
        assert container.process.wait(HANG_S) == 0, container.said()

    def close(self) -> None:
        self._stack.close()

    def _address(self, text: str) -> str:
        """Replaces hosts and ports of the broker; others stay, and lead nowhere."""

        def local(match: "re.Match[str]") -> str:
            port = int(match[1])
            return f"{LOOPBACK}:{self._ports.get(port, port)}"

        return re.sub(rf"(?<![\w.-])(?:{BROKER}|localhost)?:(\d+)\b", local, text)


def _program(words: Sequence[str]) -> list[str]:
    """Replaces the program and the files of the image by those of the project."""
    copied = dict(re.findall(r"^COPY (deploy/\S+) (\S+)$", _DOCKERFILE, re.MULTILINE))
    here = {target: str(ROOT / source) for source, target in copied.items()}
    program, *arguments = words
    assert program == "headrace"
    return [sys.executable, "-m", "streams.cli.main", *(here.get(word, word) for word in arguments)]
