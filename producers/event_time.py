"""Event time that a cluster has reached, read before events are published: earlier ones would be late."""

from collections.abc import Iterator
from datetime import UTC, datetime
from time import monotonic
from typing import Final

from confluent_kafka import Consumer, KafkaError, Message, TopicPartition

from producers.cluster import partition_count
from streams.contract.connection import reader_configuration
from streams.contract.errors import RejectedRecord, UnreachableBroker
from streams.contract.events import decode_event
from streams.contract.fold import PARTITION_KEY, decode_partition_row
from streams.contract.settings import Settings
from streams.contract.topics import CLICKSTREAM, USERS_CHANGELOG

_ANSWER_S: Final = 5.0
_TAIL: Final = 1000
"""Records of a partition that are read. A tick ends a replay, and the partition's row ends a batch."""


def reached_ms(settings: Settings) -> int:
    """Returns the latest event time of the cluster, -1 if it has none.

    A new event is late for the workers if it is earlier than that by more than the allowed lateness.
    It is the latest of the last events of each partition and of the watermarks in the workers' rows, which stay when
    events are deleted. Events that the workers refuse as ``ahead`` do not count.

    Raises:
        UnreachableBroker: No broker answers.
        RefusedStart: There is no clickstream.
    """
    consumer = Consumer(
        {
            **reader_configuration(settings),
            "enable.partition.eof": True,
            "auto.offset.reset": "earliest",
        }
    )
    try:
        partition_count(consumer, settings.names.events, _ANSWER_S)
        known = consumer.list_topics(timeout=_ANSWER_S).topics
        places = [
            TopicPartition(topic, number)
            for topic in map(settings.names.topic, (CLICKSTREAM, USERS_CHANGELOG))
            if topic in known
            for number in known[topic].partitions
        ]
        return max((_time_of(message, settings) for message in _last_records(consumer, places)), default=-1)
    finally:
        consumer.close()


def shown(timestamp_ms: int) -> str:
    """Formats an event time for people."""
    return datetime.fromtimestamp(timestamp_ms / 1000.0, UTC).isoformat(timespec="seconds")


def _last_records(consumer: Consumer, places: list[TopicPartition]) -> Iterator[Message]:
    for place in places:
        first, end = consumer.get_watermark_offsets(place, _ANSWER_S)
        place.offset = max(first, end - _TAIL)
    consumer.assign(places)
    unread = len(places)
    heard_s = monotonic()
    while unread:
        for message in consumer.consume(_TAIL, 0.1):
            heard_s = monotonic()
            error = message.error()
            if error is None:
                yield message
            elif error.code() == KafkaError._PARTITION_EOF:
                unread -= 1
            elif not error.retriable():
                raise UnreachableBroker(f"{message.topic()} cannot be read: {error.str()}")
        if monotonic() - heard_s > _ANSWER_S:
            raise UnreachableBroker(f"the last records cannot be read: nothing came within {_ANSWER_S:.0f} s")


def _time_of(message: Message, settings: Settings) -> int:
    time = settings.time
    if message.topic() == settings.names.topic(USERS_CHANGELOG):
        value = message.value()
        if message.key() != PARTITION_KEY or not value:
            return -1
        watermark_ms = decode_partition_row(value).watermark_ms
        return watermark_ms + int(time.allowed_lateness_s * 1000) if watermark_ms >= 0 else -1
    try:
        event_ms = decode_event(message.value()).timestamp_ms
    except RejectedRecord:
        return -1
    _, written_ms = message.timestamp()
    is_ahead = 0 <= written_ms < event_ms - time.ahead_tolerance_s * 1000
    return -1 if is_ahead else event_ms
