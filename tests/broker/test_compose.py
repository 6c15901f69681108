"""docker-compose.yml without Docker: Kafka with the properties that it spells, and its commands as processes."""

import re
from pathlib import Path

import orjson
import pytest
import yaml
from confluent_kafka.admin import AdminClient
from confluent_kafka.admin._config import ConfigResource

from tests.broker.composed import ROOT, Composition
from tests.timeouts import wait_until

pytestmark = pytest.mark.kafka

FILE = ROOT / "docker-compose.yml"


@pytest.mark.usefixtures("kafka")  # skips where there is no Java
def test_the_services_run_as_they_are_composed_and_recommendations_come(tmp_path: Path) -> None:
    text = FILE.read_text("utf-8")
    compose = yaml.safe_load(text)
    services = compose["services"]
    [(service, command)] = re.findall(r"^# +docker compose run --rm (\w+) (.+)$", text, re.MULTILINE)
    it = Composition(compose, tmp_path)
    try:
        it.start_broker()
        assert effective_properties(it, services["kafka"]["environment"]["KAFKA_NODE_ID"]) == it.properties
        it.run("topics")
        workers = [it.start("worker") for _ in range(services["worker"]["deploy"]["replicas"])]
        for worker in workers:
            wait_until(worker.is_healthy, worker.said)
        simulator, tail = it.start("simulator"), it.start(service, command.split())

        def recommends() -> bool:
            for container in (*workers, simulator, tail):
                container.check_runs()
            return any(orjson.loads(line)["items"] for line in whole_lines(tail.folder / "output"))

        wait_until(recommends, simulator.said)
    finally:
        it.close()


def effective_properties(it: Composition, node: int) -> dict[str, str | None]:
    """Asks the broker for the properties that the file spells. One that it does not know has no value."""
    client = AdminClient({"bootstrap.servers": it.published})
    [future] = client.describe_configs([ConfigResource(ConfigResource.Type.BROKER, str(node))]).values()
    found = future.result()
    return {name: found[name].value if name in found else None for name in it.properties}


def whole_lines(file: Path) -> list[bytes]:
    return file.read_bytes().split(b"\n")[:-1]
