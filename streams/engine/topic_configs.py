"""Configurations of a cluster's topics, as its brokers report them."""

from collections.abc import Iterable
from typing import Final

from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import AdminClient
from confluent_kafka.admin._config import ConfigResource

_ANSWER_S: Final = 10.0
_UNREADABLE: Final = frozenset(
    {
        KafkaError.TOPIC_AUTHORIZATION_FAILED,
        KafkaError.CLUSTER_AUTHORIZATION_FAILED,
        KafkaError.UNKNOWN_TOPIC_OR_PART,
    }
)


def read_topic_configs(client: AdminClient, topics: Iterable[str]) -> tuple[dict[str, dict[str, str]], str]:
    """Reads the configurations of topics.

    Returns:
        The configurations of the topics that are there and may be read, and why others may not; empty if all were read,
        or the broker is the embedded one, which has no configurations.

    Raises:
        KafkaException: The broker did not answer.
    """
    # All are listed first, because asking for one by name may create it.
    there = client.list_topics(timeout=_ANSWER_S).topics
    asked = [ConfigResource(ConfigResource.Type.TOPIC, name) for name in topics if name in there]
    found: dict[str, dict[str, str]] = {}
    unread = ""
    for resource, future in client.describe_configs(asked, request_timeout=_ANSWER_S).items() if asked else ():
        try:
            entries = future.result()
        except KafkaException as error:
            cause: KafkaError = error.args[0]
            if cause.code() == KafkaError._UNSUPPORTED_FEATURE:
                return {}, ""
            if cause.code() not in _UNREADABLE:
                raise
            unread = f"{resource.name}: {cause.str()}"
        else:
            found[resource.name] = {
                name: str(entry.value) for name, entry in entries.items() if entry.value is not None
            }
    return found, unread
