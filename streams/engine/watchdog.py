"""Watchdog: ends a stalled worker, so that a supervisor can start it again; Faust would only log and wait for ever.

A worker is stalled if a rebalance does not end and recovers no rows meanwhile, or if a partition has records to read,
none is acknowledged, and none of its rows is stored. A worker without assigned partitions is not stalled.
"""

import threading
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from time import monotonic
from types import MappingProxyType
from typing import Final, NamedTuple

from confluent_kafka import KafkaException
from faust.types import TP

from streams.contract.settings import Settings
from streams.engine.exit_codes import STALLED, end_process
from streams.engine.incidents import STANDBYS_READY, report
from streams.engine.offsets import Offsets, committed_offsets
from streams.engine.readers import Partition, Readers, Unread, UnreadDetector
from streams.engine.recovery import Recovery
from streams.engine.topic_ids import TopicIds

_INTERVAL_S: Final = 2.0
_READERS_INTERVAL_S: Final = 6.0
"""Every group is asked for its committed offsets."""


class Position(NamedTuple):
    """How far a source partition was folded.

    Attributes:
        offset: Next source offset to read.
        stores: How often its rows were stored; a single event may take many batches.
    """

    offset: int
    stores: int = 0


Positions = Callable[[], Mapping[int, Position]]
"""Positions of the open partitions."""


class Condition(NamedTuple):
    """Condition of a worker at the watchdog's last check.

    Attributes:
        assigned: Assigned source partitions; ``None`` before the end of the first rebalance.
        rebalancing_s: Time that the current rebalance has recovered no row; ``None`` if there is no rebalance.
        stalled_for_s: Time that each partition has had records to read and has not moved.
        lag: Offsets behind the end, by partition.
        silent_s: Time since the broker last answered.
        recovery: The current or last recovery; ``None`` before the first.
        recovered_rows: Rows read from changelogs of assigned partitions since the start.
        standby_rows: Rows read from changelogs as a standby since the start.
        standby_left: Offsets that the standbys have still to read, see :func:`streams.engine.tables.standby_left`;
            ``None`` if the worker is no standby.
        changed: Why records of a topic are read by nobody or lost, by topic: it has other partitions than at the start,
            or was deleted.
        unread: Partitions with records that nobody reads, of all sources of the application, those of other workers'
            folds too.
    """

    assigned: frozenset[Partition] | None
    rebalancing_s: float | None
    stalled_for_s: Mapping[Partition, float]
    lag: Mapping[Partition, int]
    silent_s: float
    recovery: Recovery | None = None
    recovered_rows: int = 0
    standby_rows: int = 0
    standby_left: int | None = None
    changed: Mapping[str, str] = MappingProxyType({})
    unread: Mapping[Partition, Unread] = MappingProxyType({})


def changes(expected: Mapping[str, int], found: Mapping[str, int]) -> dict[str, str]:
    """Compares the partitions of topics with those that the group reads, and says what follows, by topic."""
    why = {}
    for topic, number in expected.items():
        there = found.get(topic, 0)
        if not there:
            why[topic] = "was deleted"
        elif there > number:
            why[topic] = f"has {there} partitions, not {number}: {there - number} are read by nobody"
        elif there < number:
            why[topic] = f"was made anew with {there} partitions, not {number}"
    return why


class StallDetector:
    """Detector of stalls; the caller passes the time.

    Args:
        patience_s: How long a rebalance or a partition may make no progress.
        now_s: Current time of a monotonic clock, as in all methods.
    """

    def __init__(self, patience_s: float, now_s: float) -> None:
        self._patience_s = patience_s
        self._rebalancing_since_s: float | None = now_s
        self._moved: dict[Partition, tuple[Position, float]] = {}

    def rebalance_started(self, now_s: float) -> None:
        self._rebalancing_since_s = now_s

    def rows_recovered(self, now_s: float) -> None:
        """Restarts the timer of the current rebalance, if there is one."""
        if self._rebalancing_since_s is not None:
            self._rebalancing_since_s = now_s

    def rebalance_ended(self) -> None:
        """Stops the timer of the rebalance, and restarts those of all partitions."""
        self._rebalancing_since_s = None
        self._moved.clear()

    def stuck_rebalance(self, now_s: float) -> bool:
        """Returns whether the current rebalance has made no progress for too long."""
        since_s = self._rebalancing_since_s
        return since_s is not None and now_s - since_s > self._patience_s

    def stuck_partitions(
        self, positions: Mapping[Partition, Position], lag: Mapping[Partition, int], now_s: float
    ) -> list[Partition]:
        """Returns the partitions with lag whose position has not moved for too long; none during a rebalance."""
        if self._rebalancing_since_s is not None:
            return []
        stuck = []
        for partition, position in positions.items():
            last_position, since_s = self._moved.get(partition, (None, now_s))
            if position != last_position or not lag[partition]:
                self._moved[partition] = position, now_s
            elif now_s - since_s > self._patience_s:
                stuck.append(partition)
        return stuck

    def rebalancing_s(self, now_s: float) -> float | None:
        return None if self._rebalancing_since_s is None else now_s - self._rebalancing_since_s

    def stalled_for_s(self, now_s: float) -> dict[Partition, float]:
        return {partition: now_s - since_s for partition, (_, since_s) in self._moved.copy().items()}


class Watchdog:
    """Regular check of this worker, on a thread and a broker connection of its own, since the event loop may hang.

    Args:
        groups: Source topic of the application to the consumer groups whose members may read it.
    """

    def __init__(
        self,
        settings: Settings,
        topic_ids: TopicIds,
        group: str,
        groups: Mapping[str, Sequence[str]],
    ) -> None:
        self._settings = settings
        self._topic_ids = topic_ids
        self._group = group
        self._groups = groups
        self._patience_s = settings.engine.watchdog_s
        self._sources: dict[str, Positions] = {}
        self._partitions: Mapping[str, int] = {}
        self._ids: Mapping[str, str] = {}
        self._changed: Mapping[str, str] = {}
        self._unread: Mapping[Partition, Unread] = {}
        self._unread_detector = UnreadDetector(self._patience_s)
        self._readers_checked_s = monotonic()
        self._assigned: frozenset[Partition] = frozenset()
        self._lag: dict[Partition, int] = {}
        self._stalled_for_s: dict[Partition, float] = {}
        self._has_assignment = False
        self._recovered_rows = 0
        self._standby_rows = 0
        self._standby_left: int | None = None
        self._recovery: Recovery | None = None
        self._answered_s = monotonic()
        self._detector = StallDetector(self._patience_s, monotonic())
        self._stopped = threading.Event()

    def watch(self, source: str, positions: Positions) -> None:
        """Adds a source topic; ``positions`` is called on the watchdog's thread."""
        self._sources[source] = positions

    def start(self, partitions: Mapping[str, int]) -> None:
        """Starts the checks, and the timer of the first rebalance.

        Args:
            partitions: Sources and changelogs, with the number of their partitions.
        """
        self._partitions = partitions
        self._answered_s = monotonic()
        self._detector.rebalance_started(monotonic())
        threading.Thread(target=self._run, name="watchdog", daemon=True).start()

    def stop(self) -> None:
        """Stops the checks; a shutdown has a deadline of its own."""
        self._stopped.set()

    def rebalance_started(self) -> None:
        self._detector.rebalance_started(monotonic())

    def recovery_started(self) -> None:
        """Records that partitions were assigned and their changelogs are about to be read."""
        self._recovery = Recovery(monotonic())

    def rows_recovered(self, rows: int, offsets: int, left: int) -> None:
        """Records recovered rows.

        Args:
            offsets: Changelog offsets that they took.
            left: Changelog offsets that are still to be read, of all assigned partitions.
        """
        now_s = monotonic()
        self._recovered_rows += rows
        if self._recovery is not None:
            self._recovery = self._recovery.applied(rows, offsets, left, now_s)
        self._detector.rows_recovered(now_s)

    def standby_rows_applied(self, rows: int, left: int) -> None:
        """Records rows applied as a standby, and the offsets that all standbys have still to read."""
        self._standby_rows += rows
        if self._standby_left is not None:
            self._set_standby_left(left)

    def _set_standby_left(self, left: int) -> None:
        if self._standby_left != 0 and left == 0:
            report(STANDBYS_READY, standby_rows=self._standby_rows)
        self._standby_left = left

    def rebalance_ended(self, assignment: set[TP], standby_left: int | None = None) -> None:
        """Records that a rebalance has ended.

        Args:
            assignment: Assigned partitions of all topics.
            standby_left: See :class:`Condition`.
        """
        self._assigned = frozenset((tp.topic, tp.partition) for tp in assignment if tp.topic in self._sources)
        self._stalled_for_s = {}
        self._has_assignment = True
        self._recovery = self._recovery and self._recovery.ended(monotonic())
        self._detector.rebalance_ended()
        self._standby_left = None
        if standby_left is not None:
            self._set_standby_left(standby_left)

    def condition(self) -> Condition:
        """Returns the worker's condition; callable from any thread."""
        now_s = monotonic()
        return Condition(
            self._assigned if self._has_assignment else None,
            self._detector.rebalancing_s(now_s),
            self._stalled_for_s,
            self._lag,
            now_s - self._answered_s,
            self._recovery,
            self._recovered_rows,
            self._standby_rows,
            self._standby_left,
            self._changed,
            self._unread,
        )

    def _run(self) -> None:
        committed = partial(committed_offsets, self._settings)
        readers = Readers(self._topic_ids.client, committed, self._groups, self._settings.names)
        with Offsets(self._settings, self._group, timeout_s=_INTERVAL_S) as offsets:
            while not self._stopped.wait(min(_INTERVAL_S, self._patience_s / 4)):
                self._check(offsets, readers)

    def _check(self, offsets: Offsets, readers: Readers) -> None:
        if self._detector.stuck_rebalance(monotonic()):
            end_process(
                STALLED,
                f"no rebalance was completed and no row recovered for {self._patience_s:g} s (engine.watchdog_s)",
            )
        assigned = self._assigned
        try:
            counts = offsets.counts({*self._partitions, *self._groups})
            self._compare_topics(counts)
            self._find_unread(counts, readers)
            positions = self._positions(offsets, assigned)
            lag = {
                partition: max(0, offsets.coverage(*partition).end - positions[partition].offset)
                for partition in assigned
            }
        except KafkaException:
            self._unread_detector.restart()
            return  # The broker does not answer, so a stall would not be the worker's fault.
        self._lag, self._answered_s = lag, monotonic()
        stuck = self._detector.stuck_partitions(positions, lag, self._answered_s)
        self._stalled_for_s = self._detector.stalled_for_s(self._answered_s)
        for partition in stuck:
            self._end_if_readable(offsets, partition, positions[partition].offset)

    def _compare_topics(self, counts: Mapping[str, int]) -> None:
        """Compares the topics with those of the start; Faust drops a topic that is gone, and reads no new partition."""
        changed = changes(self._partitions, counts)
        ids = self._topic_ids.read(self._partitions)
        anew = {topic for topic, topic_id in ids.items() if self._ids.get(topic, topic_id) != topic_id}
        self._changed = {**dict.fromkeys(anew, "was deleted and made anew"), **changed}
        self._ids = {**ids, **self._ids}

    def _find_unread(self, counts: Mapping[str, int], readers: Readers) -> None:
        """Looks for partitions that no member of any group reads; this worker's own are judged by their stalls."""
        now_s = monotonic()
        if now_s - self._readers_checked_s < min(_READERS_INTERVAL_S, self._patience_s / 4):
            return
        self._readers_checked_s = now_s
        waiting = readers.waiting(counts, self._assigned)
        is_rebalancing = self._detector.rebalancing_s(now_s) is not None
        excused = {each for each in waiting if is_rebalancing and each[0] in self._sources}
        self._unread = self._unread_detector.unread(waiting, excused, now_s)

    def _positions(self, offsets: Offsets, assigned: frozenset[Partition]) -> dict[Partition, Position]:
        """Returns each partition's position: its fold's, or the committed offset before the first batch."""
        known = {source: positions() for source, positions in self._sources.items()}
        return {
            (topic, number): known[topic].get(number) or Position(offsets.committed(topic, number))
            for topic, number in assigned
        }

    def _end_if_readable(self, offsets: Offsets, partition: Partition, position: int) -> None:
        topic, number = partition
        if offsets.next_record(topic, number, position) is not None:
            end_process(
                STALLED,
                f"{topic}[{number}] has {self._lag[partition]} records to read from offset {position} and none was "
                f"acknowledged for {self._patience_s:g} s (engine.watchdog_s)",
            )
