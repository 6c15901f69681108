"""What was recommended, as it arrives: read in a thread, found by the event it was made at."""

import logging
import threading
from collections.abc import Iterable
from types import TracebackType
from typing import Final, Protocol

import msgspec
from confluent_kafka import Consumer, Message, TopicPartition

from producers.topics import partition_count
from streams.contract.connection import client_configuration
from streams.contract.records import Recommendation, decode_recommendation
from streams.contract.settings import Kafka
from streams.contract.topics import RECOMMENDATIONS

_log: Final = logging.getLogger(__name__)
_START_TIMEOUT_S: Final = 30.0
_KNOWN: Final = 200_000
_UNCLAIMED: Final = 20_000


class Recommendations(Protocol):
    """Where decisions come from; :class:`RecommendationReader`, or something simpler in a test."""

    repeats: int

    def claim(self, event_ref: str) -> Recommendation | None:
        """Returns the decision made at an event if it is there, or has it listed by :meth:`arrived` when it comes."""
        ...

    def abandon(self, event_ref: str) -> None:
        """Takes a claim back."""
        ...

    def arrived(self) -> list[Recommendation]:
        """Takes the claimed decisions that have come since the last call."""
        ...

    def wait(self, timeout_s: float) -> None:
        """Waits until a claimed decision has come, at most ``timeout_s``."""
        ...


class Claims:
    """Decisions and those who want them, whichever comes first; safe between two threads.

    A decision that comes again (a worker repeats outputs after a crash) is counted and dropped, as far back as
    ``known`` others. What nobody claims is forgotten after ``unclaimed`` others; a claim is made as soon as the view is
    delivered, so it needs to wait for moments only.

    Attributes:
        repeats: Decisions that had come before.
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
        """Takes in what was read."""
        with self._changed:
            for recommendation in recommendations:
                self._take_in(recommendation)
            if self._arrived:
                self._changed.notify_all()

    def claim(self, event_ref: str) -> Recommendation | None:
        """Returns the decision made at an event if it is there, or has it listed by :meth:`arrived` when it comes."""
        with self._changed:
            recommendation = self._unclaimed.pop(event_ref, None)
            if recommendation is None:
                self._claimed.add(event_ref)
            return recommendation

    def abandon(self, event_ref: str) -> None:
        """Takes a claim back."""
        with self._changed:
            self._claimed.discard(event_ref)

    def arrived(self) -> list[Recommendation]:
        """Takes the claimed decisions that have come since the last call."""
        # Asked before every event: the lock is only for when there is something.
        if not self._arrived:
            return []
        with self._changed:
            taken, self._arrived = self._arrived, []
            return taken

    def wait(self, timeout_s: float) -> None:
        """Waits until a claimed decision has come, at most ``timeout_s``."""
        with self._changed:
            if not self._arrived:
                self._changed.wait(timeout_s)

    def _take_in(self, recommendation: Recommendation) -> None:
        ref = recommendation.event_ref
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
    """Reads ``recommendations`` in a thread, from its present end.

    Make it before the first event is published, or early decisions are missed.

    Attributes:
        unreadable: Records that are no recommendation.

    Raises:
        UnreachableBroker: No broker answers.
        RefusedStart: The topic is not there.
    """

    def __init__(self, kafka: Kafka, topic: str = RECOMMENDATIONS) -> None:
        super().__init__()
        self.unreadable = 0
        self._ended = threading.Event()
        self._consumer = Consumer(
            {
                **client_configuration(kafka),
                # Partitions are assigned by hand and nothing is committed: the group is a name only.
                "group.id": "headrace-simulator",
                "enable.auto.commit": False,
                # The embedded broker holds an empty fetch for the whole wait.
                "fetch.wait.max.ms": 10,
                "allow.auto.create.topics": True,
                "log_level": 2,
            }
        )
        count = partition_count(self._consumer, topic, _START_TIMEOUT_S)
        self._consumer.assign([self._end_of(topic, partition) for partition in range(count)])
        self._thread = threading.Thread(target=self._run, name="recommendations", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Ends the thread."""
        self._ended.set()
        self._thread.join()
        self._consumer.close()

    def __enter__(self) -> "RecommendationReader":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _end_of(self, topic: str, partition: int) -> TopicPartition:
        _, end = self._consumer.get_watermark_offsets(TopicPartition(topic, partition), timeout=_START_TIMEOUT_S)
        return TopicPartition(topic, partition, end)

    def _run(self) -> None:
        while not self._ended.is_set():
            # Asking for many at once would wait until there are so many.
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
                except msgspec.DecodeError:
                    self.unreadable += 1
