"""Holding producers back while the workers are behind."""

import logging
import threading
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Final

from confluent_kafka import Consumer, KafkaException, TopicPartition

from streams.contract.connection import client_configuration
from streams.contract.settings import Kafka
from streams.contract.topics import CLICKSTREAM

_log: Final = logging.getLogger(__name__)
_ANSWER_TIMEOUT_S: Final = 1.0

Positions = Mapping[int, tuple[int, int]]
"""Partition to the first offset that was delivered and the one after the last."""


def lag_of(positions: Positions, committed: Mapping[int, int]) -> int:
    """Counts the delivered records that a consumer group has not committed.

    Where the group has committed nothing yet, everything from the first delivered offset counts.

    >>> lag_of({0: (10, 50), 1: (0, 5)}, {0: 45})
    10
    """
    return sum(max(0, end - committed.get(partition, first)) for partition, (first, end) in positions.items())


class LagGate:
    """Closes while a consumer group is more than ``bound_records`` behind what was delivered.

    The embedded broker drops the head of a partition silently, so a producer must not outrun its reader; on any broker
    the gate keeps the latency of a demonstration honest. A thread of its own asks for the group's committed offsets;
    while they cannot be read, the last known ones hold, so that the gate closes rather than lets records be lost.

    Args:
        group: Consumer group of the workers.
        bound_records: Delivered but not committed, over all partitions.
        interval_s: Between two looks, wall clock.
    """

    def __init__(
        self,
        kafka: Kafka,
        group: str = "headrace",
        topic: str = CLICKSTREAM,
        bound_records: int = 20_000,
        interval_s: float = 0.2,
    ) -> None:
        self.is_open = True
        self.lag = 0
        self._topic = topic
        self._bound_records = bound_records
        self._interval_s = interval_s
        self._committed: dict[int, int] = {}
        self._ended = threading.Event()
        self._thread: threading.Thread | None = None
        # It never subscribes, so it is no member of the group and commits nothing.
        self._consumer = Consumer(
            {**client_configuration(kafka), "group.id": group, "enable.auto.commit": False, "log_level": 2}
        )

    def watch(self, positions: Callable[[], Positions]) -> None:
        """Starts comparing ``positions()``, called from a thread, with what the group has committed."""
        self._thread = threading.Thread(target=self._run, args=(positions,), name="lag-gate", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Ends the thread; the gate stays open from now on."""
        self._ended.set()
        if self._thread is not None:
            self._thread.join()
        self._consumer.close()
        self.is_open = True

    def __enter__(self) -> "LagGate":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _run(self, positions: Callable[[], Positions]) -> None:
        while not self._ended.wait(self._interval_s):
            # Read first: commits that come in between make the lag smaller than it is, never negative.
            delivered = dict(positions())
            self._read_committed(list(delivered))
            self.lag = lag_of(delivered, self._committed)
            self.is_open = self.lag <= self._bound_records

    def _read_committed(self, partitions: list[int]) -> None:
        asked = [TopicPartition(self._topic, partition) for partition in partitions]
        if not asked:
            return
        try:
            answered = self._consumer.committed(asked, timeout=_ANSWER_TIMEOUT_S)
        except KafkaException as error:
            _log.debug("committed offsets of %s: %s", self._topic, error)
            return
        self._committed |= {each.partition: each.offset for each in answered if each.error is None and each.offset >= 0}
