"""Health and readiness of a worker, derived from the condition that its watchdog reports."""

from collections.abc import Callable, Collection
from typing import Any, Final

from streams.engine.readers import by_place
from streams.engine.recovery import Recovery
from streams.engine.watchdog import Condition

_SILENCE_S: Final = 15.0
"""The watchdog asks every two seconds, and a broker may be slow to answer."""


class Health:
    """Health and readiness of one worker; callable from any thread.

    Args:
        is_started: Returns whether the global tables are read and the worker is not stopping.
        condition: Returns the watchdog's condition.
        stalled_s: A worker that has records to read and has made no progress for this long is unhealthy.
        sources: Topics that workers with the same folds read.
    """

    def __init__(
        self,
        is_started: Callable[[], bool],
        condition: Callable[[], Condition],
        stalled_s: float,
        sources: Collection[str],
    ) -> None:
        self._is_started = is_started
        self._condition = condition
        self._stalled_s = stalled_s
        self._sources = sources

    def reasons_unhealthy(self) -> list[str]:
        """Returns the reasons to start the worker again; none if it is healthy.

        After a restart the group's partitions are assigned anew. It would not help where a broker does not answer, or
        where nobody reads the source of a fold that other workers run: then the worker is not ready.
        """
        condition = self._condition()
        if not self._is_started():
            return []
        why = [f"{topic} {what}" for topic, what in sorted(condition.changed.items())]
        if condition.rebalancing_s is not None and condition.rebalancing_s > self._stalled_s:
            why.append(f"a rebalance has recovered no row for {condition.rebalancing_s:.0f} s")
        for (topic, number), stalled_for_s in sorted(condition.stalled_for_s.items()):
            if stalled_for_s > self._stalled_s:
                lag = condition.lag.get((topic, number), 0)
                why.append(f"{topic}[{number}] has {lag} records to read and has not moved for {stalled_for_s:.0f} s")
        return why + self._unread(condition, own=True)

    def reasons_not_ready(self) -> list[str]:
        """Returns what is lacking of partitions, their rows, global tables, the broker's answers, and other workers."""
        condition = self._condition()
        if not self._is_started():
            return ["the worker has not read its global tables yet, or is stopping"]
        why = self.reasons_unhealthy()
        if condition.assigned is None and condition.recovery is None:
            why.append("no partition has been assigned yet")
        elif condition.rebalancing_s is not None:
            why.append(f"partitions are being assigned and their rows recovered{_progress(condition.recovery)}")
        if condition.silent_s > _SILENCE_S:
            why.append(f"the broker has not answered for {condition.silent_s:.0f} s")
        return why + self._unread(condition, own=False)

    def _unread(self, condition: Condition, *, own: bool) -> list[str]:
        return [
            f"{topic}[{number}] has {unread.records} records that nobody has read for {unread.seconds:.0f} s"
            for (topic, number), unread in sorted(condition.unread.items())
            if (topic in self._sources) == own
        ]

    def facts(self) -> dict[str, Any]:
        """Returns the figures behind both checks."""
        condition = self._condition()
        unread = {place: each.records for place, each in by_place(condition.unread).items()}
        return {
            "is_started": self._is_started(),
            "partitions": sorted(f"{topic}-{number}" for topic, number in condition.assigned or ()),
            # Of this worker's partitions and of those that nobody has.
            "lag": sum(condition.lag.values()) + sum(unread.values()),
            "unread": unread,
            "rebalancing_s": None if condition.rebalancing_s is None else round(condition.rebalancing_s, 1),
            "recovery": condition.recovery and condition.recovery.facts(),
            "standby_left": condition.standby_left,
            "broker_silent_s": round(condition.silent_s, 1),
        }


def _progress(recovery: Recovery | None) -> str:
    return f": {recovery}" if recovery and not recovery.has_ended else ""
