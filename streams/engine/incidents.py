"""Incidents: log lines of a worker, each with a name, its facts and the operator's next step.

The runbook has an entry for each name. The modules that report an incident define it; those of the engine are here.
"""

import json
import logging
from collections.abc import Mapping
from typing import Any, Final, NamedTuple

_log: Final = logging.getLogger(__name__)


class Incident(NamedTuple):
    """One kind of incident.

    Attributes:
        level: Of :mod:`logging`: ``INFO`` is normal operation, ``WARNING`` should be looked at, ``ERROR`` needs action.
        todo: The operator's next step; empty if there is none.
    """

    name: str
    level: int
    todo: str = ""


WORKER_STARTS: Final = Incident("worker-starts", logging.INFO)
REBALANCE_BEGINS: Final = Incident("rebalance-begins", logging.INFO)
REBALANCE_ENDS: Final = Incident("rebalance-ends", logging.INFO)
STANDBYS_READY: Final = Incident("standbys-ready", logging.INFO)
WORKER_STOPS: Final = Incident("worker-stops", logging.INFO)
TOPICS_DIFFER: Final = Incident(
    "topics-differ", logging.WARNING, "see what it leads to; `headrace topics create` prints the commands that mend it"
)
TOPICS_NOT_COMPARED: Final = Incident(
    "topics-not-compared", logging.WARNING, "let the worker describe the configuration of its topics"
)
UNPROTECTED_TIME: Final = Incident(
    "unprotected-time",
    logging.WARNING,
    "let the broker stamp the records: set message.timestamp.type=LogAppendTime, as `headrace topics create` prints",
)
READERS_UNKNOWN: Final = Incident(
    "readers-unknown",
    logging.WARNING,
    "nobody would notice if these topics were not read: allow the worker to describe the group",
)
WORKER_ENDS: Final = Incident(
    "worker-ends", logging.CRITICAL, "nothing unfinished was acknowledged: remove the cause in `why` and start it again"
)
TRANSACTION_HUNG: Final = Incident("transaction-hung", logging.WARNING)
GLOBAL_TABLE_RECORD_REFUSED: Final = Incident(
    "global-table-record-refused",
    logging.WARNING,
    "the last valid record stays in use: give all workers the same settings, or find out who else writes to the topic",
)
CHANGELOG_RECORD_REFUSED: Final = Incident(
    "changelog-record-refused",
    logging.WARNING,
    "the row stays as it was before that record: find out who else writes to the changelog",
)
UNREADABLE_ROW: Final = Incident(
    "unreadable-row",
    logging.ERROR,
    "the row begins anew: find out who else writes to the changelog, or which version wrote the row",
)
SOURCE_MADE_ANEW: Final = Incident(
    "source-made-anew",
    logging.WARNING,
    "nothing if that was meant: the rows are kept, and take all new records; `begin_anew` has the commands otherwise",
)
SETTING_CHANGED: Final = Incident(
    "setting-changed",
    logging.WARNING,
    "nothing if that was meant: the rows are taken as they are; otherwise set it back on all workers",
)
_MAX_REPORTS: Final = 100


class RefusedRecords:
    """Reports records of a topic that cannot be used, each kind once."""

    def __init__(self, incident: Incident, topic: str) -> None:
        self._incident = incident
        self._topic = topic
        self._reported: set[str] = set()

    def add(self, what: str, why: str) -> None:
        """Reports a refused record, unless its kind was reported before."""
        if what not in self._reported and len(self._reported) < _MAX_REPORTS:
            self._reported.add(what)
            report(self._incident, topic=self._topic, what=what, why=why)


def report(incident: Incident, **facts: Any) -> None:
    """Logs an incident.

    Args:
        facts: By name, in the order of the line.
    """
    _log.log(
        incident.level,
        "%s %s",
        incident.name,
        key_values(facts),
        extra={"incident": incident.name, "facts": facts, "todo": incident.todo},
    )


def key_values(facts: Mapping[str, Any]) -> str:
    """Formats facts as ``key=value``; values with blanks, quotes or line ends are quoted as in JSON.

    >>> key_values({"partitions": 4, "why": "no broker", "seconds": 0.25})
    'partitions=4 why="no broker" seconds=0.25'
    """
    return " ".join(f"{name}={_value(value)}" for name, value in facts.items())


def _value(value: Any) -> str:
    text = str(value)
    plain = text.isprintable() and text and not set(text) & set(' "=\\')
    return text if plain else json.dumps(text, ensure_ascii=False)
