"""How a worker's log looks: one line an incident, as ``key=value`` or as JSON, and a bound on what libraries say."""

import json
import logging
from datetime import UTC, datetime
from math import inf
from typing import Any, Final, Literal, NamedTuple

from streams.engine import incidents
from streams.engine.incidents import key_values

_REPEAT_S: Final = 10.0
_SELDOM_S: Final = 600.0
_MAX_KEPT: Final = 1000


def log_configuration(form: Literal["text", "json"], level: str, incident_level: str = "info") -> dict[str, Any]:
    """Builds the configuration of :mod:`logging` for a worker's process; all goes to standard error.

    Args:
        level: From which on the libraries are heard, in lower case.
        incident_level: The same of incidents.
    """
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "filters": {"bounded": {"()": Bounded}},
        "formatters": {"line": {"()": JsonLines if form == "json" else KeyValues}},
        "handlers": {
            "stderr": {
                "class": "logging.StreamHandler",
                "stream": "ext://sys.__stderr__",
                "filters": ["bounded"],
                "formatter": "line",
            }
        },
        "root": {"level": level.upper(), "handlers": ["stderr"]},
        "loggers": {incidents.__name__: {"level": incident_level.upper()}},
    }


class Bounded(logging.Filter):
    """Lets a repeated message of a library pass ever more seldom, whatever its arguments; incidents always pass.

    A broker that is down makes aiokafka log each of many attempts: they pass after ten seconds, twenty more, forty
    more, up to ten minutes; what was held back is counted with the next. One that stayed away for longer is new again.
    """

    def __init__(self) -> None:
        super().__init__()
        self._passed: dict[tuple[str, int, str], _Passed] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        """Decides by the record's own time."""
        if hasattr(record, "incident"):
            return True
        key = (record.name, record.levelno, str(record.msg))
        last = self._passed.get(key, _Passed())
        if record.created - last.seen_s > last.wait_s:
            last = _Passed(held_back=last.held_back)
        if record.created - last.at_s < last.wait_s:
            self._passed[key] = last._replace(seen_s=record.created, held_back=last.held_back + 1)
            return False
        if len(self._passed) >= _MAX_KEPT:
            self._passed.clear()
        self._passed[key] = _Passed(record.created, min(last.wait_s * 2, _SELDOM_S), record.created)
        record.held_back = last.held_back
        return True


class _Passed(NamedTuple):
    """When a message passed, how long it waits from then, when it came last, and how often it was held back since."""

    at_s: float = -inf
    wait_s: float = _REPEAT_S / 2
    seen_s: float = -inf
    held_back: int = 0


class KeyValues(logging.Formatter):
    """``time=... level=... incident=... todo="..."``: one line, whatever is in it."""

    def format(self, record: logging.LogRecord) -> str:
        return key_values(_fields(self, record))


class JsonLines(logging.Formatter):
    """The same as one JSON object a line."""

    def format(self, record: logging.LogRecord) -> str:
        return json.dumps(_fields(self, record), default=str)


def _fields(formatter: logging.Formatter, record: logging.LogRecord) -> dict[str, Any]:
    moment = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
    fields: dict[str, Any] = {"time": moment.replace("+00:00", "Z"), "level": record.levelname.lower()}
    incident = getattr(record, "incident", None)
    if incident is not None:
        fields |= {"incident": incident, **record.__dict__["facts"]}
        if todo := record.__dict__["todo"]:
            fields["todo"] = todo
    else:
        fields |= {"logger": record.name, "message": record.getMessage()}
        if held_back := getattr(record, "held_back", 0):
            fields["held_back"] = held_back
    if record.exc_info:
        fields["error"] = formatter.formatException(record.exc_info)
    return fields
