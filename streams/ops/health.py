"""Whether a worker is well, and whether it is ready: judged from what its watchdog saw."""

from collections.abc import Callable
from typing import Any, Final, NamedTuple

from streams.engine.recovery import Recovery
from streams.engine.watchdog import Condition

_SILENCE_S: Final = 15.0
"""The watchdog asks every two seconds, and a broker may take as long to answer."""


class Verdict(NamedTuple):
    """An answer, and the sentences that say why it is no; none where it is yes."""

    why: tuple[str, ...]

    @property
    def is_good(self) -> bool:
        return not self.why


class Health:
    """Answers for one worker, from any thread.

    Args:
        is_started: Whether the feeds are read and the agents may begin; no more once it is told to stop.
        condition: Asks the watchdog.
        stalled_s: A worker that has something to read, and has not moved for so long, is not well.
    """

    def __init__(self, is_started: Callable[[], bool], condition: Callable[[], Condition], stalled_s: float) -> None:
        self._is_started = is_started
        self._condition = condition
        self._stalled_s = stalled_s

    def progress(self) -> Verdict:
        """Says whether the worker moves.

        A broker that does not answer is no fault of the worker's, and to start the worker again would mend nothing.
        """
        condition = self._condition()
        if not self._is_started():
            return Verdict(())
        why = []
        if condition.rebalancing_s is not None and condition.rebalancing_s > self._stalled_s:
            why.append(f"a rebalance has recovered nothing for {condition.rebalancing_s:.0f} s")
        for (topic, number), standing_s in sorted(condition.standing_s.items()):
            if standing_s > self._stalled_s:
                lag = condition.lag.get((topic, number), 0)
                why.append(f"{topic}[{number}] has {lag} records to read and has not moved for {standing_s:.0f} s")
        return Verdict(tuple(why))

    def readiness(self) -> Verdict:
        """Says whether the worker has its partitions, their rows and its feeds, and reaches the broker."""
        condition = self._condition()
        if not self._is_started():
            return Verdict(("the worker has not read its feeds yet, or is stopping",))
        why = list(self.progress().why)
        if condition.assigned is None and condition.recovery is None:
            why.append("no partition was assigned yet")
        elif condition.rebalancing_s is not None:
            why.append(f"partitions are being assigned and their rows recovered{_progress(condition.recovery)}")
        if condition.silent_s > _SILENCE_S:
            why.append(f"the broker has not answered for {condition.silent_s:.0f} s")
        return Verdict(tuple(why))

    def facts(self) -> dict[str, Any]:
        """Returns what both answers are judged by."""
        condition = self._condition()
        return {
            "is_started": self._is_started(),
            "partitions": sorted(f"{topic}-{number}" for topic, number in condition.assigned or ()),
            "lag": sum(condition.lag.values()),
            "rebalancing_s": None if condition.rebalancing_s is None else round(condition.rebalancing_s, 1),
            "recovery": condition.recovery and condition.recovery.facts(),
            "standby_left": condition.standby_left,
            "broker_silent_s": round(condition.silent_s, 1),
        }


def _progress(recovery: Recovery | None) -> str:
    return f": {recovery}" if recovery and not recovery.has_ended else ""
