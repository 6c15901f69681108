"""Looks at a worker now and then, and reports what a person should know of: once when it begins, not once a record."""

import threading
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Final

from streams.engine.feeds import FeedProgress
from streams.engine.incidents import (
    BROKER_BACK,
    BROKER_SILENT,
    DEAD_LETTERS,
    FEED_CAUGHT_UP,
    FEED_STALLED,
    MOVING_AGAIN,
    RECOVERING,
    SKIPPED_OFFSETS,
    STANDING_STILL,
    Incident,
    report,
)
from streams.engine.watchdog import Condition
from streams.engine.worker import FoldWorker

_LOOK_S: Final = 2.0
_SILENCE_S: Final = 10.0
_LOOKS_A_SUMMARY: Final = 30
"""Dead letters and skipped offsets are summed up for a minute; the first of a reason is told at once."""

_LOOKS_A_RECOVERY: Final = 5
"""How far a recovery is, is told every ten seconds."""

_SKIPPED: Final = "skipped_offsets"
_DEAD_LETTERS: Final = "dead_letters."


class Lookout:
    """Compares what it sees with what it saw before, on a thread of its own.

    Args:
        workers: The folds by their source topic.
        condition: Asks the watchdog.
        feeds: Asks each feed how far it has come, by topic.
        stalled_s: How long something may stand still unreported.
    """

    def __init__(
        self,
        workers: Mapping[str, FoldWorker],
        condition: Callable[[], Condition],
        feeds: Sequence[Callable[[], FeedProgress]],
        stalled_s: float,
    ) -> None:
        self._workers = workers
        self._condition = condition
        self._feeds = feeds
        self._stalled_s = stalled_s
        self._open: set[tuple[str, str]] = set()
        self._noted: dict[str, Counter[str]] = {source: Counter() for source in workers}
        self._unreported: Counter[tuple[str, str]] = Counter()
        self._told_at_look: dict[tuple[str, str], int] = {}
        self._looks = 0
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="lookout", daemon=True)

    def start(self) -> None:
        """Starts to look."""
        self._thread.start()

    def stop(self) -> None:
        """Looks once more, and ends."""
        self._stopping.set()
        self._thread.join()
        self._looks += _LOOKS_A_SUMMARY
        self._count()

    def _run(self) -> None:
        while not self._stopping.wait(_LOOK_S):
            self.look()

    def look(self) -> None:
        """Looks once."""
        self._looks += 1
        condition = self._condition()
        recovery = condition.recovery
        if recovery and not recovery.has_ended and self._looks % _LOOKS_A_RECOVERY == 0:
            report(RECOVERING, **recovery.facts())
        silent_s = condition.silent_s
        self._switch(silent_s > _SILENCE_S, BROKER_SILENT, BROKER_BACK, "broker", seconds=round(silent_s))
        standing = {place: s for place, s in condition.standing_s.items() if s > self._stalled_s}
        places = ",".join(sorted(f"{topic}-{number}" for topic, number in standing))
        seconds = round(max(standing.values(), default=0.0))
        self._switch(bool(standing), STANDING_STILL, MOVING_AGAIN, "partitions", where=places, seconds=seconds)
        for progress in [feed() for feed in self._feeds]:
            # Where no broker answers, that is what there is to be told.
            stalls = progress.standing_s > self._stalled_s and silent_s <= _SILENCE_S
            facts = {"seconds": round(progress.standing_s), "lag": progress.lag}
            self._switch(stalls, FEED_STALLED, FEED_CAUGHT_UP, progress.topic, **facts)
        self._count()

    def _switch(self, is_open: bool, begins: Incident, ends: Incident, what: str, **facts: object) -> None:
        key = begins.name, what
        if is_open and key not in self._open:
            self._open.add(key)
            report(begins, what=what, **facts)
        elif not is_open and key in self._open:
            self._open.remove(key)
            report(ends, what=what)

    def _count(self) -> None:
        """Adds up what was noted since the last look, and reports what is due."""
        for source, worker in self._workers.items():
            noted = Counter(worker.engine.progress.noted.copy())
            for name, more in (noted - self._noted[source]).items():
                self._unreported[source, name] += more
            self._noted[source] = noted
        for key, count in list(self._unreported.items()):
            if self._looks - self._told_at_look.get(key, -_LOOKS_A_SUMMARY) >= _LOOKS_A_SUMMARY:
                self._told_at_look[key] = self._looks
                del self._unreported[key]
                self._tell(*key, count)

    def _tell(self, source: str, name: str, count: int) -> None:
        if name == _SKIPPED:
            report(SKIPPED_OFFSETS, topic=source, offsets=count)
        else:
            report(DEAD_LETTERS, topic=source, reason=name.removeprefix(_DEAD_LETTERS), records=count)
