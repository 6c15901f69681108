"""Headrace's topics on a real broker, made anew, so that one broker serves many tests."""

import time
from collections.abc import Iterable, Mapping, Sequence

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient
from confluent_kafka.admin._config import AlterConfigOpType, ConfigEntry, ConfigResource
from confluent_kafka.admin._resource import ResourceType
from confluent_kafka.cimpl import NewTopic

from streams.admin.topics import wait_until_led
from streams.contract.settings import Engine, Kafka
from streams.contract.topic_config import topic_config
from streams.contract.topics import Topic
from tests.timeouts import HANG_S, Deadline, wait_until


def make_topics_anew(
    servers: str,
    topics: Sequence[Topic],
    replication: int = 1,
    config: Mapping[str, str] | None = None,
    *,
    forgets_groups: bool = True,
) -> None:
    """Deletes the topics and all that consumer groups know of them, and creates them empty.

    Args:
        forgets_groups: Otherwise groups know what the broker leaves them after a topic is gone.
        config: For the compacted ones, above what they have anyway.
    """
    client = AdminClient({"bootstrap.servers": servers, "log_level": 2})
    delete_topics(client, {topic.name for topic in topics})
    groups = [group.group_id for group in client.list_consumer_groups().result().valid] if forgets_groups else []
    for future in client.delete_consumer_groups(groups).values() if groups else ():
        try:
            future.result()
        except KafkaException:
            continue  # A member of another test is not gone yet; nobody else commits in its group's name.
    kafka = Kafka(bootstrap_servers=servers, replication_factor=replication)
    requested = [
        NewTopic(
            topic.name,
            topic.partitions,
            replication,
            config={**topic_config(topic, kafka, Engine()), **((config or {}) if topic.cleanup == "compact" else {})},
        )
        for topic in topics
    ]
    for future in client.create_topics(requested).values():
        future.result()
    wait_until_led(kafka, topics)


def set_configs(client: AdminClient, kind: ResourceType, names: Iterable[str], values: Mapping[str, str]) -> None:
    """Sets properties of topics or brokers, and waits until they have them."""
    entries = [ConfigEntry(name, value, incremental_operation=AlterConfigOpType.SET) for name, value in values.items()]
    changed = [ConfigResource(kind, name, incremental_configs=entries) for name in names]
    for future in client.incremental_alter_configs(changed).values():
        future.result()

    # The controller has written it down; each node follows when it has read that.
    def are_set() -> bool:
        asked = [ConfigResource(kind, each.name) for each in changed]
        described = [future.result() for future in client.describe_configs(asked).values()]
        return all(known[name].value == value for known in described for name, value in values.items())

    wait_until(are_set)


def delete_topics(client: AdminClient, names: set[str]) -> None:
    """Deletes the topics that are there, and waits until they are gone."""
    deadline = Deadline()
    while there := names & set(client.list_topics(timeout=HANG_S).topics):
        deadline.check()
        for future in client.delete_topics(sorted(there)).values():
            try:
                future.result()
            except KafkaException:
                continue  # It was deleted already, and the metadata has not caught up.
        time.sleep(0.1)
