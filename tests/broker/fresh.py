"""Headrace's topics on a real broker, made anew, so that one broker serves many tests."""

import time
from collections.abc import Mapping, Sequence

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

from streams.contract.topics import Topic
from streams.ops.topics import topic_config, wait_until_led


def make_topics_anew(
    servers: str, topics: Sequence[Topic], replication: int = 1, config: Mapping[str, str] | None = None
) -> None:
    """Deletes the topics and all that consumer groups know of them, and creates them empty.

    Args:
        config: For the compacted ones, above what they have anyway.
    """
    client = AdminClient({"bootstrap.servers": servers, "log_level": 2})
    _delete(client, {topic.name for topic in topics})
    groups = [group.group_id for group in client.list_consumer_groups().result().valid]
    for future in client.delete_consumer_groups(groups).values() if groups else ():
        try:
            future.result()
        except KafkaException:
            continue  # A member of another test is not gone yet; nobody else commits in its group's name.
    requested = [
        NewTopic(
            topic.name,
            topic.partitions,
            replication,
            config={**topic_config(topic), **((config or {}) if topic.cleanup == "compact" else {})},
        )
        for topic in topics
    ]
    for future in client.create_topics(requested).values():
        future.result()
    wait_until_led(client, topics)


def _delete(client: AdminClient, names: set[str]) -> None:
    while there := names & set(client.list_topics(timeout=10.0).topics):
        for future in client.delete_topics(sorted(there)).values():
            try:
                future.result()
            except KafkaException:
                continue  # It was deleted already, and the metadata has not caught up.
        time.sleep(0.1)
