"""Ids of topics: a broker gives each topic one when it is created, so that one made anew has another."""

from collections.abc import Iterable
from functools import cached_property
from typing import Final

from confluent_kafka import KafkaException, Producer, TopicCollection
from confluent_kafka.admin import AdminClient

from streams.contract.connection import client_configuration
from streams.contract.settings import Settings
from streams.engine.reachability import refusal_of

EMBEDDED_CLUSTER: Final = "mockCluster"
"""Prefix of the embedded broker's cluster id."""

_ANSWER_S: Final = 10.0
_NO_ID: Final = "AAAAAAAAAAAAAAAAAAAAAA"
"""Zero, from brokers that give no ids."""


def is_embedded(client: AdminClient | Producer) -> bool:
    """Returns whether the broker is the embedded one.

    Raises:
        KafkaException: The broker did not answer.
    """
    cluster = client.list_topics(timeout=_ANSWER_S).cluster_id
    return cluster is not None and cluster.startswith(EMBEDDED_CLUSTER)


class TopicIds:
    """Client that reads the ids of topics, on any thread; connects at the first question."""

    def __init__(self, settings: Settings) -> None:
        self._kafka = settings.kafka
        self._names = settings.names
        self._has_ids: bool | None = None

    @cached_property
    def client(self) -> AdminClient:
        """The admin client that a worker keeps: each has threads and connections of its own."""
        return AdminClient(client_configuration(self._kafka))

    def read(self, topics: Iterable[str]) -> dict[str, str]:
        """Returns the id of each topic that has one and may be described; topics are called as in the code.

        Raises:
            KafkaException: The broker did not answer.
        """
        if self._has_ids is None:
            # The embedded broker never answers the question.
            self._has_ids = not is_embedded(self.client)
        if not self._has_ids:
            return {}
        names = {self._names.topic(topic): topic for topic in topics}
        ids = {}
        asked = TopicCollection(list(names))
        for name, future in self.client.describe_topics(asked, request_timeout=_ANSWER_S).items():
            try:
                found = str(future.result().topic_id)
            except KafkaException as error:
                refusal_of(error)  # It is not there or may not be described, which others say.
                continue
            if found != _NO_ID:
                ids[names[name]] = found
        return ids
