"""Recent recommendations and the titles of their items, read from the topics for the screen."""

from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Final

import msgspec
from confluent_kafka import OFFSET_BEGINNING, OFFSET_END, Consumer, TopicPartition

from streams.admin.catalogue import apply_title
from streams.contract.connection import reader_configuration
from streams.contract.records import Recommendation, decode_recommendation
from streams.contract.settings import Settings
from streams.contract.topics import CATALOGUE, RECOMMENDATIONS

N_RECENT: Final = 10
_AT_ONCE: Final = 10_000


class RecentRecommendations:
    """The latest recommendations of all partitions; of what comes at once, few are decoded.

    Args:
        consumer: Reads recommendations and the shop's catalogue.
        catalogue: Name of the catalogue's topic on the cluster.

    Attributes:
        titles: Item to its title, as far as the catalogue was read.
    """

    def __init__(self, consumer: Consumer, catalogue: str) -> None:
        self._consumer = consumer
        self._catalogue = catalogue
        self._recent: deque[Recommendation] = deque(maxlen=N_RECENT)
        self.titles: dict[str, str] = {}

    def read(self) -> Sequence[Recommendation]:
        """Reads what has come since the last call, without waiting; returns the newest first."""
        records = [record for record in self._consumer.consume(_AT_ONCE, 0.0) if record.error() is None]
        listed = [record for record in records if record.topic() == self._catalogue]
        decided = [record for record in records if record.topic() != self._catalogue]
        for record in [*listed, *decided[-N_RECENT:]]:
            try:
                if record.topic() == self._catalogue:
                    apply_title(self.titles, record)
                else:
                    self._recent.appendleft(decode_recommendation(record.value() or b""))
            except (msgspec.DecodeError, UnicodeDecodeError):
                # On a cluster, anything may be in the topics; the view is no place to complain.
                continue
        return list(self._recent)


@contextmanager
def recent_recommendations(settings: Settings) -> Iterator[RecentRecommendations]:
    """Reads what is recommended from now on, and the whole catalogue."""
    consumer = Consumer(reader_configuration(settings))
    topic, partitions = settings.names.topic(RECOMMENDATIONS), range(settings.kafka.partitions)
    catalogue = settings.names.topic(CATALOGUE)
    followed = [TopicPartition(topic, number, OFFSET_END) for number in partitions]
    consumer.assign([*followed, TopicPartition(catalogue, 0, OFFSET_BEGINNING)])
    try:
        yield RecentRecommendations(consumer, catalogue)
    finally:
        consumer.close()
