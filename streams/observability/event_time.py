"""Incidents of event time: many late events in a partition, and a watermark that jumped."""

import logging
from collections.abc import Collection
from datetime import UTC, datetime
from typing import Final

from streams.contract.fold import PartitionRow
from streams.engine.incidents import Incident, report

LATE_EVENTS: Final = Incident(
    "late-events",
    logging.WARNING,
    "nothing is predicted or decided at them: find the producer whose clock is ahead, or the old events that it sends",
)
WATERMARK_JUMPED: Final = Incident(
    "watermark-jumped",
    logging.WARNING,
    "if the shop was not closed for so long, events of the old time are late now: find who sent the event",
)

_MANY: Final = 100
_SHARE: Final = 0.1
_CHECKS_PER_SUMMARY: Final = 30


class EventTimeAlerts:
    """Comparison of partitions' totals with those of a minute ago.

    The totals survive the worker, so what a partition had when this worker opened it is not reported.
    """

    def __init__(self) -> None:
        self._jumps: dict[tuple[str, int], int] = {}
        self._summed: dict[tuple[str, int], tuple[int, int, int]] = {}

    def forget(self, owned: Collection[tuple[str, int]]) -> None:
        """Forgets the partitions that this worker has no more; another one reports what is new in them."""
        for totals in (self._jumps, self._summed):
            for place in totals.keys() - owned:
                del totals[place]

    def check(self, source: str, number: int, row: PartitionRow, opened_with: PartitionRow) -> None:
        """Reports what is new in a partition's row; it is called every two seconds."""
        place, counts, before = (source, number), row.counts, opened_with.counts
        jumps = counts.get("watermark_jumps", 0)
        if jumps > self._jumps.setdefault(place, before.get("watermark_jumps", 0)):
            self._jumps[place] = jumps
            reached = datetime.fromtimestamp(row.watermark_ms / 1000.0, UTC).isoformat(timespec="seconds")
            report(WATERMARK_JUMPED, topic=source, partition=number, watermark=reached)
        late, applied = counts.get("late", 0), counts.get("applied", 0)
        first = 0, before.get("late", 0), before.get("applied", 0)
        checks, late_before, applied_before = self._summed.setdefault(place, first)
        if checks + 1 < _CHECKS_PER_SUMMARY:
            self._summed[place] = checks + 1, late_before, applied_before
            return
        self._summed[place] = 0, late, applied
        n_late, n_applied = late - late_before, applied - applied_before
        if n_late >= _MANY and n_late >= _SHARE * n_applied:
            report(LATE_EVENTS, topic=source, partition=number, late=n_late, applied=n_applied)
