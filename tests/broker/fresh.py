"""Headrace's topics on a real broker, made anew, so that one broker serves many tests."""

import time
from collections.abc import Mapping, Sequence

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

from streams.admin.topics import wait_until_led
from streams.contract.settings import Engine, Kafka
from streams.contract.topic_config import topic_config
from streams.contract.topics import Topic
from tests.timeouts import HANG_S, Deadline


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
    kafka = Kafka(replication_factor=replication)
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
    wait_until_led(client, topics)


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
