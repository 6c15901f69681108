"""The real broker starts, is what it should be, and leaves nothing behind."""

import uuid
from pathlib import Path

import pytest
from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient
from confluent_kafka.admin._config import ConfigResource

from streams.brokers.apache_kafka import ApacheKafka
from streams.brokers.kafka_jars import kafka_jars
from streams.contract.errors import RefusedStart
from streams.contract.settings import Kafka, Settings
from streams.contract.topics import USERS_CHANGELOG
from tests.broker.fresh import make_topics_anew
from tests.timeouts import HANG_S


@pytest.mark.kafka
def test_topics_are_made_with_their_partitions_and_are_compacted_where_they_should_be(kafka: str) -> None:
    settings = Settings(kafka=Kafka(bootstrap_servers=kafka))
    make_topics_anew(kafka, settings.topics)
    client = AdminClient({"bootstrap.servers": kafka})
    found = client.list_topics().topics
    assert {topic.name: topic.partitions for topic in settings.topics} == {
        topic.name: len(found[topic.name].partitions) for topic in settings.topics
    }
    [future] = client.describe_configs([ConfigResource(ConfigResource.Type.TOPIC, USERS_CHANGELOG)]).values()
    assert future.result()["cleanup.policy"].value == "compact"


@pytest.mark.kafka
def test_a_cluster_whose_id_begins_with_a_hyphen_starts(kafka: str, monkeypatch: pytest.MonkeyPatch) -> None:
    hyphens = uuid.UUID(bytes=b"\xfb" * 16)
    monkeypatch.setattr(uuid, "uuid4", lambda: hyphens)
    with ApacheKafka() as cluster:
        found = AdminClient({"bootstrap.servers": cluster.bootstrap_servers}).list_topics(timeout=HANG_S)
    assert str(found.cluster_id).startswith("-")


@pytest.mark.kafka
def test_topics_that_are_made_anew_are_empty(kafka: str) -> None:
    settings = Settings(kafka=Kafka(bootstrap_servers=kafka))
    make_topics_anew(kafka, settings.topics)
    producer = Producer({"bootstrap.servers": kafka})
    producer.produce(USERS_CHANGELOG, b"row", b"key", 0)
    assert producer.flush(HANG_S) == 0
    make_topics_anew(kafka, settings.topics)
    producer.produce(USERS_CHANGELOG, b"row", b"key", 0, on_delivery=lambda error, message: offsets.append(message))
    offsets: list[object] = []
    assert producer.flush(HANG_S) == 0
    [message] = offsets
    assert message.offset() == 0  # type: ignore[attr-defined]


def test_without_java_or_maven_it_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(RefusedStart, match="openjdk-17-jre"):
        kafka_jars({"XDG_CACHE_HOME": str(tmp_path)})
    java = tmp_path / "java"
    java.touch(mode=0o755)
    with pytest.raises(RefusedStart, match="on Debian: maven"):
        kafka_jars({"XDG_CACHE_HOME": str(tmp_path)})
