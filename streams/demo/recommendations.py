"""Recent recommendations, read from their topic for the screen."""

from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Final

import msgspec
from confluent_kafka import OFFSET_END, Consumer, TopicPartition

from streams.contract.connection import reader_configuration
from streams.contract.records import Recommendation, decode_recommendation
from streams.contract.settings import Settings
from streams.contract.topics import RECOMMENDATIONS

N_RECENT: Final = 10
_AT_ONCE: Final = 10_000


class RecentRecommendations:
    """The latest recommendations of all partitions, newest first; of what comes at once, few are decoded."""

    def __init__(self, consumer: Consumer) -> None:
        self._consumer = consumer
        self._recent: deque[Recommendation] = deque(maxlen=N_RECENT)

    def read(self) -> Sequence[Recommendation]:
        """Reads what has come since the last call, without waiting."""
        values = [record.value() or b"" for record in self._consumer.consume(_AT_ONCE, 0.0) if record.error() is None]
        for value in values[-N_RECENT:]:
            try:
                self._recent.appendleft(decode_recommendation(value))
            except (msgspec.DecodeError, UnicodeDecodeError):
                # On a cluster, anything may be in the topic; the view is no place to complain.
                continue
        return list(self._recent)


@contextmanager
def recent_recommendations(settings: Settings) -> Iterator[RecentRecommendations]:
    """Reads what is recommended from now on."""
    consumer = Consumer(reader_configuration(settings))
    topic, partitions = settings.names.topic(RECOMMENDATIONS), range(settings.kafka.partitions)
    consumer.assign([TopicPartition(topic, number, OFFSET_END) for number in partitions])
    try:
        yield RecentRecommendations(consumer)
    finally:
        consumer.close()
