"""Topics that somebody else made, on a real broker: what loses rows is refused with the command that mends it."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import pytest
from confluent_kafka.admin import AdminClient
from confluent_kafka.admin._config import ConfigResource
from confluent_kafka.cimpl import NewTopic

from streams.admin.topics import create_topics
from streams.contract.errors import RefusedStart
from streams.contract.settings import Kafka, Settings
from streams.contract.topics import CLICKSTREAM, USERS_CHANGELOG
from tests.broker.fresh import delete_topics, make_topics_anew, set_configs
from tests.system.cluster import Cluster
from tests.system.test_commands import headrace, is_one_line
from tests.timeouts import HANG_S, wait_until

pytestmark = pytest.mark.kafka

COMMAND: Final = re.compile(r"--entity-name (\S+) --add-config ([^\s\"]+)")


def set_properties(client: AdminClient, topic: str, properties: Mapping[str, str]) -> None:
    set_configs(client, ConfigResource.Type.TOPIC, [topic], properties)


def run_commands(client: AdminClient, text: str) -> list[str]:
    """Does what the commands in a message say, and returns their topics."""
    commands = COMMAND.findall(text)
    for topic, values in commands:
        set_properties(client, topic, dict(value.split("=") for value in values.split(",")))
    return [topic for topic, _ in commands]


def test_a_changelog_that_was_made_with_another_clean_up_is_refused_until_its_command_was_run(
    kafka: str, tmp_path: Path
) -> None:
    settings = Settings(kafka=Kafka(bootstrap_servers=kafka))
    client = AdminClient({"bootstrap.servers": kafka, "log_level": 2})
    delete_topics(client, {topic.name for topic in settings.topics})
    platform = {"cleanup.policy": "delete", "retention.ms": "86400000"}
    client.create_topics([NewTopic(USERS_CHANGELOG, settings.kafka.partitions, 1, config=platform)])[
        USERS_CHANGELOG
    ].result()
    said = headrace("--bootstrap-servers", kafka, "topics", "create", code=3)
    assert len(said.splitlines()) == 1
    assert f"{USERS_CHANGELOG}: cleanup.policy is delete, not compact" in said
    assert set(client.list_topics(timeout=HANG_S).topics) & {topic.name for topic in settings.topics} == {
        USERS_CHANGELOG
    }
    assert run_commands(client, said) == [USERS_CHANGELOG]
    creation = create_topics(settings)
    assert creation.existing == [USERS_CHANGELOG]
    assert {each.name for each in creation.differences} == {"segment.bytes", "min.cleanable.dirty.ratio"}

    # Somebody changes it later, under a worker that is off.
    set_properties(client, USERS_CHANGELOG, {"cleanup.policy": "compact,delete"})
    said = headrace("--bootstrap-servers", kafka, "worker", "--data", str(tmp_path / "disk"), code=3)
    assert is_one_line(said)
    assert run_commands(client, said) == [USERS_CHANGELOG]
    assert not any(each.loses for each in create_topics(settings).differences)


def test_records_that_would_not_fit_are_refused_and_other_differences_are_said(kafka: str, tmp_path: Path) -> None:
    settings = Settings(kafka=Kafka(bootstrap_servers=kafka))
    make_topics_anew(kafka, settings.topics)
    client = AdminClient({"bootstrap.servers": kafka, "log_level": 2})
    assert create_topics(settings).differences == []
    set_properties(client, CLICKSTREAM, {"message.timestamp.type": "CreateTime", "retention.ms": "3600000"})
    different = create_topics(settings).differences
    assert {(each.topic, each.name) for each in different} == {
        (CLICKSTREAM, "message.timestamp.type"),
        (CLICKSTREAM, "retention.ms"),
    }
    set_properties(client, USERS_CHANGELOG, {"max.message.bytes": "100000"})
    with pytest.raises(RefusedStart, match=f"{USERS_CHANGELOG}: max.message.bytes is 100000, less than") as refusal:
        create_topics(settings)
    assert run_commands(client, str(refusal.value)) == [USERS_CHANGELOG]
    assert create_topics(settings).differences == different
    it = Cluster(kafka, tmp_path, {})
    try:
        worker = it.start("disk")
        wait_until(lambda: worker.code is not None or "incident=worker-starts" in worker.said(), worker.said)
        assert "incident=topics-differ" in worker.said()
        assert f"incident=unprotected-time topics={CLICKSTREAM}" in worker.said()
    finally:
        it.close()
