"""Reader of whole partitions, and the check that a cluster has the topics of a command."""

from collections.abc import Iterator
from time import monotonic
from typing import Final

from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, Message, Producer, TopicPartition

from streams.brokers.cluster import partition_counts
from streams.contract.connection import reader_configuration
from streams.contract.errors import RefusedStart, UnreachableBroker
from streams.contract.settings import Settings
from streams.engine.reachability import no_topic, unreadable

_BATCH: Final = 1000
_POLL_S: Final = 0.1
_ANSWER_S: Final = 10.0


def partition_reader(settings: Settings) -> Consumer:
    """Makes a consumer for :func:`read_to_end`."""
    return Consumer({**reader_configuration(settings), "enable.partition.eof": True, "auto.offset.reset": "earliest"})


def require_topics(client: Consumer | Producer, settings: Settings, *topics: str) -> dict[str, int]:
    """Returns the partition counts of ``topics``, which are called as in the code.

    Raises:
        UnreachableBroker: No broker answers.
        RefusedStart: One of ``topics`` is missing.
    """
    counts = partition_counts(client, settings.kafka.bootstrap_servers)
    names = {topic: settings.names.topic(topic) for topic in topics}
    if missing := {topic for topic, name in names.items() if name not in counts}:
        raise RefusedStart(no_topic(min(missing), settings, counts))
    return {topic: counts[name] for topic, name in names.items()}


def read_to_end(consumer: Consumer, topic: str, partition: int, begin: int = OFFSET_BEGINNING) -> Iterator[Message]:
    """Yields the records of a partition from the offset ``begin`` to its end at the time of reading.

    Args:
        topic: Its name on the cluster.

    Raises:
        UnreachableBroker: The broker does not answer.
        RefusedStart: The user may not read the topic.
    """
    consumer.assign([TopicPartition(topic, partition, begin)])
    try:
        received_s = monotonic()
        while monotonic() - received_s < _ANSWER_S:
            # The call returns at the timeout or with a full batch, so the timeout is short.
            for message in consumer.consume(_BATCH, _POLL_S):
                error = message.error()
                if error is None:
                    yield message
                    received_s = monotonic()
                elif error.code() == KafkaError._PARTITION_EOF:
                    return
                elif not error.retriable():
                    raise unreadable(topic, error)
        raise UnreachableBroker(f"{topic} cannot be read: no record within {_ANSWER_S:.0f} s")
    finally:
        consumer.unassign()
