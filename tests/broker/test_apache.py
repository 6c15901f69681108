"""The real broker starts, is what it should be, and leaves nothing behind."""

import os
import signal
import subprocess
import sys
import time
import uuid
from pathlib import Path

import pytest
from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient
from confluent_kafka.admin._config import ConfigResource

from streams.contract.errors import RefusedStart
from streams.contract.settings import Kafka, Settings
from streams.contract.topics import USERS_CHANGELOG
from streams.ops.apache import ApacheKafka
from streams.ops.kafka_jars import kafka_jars
from streams.ops.keeper import Keeper
from tests.broker.fresh import make_topics_anew

ROOT = Path(__file__).parents[2]

KEEP_AND_DIE = """
import os, signal, sys
from pathlib import Path
from streams.ops.keeper import Keeper
keeper = Keeper(Path(sys.argv[1]))
print(keeper.start(["sleep", "600"], Path(sys.argv[1]) / "log"), flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""


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
        found = AdminClient({"bootstrap.servers": cluster.bootstrap_servers}).list_topics(timeout=30.0)
    assert str(found.cluster_id).startswith("-")


@pytest.mark.kafka
def test_topics_that_are_made_anew_are_empty(kafka: str) -> None:
    settings = Settings(kafka=Kafka(bootstrap_servers=kafka))
    make_topics_anew(kafka, settings.topics)
    producer = Producer({"bootstrap.servers": kafka})
    producer.produce(USERS_CHANGELOG, b"row", b"key", 0)
    assert producer.flush(30.0) == 0
    make_topics_anew(kafka, settings.topics)
    producer.produce(USERS_CHANGELOG, b"row", b"key", 0, on_delivery=lambda error, message: offsets.append(message))
    offsets: list[object] = []
    assert producer.flush(30.0) == 0
    [message] = offsets
    assert message.offset() == 0  # type: ignore[attr-defined]


def is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_what_is_kept_ends_and_its_folder_goes_when_its_parent_is_killed(tmp_path: Path) -> None:
    folder = tmp_path / "kept"
    folder.mkdir()
    parent = subprocess.run(
        [sys.executable, "-c", KEEP_AND_DIE, str(folder)], cwd=ROOT, stdout=subprocess.PIPE, check=False
    )
    assert parent.returncode == -signal.SIGKILL
    deadline_s = time.monotonic() + 30.0
    while is_alive(int(parent.stdout)) or folder.exists():
        assert time.monotonic() < deadline_s
        time.sleep(0.02)


def test_a_kept_process_can_be_killed_and_another_started_in_its_place(tmp_path: Path) -> None:
    folder = tmp_path / "kept"
    folder.mkdir()
    with Keeper(folder) as keeper:
        pid = keeper.start(["sleep", "600"], folder / "log")
        assert keeper.wait(pid, 0.0) is None
        keeper.signal(pid, signal.SIGKILL)
        assert keeper.wait(pid, 30.0) == -signal.SIGKILL
        other = keeper.start([sys.executable, "-c", "print('hello')"], folder / "log")
        assert keeper.wait(other, 30.0) == 0
        assert (folder / "log").read_text() == "hello\n"
    assert not folder.exists()


def test_without_java_or_maven_it_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(RefusedStart, match="openjdk-17-jre"):
        kafka_jars({"XDG_CACHE_HOME": str(tmp_path)})
    java = tmp_path / "java"
    java.touch(mode=0o755)
    with pytest.raises(RefusedStart, match="on Debian: maven"):
        kafka_jars({"XDG_CACHE_HOME": str(tmp_path)})
