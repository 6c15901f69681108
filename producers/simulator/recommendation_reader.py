"""Reader of the recommendations topic in a thread; decisions are found by the event that they answer."""

import logging
import threading
from collections.abc import Iterable
from typing import Final

import msgspec
from confluent_kafka import Consumer, Message, TopicPartition

from producers.cluster import partition_count
from streams.contract.connection import reader_configuration
from streams.contract.records import Recommendation, decode_recommendation, without_epoch
from streams.contract.settings import Settings
from streams.contract.topics import RECOMMENDATIONS

_log: Final = logging.getLogger(__name__)
_START_TIMEOUT_S: Final = 30.0
_KNOWN: Final = 200_000
_UNCLAIMED: Final = 20_000


class Claims:
    """Matches decisions with claims, in either order of arrival; safe between two threads.

    A repeated decision (a worker repeats outputs after a crash) is counted and dropped, if it is among the last
    ``known`` ones. A decision without a claim is dropped after ``unclaimed`` others; a claim comes as soon as the view
    is delivered, so it is never late.

    Attributes:
        repeats: Repeated decisions.
    """

    def __init__(self, known: int = _KNOWN, unclaimed: int = _UNCLAIMED) -> None:
        self.repeats = 0
        self._bounds = known, unclaimed
        self._changed = threading.Condition()
        # Dictionaries keep the order of arrival, so the first is the oldest.
        self._known: dict[str, None] = {}
        self._unclaimed: dict[str, Recommendation] = {}
        self._claimed: set[str] = set()
        self._arrived: list[Recommendation] = []

    def offer(self, recommendations: Iterable[Recommendation]) -> None:
        """Adds decisions that were read."""
        with self._changed:
            for recommendation in recommendations:
                self._add(recommendation)
            if self._arrived:
                self._changed.notify_all()

    def claim(self, event_ref: str) -> Recommendation | None:
        """Returns the decision for an event; if it is not there yet, :meth:`arrived` will return it."""
        with self._changed:
            recommendation = self._unclaimed.pop(event_ref, None)
            if recommendation is None:
                self._claimed.add(event_ref)
            return recommendation

    def abandon(self, event_ref: str) -> None:
        """Cancels a claim."""
        with self._changed:
            self._claimed.discard(event_ref)

    def arrived(self) -> list[Recommendation]:
        """Returns the claimed decisions that have arrived since the last call."""
        # Called before every event: the lock is taken only if there is something.
        if not self._arrived:
            return []
        with self._changed:
            taken, self._arrived = self._arrived, []
            return taken

    def wait(self, timeout_s: float) -> None:
        """Waits until a claimed decision has arrived, at most ``timeout_s``."""
        with self._changed:
            if not self._arrived:
                self._changed.wait(timeout_s)

    def _add(self, recommendation: Recommendation) -> None:
        ref = without_epoch(recommendation.event_ref)
        if ref in self._known:
            self.repeats += 1
            return
        self._known[ref] = None
        if ref in self._claimed:
            self._claimed.remove(ref)
            self._arrived.append(recommendation)
        else:
            self._unclaimed[ref] = recommendation
        known, unclaimed = self._bounds
        if len(self._known) > known:
            del self._known[next(iter(self._known))]
        if len(self._unclaimed) > unclaimed:
            del self._unclaimed[next(iter(self._unclaimed))]


class RecommendationReader(Claims):
    """Reader of ``recommendations`` in a thread, from the topic's end at construction.

    Create it before the first event is published, or early decisions are missed.

    Attributes:
        unreadable: Records that are not recommendations.

    Raises:
        UnreachableBroker: No broker answers.
        RefusedStart: The topic is missing.
    """

    def __init__(self, settings: Settings) -> None:
        super().__init__()
        self.unreadable = 0
        self._topic = settings.names.topic(RECOMMENDATIONS)
        self._ended = threading.Event()
        self._consumer = Consumer(
            {
                **reader_configuration(settings),
                # The embedded broker holds an empty fetch for the whole wait.
                "fetch.wait.max.ms": 10,
                "allow.auto.create.topics": True,
            }
        )
        count = partition_count(self._consumer, self._topic, _START_TIMEOUT_S)
        self._consumer.assign([self._end_of(partition) for partition in range(count)])
        self._thread = threading.Thread(target=self._run, name="recommendations", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Ends the thread, and reports how many records were skipped."""
        self._ended.set()
        self._thread.join()
        self._consumer.close()
        if self.unreadable:
            _log.warning("%d records of %s are no recommendations; they were skipped", self.unreadable, self._topic)

    def __enter__(self) -> "RecommendationReader":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _end_of(self, partition: int) -> TopicPartition:
        place = TopicPartition(self._topic, partition)
        _, place.offset = self._consumer.get_watermark_offsets(place, timeout=_START_TIMEOUT_S)
        return place

    def _run(self) -> None:
        while not self._ended.is_set():
            # A call for many records would wait until there are so many.
            first = self._consumer.poll(0.1)
            if first is not None:
                self.offer(self._readable([first, *self._consumer.consume(1000, 0)]))

    def _readable(self, messages: Iterable[Message]) -> Iterable[Recommendation]:
        for message in messages:
            value = message.value()
            if (error := message.error()) is not None:
                _log.warning("%s: %s", message.topic(), error.str())
            elif not isinstance(value, bytes):
                self.unreadable += 1
            else:
                try:
                    yield decode_recommendation(value)
                except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
                    self.unreadable += 1
