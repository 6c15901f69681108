"""Feeds: small compacted topics that every worker reads whole, with a reader of its own, and never stops reading."""

import threading
from collections import deque
from collections.abc import Callable
from time import monotonic
from typing import Final, Generic, NamedTuple, TypeVar

import msgspec
from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, KafkaException, TopicPartition

from streams.contract.connection import client_configuration
from streams.contract.errors import RefusedStart
from streams.contract.settings import Kafka
from streams.engine.exits import FAILED, end_process
from streams.engine.incidents import SNAPSHOT_REFUSED, report
from streams.engine.offsets import Offsets

ValueT = TypeVar("ValueT")

_POLL_S: Final = 0.2
_AT_ONCE: Final = 1000
_CHECK_S: Final = 5.0
_LOOK_S: Final = 0.05
_MOST_WAITING: Final = 2000
_ANSWER_S: Final = 1.0
_MAX_KINDS: Final = 100


class FeedProgress(NamedTuple):
    """How far a feed is read.

    Attributes:
        values: Read since the start.
        lag: Offsets not yet read, when the broker was last asked.
        standing_s: For how long it had neither moved nor been known to be at the end, when the broker was last asked.
    """

    topic: str
    values: int
    lag: int
    standing_s: float


class Refusals:
    """Reports the records of a feed that cannot be used: each kind once, since as many may come as are published."""

    def __init__(self, topic: str) -> None:
        self._topic = topic
        self._told: set[str] = set()

    def note(self, what: str, why: str) -> None:
        """Reports what is refused, unless it was reported before."""
        if what not in self._told and len(self._told) < _MAX_KINDS:
            self._told.add(what)
            report(SNAPSHOT_REFUSED, topic=self._topic, what=what, why=why)


class FeedReader(Generic[ValueT]):
    """Reads all partitions of a feed from the beginning, without a group, on a thread.

    Args:
        decode: Called on the reader's thread.
        apply: Called by :meth:`start` with what has come so far, while it waits, so that a feed that is read whole does
            not lie in memory whole.
        frozen: Stop when everything that was there at the start is read; the same log then gives the same decisions.
    """

    def __init__(
        self,
        topic: str,
        kafka: Kafka,
        decode: Callable[[bytes], ValueT],
        apply: Callable[[list[ValueT]], object] | None = None,
        *,
        frozen: bool = False,
    ) -> None:
        self._topic = topic
        self._kafka = kafka
        self._decode = decode
        self._apply = apply
        self._frozen = frozen
        self._values: deque[ValueT] = deque()
        self._values_read = 0
        self._refusals = Refusals(topic)
        self._next: dict[int, int] = {}
        self._checked: dict[int, int] = {}
        self._lag = 0
        self._fresh_s = monotonic()
        self._standing_s = 0.0
        self._caught_up = threading.Event()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._read_or_end, name=f"feed-{topic}", daemon=True)

    def start(self, timeout_s: float = 60.0) -> None:
        """Starts to read, and returns when what was there is read.

        Raises:
            RefusedStart: The topic is not there, or nothing came for so long.
        """
        self._thread.start()
        read, since_s = 0, monotonic()
        while not self._caught_up.wait(_LOOK_S):
            if self._apply is not None:
                self._apply(self.take())
            if self._values_read > read:
                read, since_s = self._values_read, monotonic()
            elif monotonic() - since_s > timeout_s:
                raise RefusedStart(f"the feed {self._topic} could not be read: nothing came for {timeout_s:.0f} s")

    def stop(self) -> None:
        """Ends the thread."""
        self._stopping.set()
        self._thread.join()

    def take(self) -> list[ValueT]:
        """Takes what has come since the last call, in order."""
        values = self._values
        return [values.popleft() for _ in range(len(values))]

    def progress(self) -> FeedProgress:
        """Tells how far it has come; other threads may ask."""
        return FeedProgress(self._topic, self._values_read, self._lag, self._standing_s)

    def _read_or_end(self) -> None:
        try:
            self._read()
        except Exception as error:  # noqa: BLE001 - a worker without its feeds would decide on stale models unseen
            end_process(FAILED, f"the feed {self._topic} cannot be read: {error}")

    def _read(self) -> None:
        with Offsets(self._kafka) as offsets:
            ends = [offsets.coverage(self._topic, number) for number in range(offsets.partitions(self._topic))]
        missing = {number: end for number, (first, end) in enumerate(ends) if end > first}
        consumer = Consumer(
            {
                **client_configuration(self._kafka),
                "group.id": "headrace-feeds",
                "enable.auto.commit": False,
                "enable.partition.eof": True,
                "fetch.wait.max.ms": 100,
                "queued.max.messages.kbytes": 1024,
                "log_level": 2,
            }
        )
        checked_s = monotonic()
        consumer.assign([TopicPartition(self._topic, number, OFFSET_BEGINNING) for number in range(len(ends))])
        try:
            while not self._stopping.is_set() and not (self._frozen and not missing):
                if not missing:
                    self._caught_up.set()
                self._wait_for_room()
                for message in consumer.consume(_AT_ONCE, _POLL_S):
                    number, offset = message.partition(), message.offset()
                    if error := message.error():
                        if error.code() == KafkaError._PARTITION_EOF and number is not None and offset is not None:
                            # Behind the last record of a transaction lies its marker, which nobody reads.
                            self._next[number] = offset
                            missing.pop(number, None)
                        elif not error.retriable():
                            raise RefusedStart(error.str())
                        continue
                    if (value := message.value()) is not None:
                        self._take(value, f"{number}-{offset}")
                    if number is not None and offset is not None:
                        self._next[number] = offset + 1
                        if offset + 1 >= missing.get(number, offset + 2):
                            del missing[number]
                if monotonic() - checked_s > _CHECK_S:
                    self._check(consumer, len(ends))
                    checked_s = monotonic()
            self._caught_up.set()
        finally:
            consumer.close()

    def _wait_for_room(self) -> None:
        """Waits while :meth:`start` is behind with what it applies."""
        while self._apply is not None and len(self._values) > _MOST_WAITING and not self._caught_up.is_set():
            if self._stopping.wait(_LOOK_S):
                return

    def _take(self, value: bytes, place: str) -> None:
        try:
            self._values.append(self._decode(value))
            self._values_read += 1
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            self._refusals.note("unreadable", f"{place}: {error}")

    def _check(self, consumer: Consumer, partitions: int) -> None:
        """Compares with what the broker has; both count markers of transactions."""
        try:
            ends = [
                consumer.get_watermark_offsets(TopicPartition(self._topic, number), _ANSWER_S)[1]
                for number in range(partitions)
            ]
        except KafkaException:
            self._standing_s = monotonic() - self._fresh_s
            return
        self._lag = sum(max(0, end - self._next.get(number, 0)) for number, end in enumerate(ends))
        if not self._lag or self._next != self._checked:
            self._fresh_s = monotonic()
        self._standing_s = monotonic() - self._fresh_s
        self._checked = dict(self._next)
