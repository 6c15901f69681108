"""Incidents: what a worker says of itself, each under a name of its own, with its facts and what to do.

There is one line for each. How it is laid out, and where it goes, is the business of whoever configures logging; the
runbook has an entry for each name.
"""

import json
import logging
from collections.abc import Mapping
from typing import Any, Final, NamedTuple

_log: Final = logging.getLogger(__name__)


class Incident(NamedTuple):
    """One kind of incident.

    Attributes:
        level: Of :mod:`logging`: ``INFO`` is the normal course, ``WARNING`` wants a look, ``ERROR`` a hand.
        todo: What whoever reads the line can do; empty where there is nothing to do.
    """

    name: str
    level: int
    todo: str = ""


WORKER_STARTS: Final = Incident("worker-starts", logging.INFO)
REBALANCE_BEGINS: Final = Incident("rebalance-begins", logging.INFO)
REBALANCE_ENDS: Final = Incident("rebalance-ends", logging.INFO)
RECOVERING: Final = Incident("recovering", logging.INFO)
STANDBYS_READY: Final = Incident("standbys-ready", logging.INFO)
WORKER_STOPS: Final = Incident("worker-stops", logging.INFO)
WORKER_ENDS: Final = Incident(
    "worker-ends", logging.CRITICAL, "nothing unfinished was acknowledged: start it again once `why` is dealt with"
)
TRANSACTION_HUNG: Final = Incident("transaction-hung", logging.WARNING)
DEAD_LETTERS: Final = Incident(
    "dead-letters",
    logging.WARNING,
    "see what came: headrace dead-letters export; mend the producer and the events, then headrace dead-letters replay",
)
SKIPPED_OFFSETS: Final = Incident(
    "skipped-offsets",
    logging.WARNING,
    "retention removed them before they were read: raise retention.ms, add workers",
)
BROKER_SILENT: Final = Incident("broker-silent", logging.ERROR, "see that the brokers run and can be reached from here")
BROKER_BACK: Final = Incident("broker-back", logging.INFO)
STANDING_STILL: Final = Incident(
    "standing-still", logging.WARNING, "nothing yet: it ends after engine.watchdog_s, to be started again"
)
MOVING_AGAIN: Final = Incident("moving-again", logging.INFO)
SNAPSHOT_REFUSED: Final = Incident(
    "snapshot-refused",
    logging.WARNING,
    "the last good one serves: give all workers the same settings, or find who else writes to the topic",
)
EXPERIMENT_REFUSED: Final = Incident(
    "experiment-refused",
    logging.WARNING,
    "the shares before it stay in force: set others with `headrace experiment set`, which checks them",
)
FEED_STALLED: Final = Incident(
    "feed-stalled", logging.WARNING, "decisions go on with older items and models: see that the feed's leader is up"
)
FEED_CAUGHT_UP: Final = Incident("feed-caught-up", logging.INFO)

INCIDENTS: Final = (
    WORKER_STARTS,
    REBALANCE_BEGINS,
    RECOVERING,
    REBALANCE_ENDS,
    STANDBYS_READY,
    WORKER_STOPS,
    WORKER_ENDS,
    TRANSACTION_HUNG,
    DEAD_LETTERS,
    SKIPPED_OFFSETS,
    BROKER_SILENT,
    BROKER_BACK,
    STANDING_STILL,
    MOVING_AGAIN,
    SNAPSHOT_REFUSED,
    EXPERIMENT_REFUSED,
    FEED_STALLED,
    FEED_CAUGHT_UP,
)


def report(incident: Incident, **facts: Any) -> None:
    """Logs one line about an incident.

    Args:
        facts: What happened, by name, in the order that they are shown in.
    """
    _log.log(
        incident.level,
        "%s %s",
        incident.name,
        key_values(facts),
        extra={"incident": incident.name, "facts": facts, "todo": incident.todo},
    )


def is_heard() -> bool:
    """Says whether anybody has configured logging."""
    return _log.hasHandlers()


def key_values(facts: Mapping[str, Any]) -> str:
    """Writes facts as ``key=value``; what has blanks, quotes or line ends in it is quoted as in JSON.

    >>> key_values({"partitions": 4, "why": "no broker", "seconds": 0.25})
    'partitions=4 why="no broker" seconds=0.25'
    """
    return " ".join(f"{name}={_value(value)}" for name, value in facts.items())


def _value(value: Any) -> str:
    text = str(value)
    plain = text.isprintable() and text and not set(text) & set(' "=\\')
    return text if plain else json.dumps(text, ensure_ascii=False)
