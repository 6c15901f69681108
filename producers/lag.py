"""Back-pressure: stops producers while the workers are behind."""

import logging
import threading
import time
from collections.abc import Callable, Mapping
from typing import Final

from confluent_kafka import Consumer, KafkaException, TopicPartition

from streams.contract.connection import reader_configuration
from streams.contract.settings import Settings

_log: Final = logging.getLogger(__name__)
_ANSWER_TIMEOUT_S: Final = 1.0
STANDSTILL_S: Final = 10.0
"""Time without a commit after which a closed gate says what it waits for."""

Positions = Mapping[int, tuple[int, int]]
"""Partition to the first delivered offset and the one after the last."""


def lag_of(positions: Positions, committed: Mapping[int, int]) -> int:
    """Counts the delivered records that a consumer group has not committed.

    Without a committed offset, all delivered records of the partition count.

    >>> lag_of({0: (10, 50), 1: (0, 5)}, {0: 45})
    10
    """
    return sum(max(0, end - committed.get(partition, first)) for partition, (first, end) in positions.items())


class LagGate:
    """Closes while a consumer group is more than ``bound_records`` behind what was delivered.

    The embedded broker silently drops the oldest records of a full partition, so a producer must not outrun its reader.
    On any broker the gate keeps queueing out of the measured latency. A thread reads the group's committed offsets;
    while it cannot, the last ones read are used, so that the gate closes and no records are lost. A closed gate logs a
    warning when the group has committed nothing for ``standstill_s``, again after each further commit.

    Args:
        bound_records: Limit of records delivered but not committed, over all partitions.
        interval_s: Wall-clock time between two readings.
        standstill_s: Wall-clock time without a commit before the warning.
    """

    def __init__(
        self,
        settings: Settings,
        bound_records: int = 20_000,
        interval_s: float = 0.2,
        standstill_s: float = STANDSTILL_S,
    ) -> None:
        self.is_open = True
        self.lag = 0
        self._group = settings.names.group()
        self._topic = settings.names.events
        self._standstill_s = standstill_s
        self._bound_records = bound_records
        self._interval_s = interval_s
        self._committed: dict[int, int] = {}
        self._unread = ""  # why the committed offsets could not be read
        self._ended = threading.Event()
        self._thread: threading.Thread | None = None
        # It never subscribes, so it is no member of the group and commits nothing.
        self._consumer = Consumer(reader_configuration(settings, self._group))

    def watch(self, positions: Callable[[], Positions]) -> None:
        """Starts the thread that compares ``positions()`` with the group's committed offsets."""
        self._thread = threading.Thread(target=self._run, args=(positions,), name="lag-gate", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Ends the thread; afterwards the gate stays open."""
        self._ended.set()
        if self._thread is not None:
            self._thread.join()
        self._consumer.close()
        self.is_open = True

    def __enter__(self) -> "LagGate":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _run(self, positions: Callable[[], Positions]) -> None:
        moved_s, is_said = time.monotonic(), False
        while not self._ended.wait(self._interval_s):
            # Positions first: a later commit makes the computed lag too small, never negative.
            delivered, known = dict(positions()), dict(self._committed)
            self._read_committed(list(delivered))
            self.lag = lag_of(delivered, self._committed)
            self.is_open = self.lag <= self._bound_records
            if self.is_open or self._committed != known:
                moved_s, is_said = time.monotonic(), False
            elif not is_said and time.monotonic() - moved_s >= self._standstill_s:
                is_said = True
                _log.warning(
                    "%s: waiting for the workers, which are %d records behind; group %s has committed nothing for "
                    "%.0f s: %s",
                    self._topic,
                    self.lag,
                    self._group,
                    self._standstill_s,
                    self._unread or "is a worker running?",
                )

    def _read_committed(self, partitions: list[int]) -> None:
        places = [TopicPartition(self._topic, partition) for partition in partitions]
        if not places:
            return
        try:
            committed = self._consumer.committed(places, timeout=_ANSWER_TIMEOUT_S)
        except KafkaException as error:
            # The client does not say that the group is forbidden.
            self._unread = f"its commits cannot be read ({error.args[0].str()}): may the user read the group?"
            return
        self._unread = ""
        known = [place for place in committed if place.error is None and place.offset >= 0]
        self._committed |= {place.partition: place.offset for place in known}
