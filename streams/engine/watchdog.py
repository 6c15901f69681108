"""Ends a worker that stands still, so that a supervisor can start it again; Faust would log it and wait for ever.

Two things are a standstill: a rebalance that does not end and recovers no rows meanwhile, and a partition with records
to read of which none is acknowledged. A worker beyond the number of partitions has nothing to read, and stays.
"""

import threading
from collections.abc import Callable, Mapping
from time import monotonic
from typing import Final, NamedTuple

from confluent_kafka import KafkaException
from faust.types import TP

from streams.contract.settings import Kafka
from streams.engine.exits import STALLED, end_process
from streams.engine.incidents import STANDBYS_READY, report
from streams.engine.offsets import Offsets
from streams.engine.recovery import Recovery

Partition = tuple[str, int]
Positions = Callable[[], Mapping[int, int]]
"""Partition to the offset that comes next, of the partitions that have been opened."""

_INTERVAL_S: Final = 2.0


class Condition(NamedTuple):
    """How a worker is, as the watchdog saw it when it last looked.

    Attributes:
        assigned: Source partitions that it has, once a rebalance has ended; ``None`` before.
        rebalancing_s: For how long the present rebalance has recovered nothing; ``None`` where there is none.
        standing_s: For how long each partition has had something to read and has not moved.
        lag: Of each partition, see :meth:`Watchdog.lag`.
        silent_s: How long ago the broker last answered.
        recovery: The present one, or the last; ``None`` before the first.
        recovered_rows: Read from changelogs since the start, of partitions that it was to fold.
        standby_rows: Likewise of partitions that it is a standby of.
        standby_left: Offsets that its standbys had still to read, see :func:`streams.engine.tables.standby_left`;
            ``None`` where it is nobody's standby.
    """

    assigned: frozenset[Partition] | None
    rebalancing_s: float | None
    standing_s: Mapping[Partition, float]
    lag: Mapping[Partition, int]
    silent_s: float
    recovery: Recovery | None = None
    recovered_rows: int = 0
    standby_rows: int = 0
    standby_left: int | None = None


class Standstill:
    """Judges from what it is told; it has no clock of its own.

    Args:
        patience_s: How long something may stand still.
        now_s: The present; all times count from anywhere.
    """

    def __init__(self, patience_s: float, now_s: float) -> None:
        self._patience_s = patience_s
        self._rebalancing_since_s: float | None = now_s
        self._moved: dict[Partition, tuple[int, float]] = {}

    def rebalancing(self, now_s: float) -> None:
        """Notes that a rebalance began, or that the present one recovered rows."""
        self._rebalancing_since_s = now_s

    def recovered(self, now_s: float) -> None:
        """Notes that rows were recovered; those of a standby are no part of a rebalance."""
        if self._rebalancing_since_s is not None:
            self._rebalancing_since_s = now_s

    def settled(self) -> None:
        """Notes that a rebalance ended; every partition gets the whole patience anew."""
        self._rebalancing_since_s = None
        self._moved.clear()

    def stuck_rebalance(self, now_s: float) -> bool:
        """Says whether a rebalance has stood still for too long."""
        since_s = self._rebalancing_since_s
        return since_s is not None and now_s - since_s > self._patience_s

    def stuck_partitions(
        self, positions: Mapping[Partition, int], lag: Mapping[Partition, int], now_s: float
    ) -> list[Partition]:
        """Names the partitions that lag and whose position has not moved for too long; none during a rebalance."""
        if self._rebalancing_since_s is not None:
            return []
        stuck = []
        for partition, position in positions.items():
            last_position, since_s = self._moved.get(partition, (-1, now_s))
            if position != last_position or not lag[partition]:
                self._moved[partition] = position, now_s
            elif now_s - since_s > self._patience_s:
                stuck.append(partition)
        return stuck

    def rebalancing_s(self, now_s: float) -> float | None:
        """Returns for how long the present rebalance has recovered nothing, ``None`` where there is none."""
        return None if self._rebalancing_since_s is None else now_s - self._rebalancing_since_s

    def standing_s(self, now_s: float) -> dict[Partition, float]:
        """Returns for how long each partition has had something to read and has not moved."""
        return {partition: now_s - since_s for partition, (_, since_s) in self._moved.copy().items()}


class Watchdog:
    """Watches this worker from a thread and a broker connection of its own, which a stalled event loop cannot stop."""

    def __init__(self, kafka: Kafka, group: str, patience_s: float) -> None:
        self._kafka = kafka
        self._group = group
        self._patience_s = patience_s
        self._sources: dict[str, Positions] = {}
        self._assigned: frozenset[Partition] = frozenset()
        self._lag: dict[Partition, int] = {}
        self._standing_s: dict[Partition, float] = {}
        self._has_settled = False
        self._recovered_rows = 0
        self._standby_rows = 0
        self._standby_left: int | None = None
        self._recovery: Recovery | None = None
        self._answered_s = monotonic()
        self._standstill = Standstill(patience_s, monotonic())
        self._stopped = threading.Event()

    def watch(self, source: str, positions: Positions) -> None:
        """Adds a source topic; ``positions`` is called from the watchdog's thread."""
        self._sources[source] = positions

    def start(self) -> None:
        """Starts watching; from now on the first rebalance has to end in time."""
        self._answered_s = monotonic()
        self._standstill.rebalancing(monotonic())
        threading.Thread(target=self._run, name="watchdog", daemon=True).start()

    def stop(self) -> None:
        """Stops watching; a shutdown has a deadline of its own."""
        self._stopped.set()

    def rebalancing(self) -> None:
        """Takes note that a rebalance began."""
        self._standstill.rebalancing(monotonic())

    def assigned(self) -> None:
        """Takes note that partitions were assigned, whose changelogs will be read now."""
        self._recovery = Recovery(monotonic())

    def recovered(self, rows: int, offsets: int, left: int) -> None:
        """Takes note that rows were recovered, that a changelog moved by ``offsets``, and what all have left."""
        now_s = monotonic()
        self._recovered_rows += rows
        if self._recovery is not None:
            self._recovery = self._recovery.applied(rows, offsets, left, now_s)
        self._standstill.recovered(now_s)

    def followed(self, rows: int, left: int) -> None:
        """Takes note that rows were applied as another worker's standby, and what all standbys have left."""
        self._standby_rows += rows
        if self._standby_left is not None:
            self._stand_by(left)

    def _stand_by(self, left: int) -> None:
        if self._standby_left != 0 and left == 0:
            report(STANDBYS_READY, standby_rows=self._standby_rows)
        self._standby_left = left

    def settled(self, assignment: set[TP], standby_left: int | None = None) -> None:
        """Takes note that a rebalance ended and which partitions, of any topic, this worker has now.

        Args:
            standby_left: See :class:`Condition`.
        """
        self._assigned = frozenset((tp.topic, tp.partition) for tp in assignment if tp.topic in self._sources)
        self._standing_s = {}
        self._has_settled = True
        self._recovery = self._recovery and self._recovery.ended(monotonic())
        self._standstill.settled()
        self._standby_left = None
        if standby_left is not None:
            self._stand_by(standby_left)

    def condition(self) -> Condition:
        """Tells how the worker is; other threads may ask."""
        now_s = monotonic()
        return Condition(
            self._assigned if self._has_settled else None,
            self._standstill.rebalancing_s(now_s),
            self._standing_s,
            self._lag,
            now_s - self._answered_s,
            self._recovery,
            self._recovered_rows,
            self._standby_rows,
            self._standby_left,
        )

    def lag(self) -> dict[Partition, int]:
        """Returns by source topic and partition how many offsets this worker is behind, as of a few seconds ago."""
        return dict(self._lag)

    def _run(self) -> None:
        with Offsets(self._kafka, self._group, timeout_s=_INTERVAL_S) as offsets:
            while not self._stopped.wait(min(_INTERVAL_S, self._patience_s / 4)):
                self._look(offsets)

    def _look(self, offsets: Offsets) -> None:
        if self._standstill.stuck_rebalance(monotonic()):
            end_process(STALLED, f"no rebalance was completed, nor any row recovered, for {self._patience_s:g} s")
        assigned = self._assigned
        try:
            positions = self._positions(offsets, assigned)
            lag = {partition: max(0, offsets.coverage(*partition).end - positions[partition]) for partition in assigned}
        except KafkaException:
            return  # The broker does not answer: what cannot be read is no standstill of this worker's.
        self._lag, self._answered_s = lag, monotonic()
        stuck = self._standstill.stuck_partitions(positions, lag, self._answered_s)
        self._standing_s = self._standstill.standing_s(self._answered_s)
        for partition in stuck:
            self._end_if_readable(offsets, partition, positions[partition])

    def _positions(self, offsets: Offsets, assigned: frozenset[Partition]) -> dict[Partition, int]:
        """Says where each partition is: as its fold knows, or as was committed while no batch of it has come."""
        known = {source: positions() for source, positions in self._sources.items()}
        return {
            (topic, number): known[topic][number] if number in known[topic] else offsets.committed(topic, number)
            for topic, number in assigned
        }

    def _end_if_readable(self, offsets: Offsets, partition: Partition, position: int) -> None:
        topic, number = partition
        if offsets.next_record(topic, number, position) is not None:
            end_process(
                STALLED,
                f"{topic}[{number}] has {self._lag[partition]} records to read from offset {position} and none was "
                f"acknowledged for {self._patience_s:g} s",
            )
