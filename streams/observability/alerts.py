"""Alerts: reports conditions of a worker that an operator should know, once when they begin and once when they end."""

import logging
import threading
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Final

from streams.contract.fold import decode_partition_row
from streams.engine.global_tables import GlobalTableProgress
from streams.engine.incidents import Incident, report
from streams.engine.readers import by_place
from streams.engine.watchdog import Condition
from streams.engine.worker import FoldWorker
from streams.observability.event_time import EventTimeAlerts

RECOVERING: Final = Incident("recovering", logging.INFO)
DEAD_LETTERS: Final = Incident(
    "dead-letters",
    logging.WARNING,
    "read them: headrace dead-letters export; correct the producer and the events; then headrace dead-letters replay",
)
SKIPPED_OFFSETS: Final = Incident(
    "skipped-offsets",
    logging.WARNING,
    "retention removed them before they were read: raise retention.ms or add workers",
)
DUPLICATES_DROPPED: Final = Incident(
    "duplicates-dropped",
    logging.WARNING,
    "nothing is counted or learned twice; if it goes on without a worker that ended, see the runbook",
)
BROKER_UNREACHABLE: Final = Incident(
    "broker-unreachable", logging.ERROR, "check that the brokers run and can be reached from here"
)
BROKER_REACHABLE: Final = Incident("broker-reachable", logging.INFO)
PARTITIONS_STALLED: Final = Incident(
    "partitions-stalled",
    logging.WARNING,
    "nothing yet: the worker ends after engine.watchdog_s, and its supervisor starts it again",
)
PARTITIONS_RESUMED: Final = Incident("partitions-resumed", logging.INFO)
GLOBAL_TABLE_STALLED: Final = Incident(
    "global-table-stalled",
    logging.WARNING,
    "decisions use older items and models: check that the leaders of the topic's partitions are up",
)
GLOBAL_TABLE_CAUGHT_UP: Final = Incident("global-table-caught-up", logging.INFO)

TOPIC_CHANGED: Final = Incident(
    "topic-changed",
    logging.ERROR,
    "stop the workers and start them again: they take a topic that was made anew, or refuse and say what to do",
)
TOPIC_UNCHANGED: Final = Incident("topic-unchanged", logging.INFO)
UNREAD_PARTITION: Final = Incident(
    "unread-partition",
    logging.ERROR,
    "start a worker that runs the topic's fold: `headrace worker` without --fold runs all; see the runbook if one runs",
)
PARTITION_READ: Final = Incident("partition-read", logging.INFO)

_INTERVAL_S: Final = 2.0
_SILENCE_S: Final = 10.0
_CHECKS_PER_SUMMARY: Final = 30
"""The first dead letter of a reason is reported at once; later ones as a sum each minute, like other counts."""

_CHECKS_PER_RECOVERY_REPORT: Final = 5
"""The progress of a recovery is reported every ten seconds."""

_SKIPPED: Final = "skipped_offsets"
_DUPLICATES: Final = "duplicates."
_DEAD_LETTERS: Final = "dead_letters."


class AlertMonitor:
    """Regular comparison of a worker's condition with the previous one, on a thread of its own.

    Args:
        workers: Fold workers by source topic.
        condition: Returns the watchdog's condition.
        global_tables: Each returns the progress of a global table.
        stalled_s: How long a partition or global table may make no progress unreported.
    """

    def __init__(
        self,
        workers: Mapping[str, FoldWorker],
        condition: Callable[[], Condition],
        global_tables: Sequence[Callable[[], GlobalTableProgress]],
        stalled_s: float,
    ) -> None:
        self._workers = workers
        self._condition = condition
        self._global_tables = global_tables
        self._stalled_s = stalled_s
        self._open: set[tuple[str, str]] = set()
        self._counted: dict[str, Counter[str]] = {source: Counter() for source in workers}
        self._unreported: Counter[tuple[str, str]] = Counter()
        self._reported_at: dict[tuple[str, str], int] = {}
        self._event_time = EventTimeAlerts()
        self._checks = 0
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="alerts", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Ends the checks and reports the remaining counts."""
        self._stopping.set()
        self._thread.join()
        self._checks += _CHECKS_PER_SUMMARY
        self._count()

    def _run(self) -> None:
        while not self._stopping.wait(_INTERVAL_S):
            self.check()

    def check(self) -> None:
        self._checks += 1
        condition = self._condition()
        recovery = condition.recovery
        if recovery and not recovery.has_ended and self._checks % _CHECKS_PER_RECOVERY_REPORT == 0:
            report(RECOVERING, **recovery.facts())
        silent_s = condition.silent_s
        self._switch(silent_s > _SILENCE_S, BROKER_UNREACHABLE, BROKER_REACHABLE, "broker", seconds=round(silent_s))
        stalled = {place: s for place, s in condition.stalled_for_s.items() if s > self._stalled_s}
        places = ",".join(sorted(f"{topic}-{number}" for topic, number in stalled))
        seconds = round(max(stalled.values(), default=0.0))
        self._switch(bool(stalled), PARTITIONS_STALLED, PARTITIONS_RESUMED, "partitions", where=places, seconds=seconds)
        changed = {topic: {"why": why} for topic, why in condition.changed.items()}
        self._switch_each(changed, TOPIC_CHANGED, TOPIC_UNCHANGED)
        unread = {
            place: {"records": each.records, "seconds": round(each.seconds)}
            for place, each in by_place(condition.unread).items()
        }
        self._switch_each(unread, UNREAD_PARTITION, PARTITION_READ)
        for progress in [global_table() for global_table in self._global_tables]:
            # While no broker answers, only that is reported.
            stalls = progress.stalled_for_s > self._stalled_s and silent_s <= _SILENCE_S
            facts = {"seconds": round(progress.stalled_for_s), "lag": progress.lag}
            self._switch(stalls, GLOBAL_TABLE_STALLED, GLOBAL_TABLE_CAUGHT_UP, progress.topic, **facts)
        owned = {
            (source, number): opened
            for source, worker in self._workers.items()
            for number, opened in worker.partitions.copy().items()
        }
        self._event_time.forget(owned)
        for (source, number), opened in sorted(owned.items()):
            rows = decode_partition_row(opened.committed), decode_partition_row(opened.opened_with)
            self._event_time.check(source, number, *rows)
        self._count()

    def _switch_each(self, present: Mapping[str, Mapping[str, object]], begins: Incident, ends: Incident) -> None:
        """Reports what begins and what has ended, where one incident may be present for several things."""
        for what, facts in present.items():
            self._switch(True, begins, ends, what, **facts)
        for name, what in self._open.copy():
            if name == begins.name and what not in present:
                self._switch(False, begins, ends, what)

    def _switch(self, is_open: bool, begins: Incident, ends: Incident, what: str, **facts: object) -> None:
        key = begins.name, what
        if is_open and key not in self._open:
            self._open.add(key)
            report(begins, what=what, **facts)
        elif not is_open and key in self._open:
            self._open.remove(key)
            report(ends, what=what)

    def _count(self) -> None:
        """Adds up the counters since the last check, and reports those that are due."""
        for source, worker in self._workers.items():
            counts = Counter(worker.engine.progress.alert_counts.copy())
            for name, more in (counts - self._counted[source]).items():
                self._unreported[source, name] += more
            self._counted[source] = counts
        for key, count in list(self._unreported.items()):
            if self._checks - self._reported_at.get(key, -_CHECKS_PER_SUMMARY) >= _CHECKS_PER_SUMMARY:
                self._reported_at[key] = self._checks
                del self._unreported[key]
                self._report_count(*key, count)

    def _report_count(self, source: str, name: str, count: int) -> None:
        if name == _SKIPPED:
            report(SKIPPED_OFFSETS, topic=source, offsets=count)
        elif name.startswith(_DUPLICATES):
            report(DUPLICATES_DROPPED, topic=source, partition=name.removeprefix(_DUPLICATES), duplicates=count)
        else:
            report(DEAD_LETTERS, topic=source, reason=name.removeprefix(_DEAD_LETTERS), records=count)
