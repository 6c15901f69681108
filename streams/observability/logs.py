"""Log format of a worker: one line per incident, as ``key=value`` or JSON, and a limit on libraries' repetitions."""

import json
import logging
from datetime import UTC, datetime
from math import inf
from typing import Any, Final, Literal, NamedTuple

from streams.engine import incidents
from streams.engine.incidents import key_values

_REPEAT_S: Final = 10.0
_MAX_WAIT_S: Final = 600.0
_MAX_MESSAGES: Final = 1000


def log_configuration(form: Literal["text", "json"], level: str, incident_level: str = "info") -> dict[str, Any]:
    """Builds the configuration of :mod:`logging` for a worker's process; all lines go to standard error.

    Args:
        level: Lowest level of libraries' messages, in lower case.
        incident_level: Lowest level of incidents.
    """
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "filters": {"repeats": {"()": RepeatFilter}},
        "formatters": {"line": {"()": JsonLines if form == "json" else KeyValues}},
        "handlers": {
            "stderr": {
                "class": "logging.StreamHandler",
                "stream": "ext://sys.__stderr__",
                "filters": ["repeats"],
                "formatter": "line",
            }
        },
        "root": {"level": level.upper(), "handlers": ["stderr"]},
        "loggers": {incidents.__name__: {"level": incident_level.upper()}},
    }


class RepeatFilter(logging.Filter):
    """Filter that passes a library's repeated message at growing intervals, whatever its arguments, and all incidents.

    While a broker is down, aiokafka logs every attempt to connect. Such a message passes after 10 s, another 20 s,
    another 40 s, up to 10 min; the number of suppressed ones is logged with the next. After a longer pause the message
    is new again.
    """

    def __init__(self) -> None:
        super().__init__()
        self._passed: dict[tuple[str, int, str], _Passed] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        """Decides by the record's own time stamp."""
        if hasattr(record, "incident"):
            return True
        key = (record.name, record.levelno, str(record.msg))
        last = self._passed.get(key, _Passed())
        if record.created - last.seen_s > last.wait_s:
            last = _Passed(suppressed=last.suppressed)
        if record.created - last.at_s < last.wait_s:
            self._passed[key] = last._replace(seen_s=record.created, suppressed=last.suppressed + 1)
            return False
        if len(self._passed) >= _MAX_MESSAGES:
            self._passed.clear()
        self._passed[key] = _Passed(record.created, min(last.wait_s * 2, _MAX_WAIT_S), record.created)
        record.suppressed = last.suppressed
        return True


class _Passed(NamedTuple):
    """Record of a message that passed.

    Attributes:
        at_s: When it passed.
        wait_s: How long it is suppressed from then.
        seen_s: When it last came.
        suppressed: How often it was suppressed since.
    """

    at_s: float = -inf
    wait_s: float = _REPEAT_S / 2
    seen_s: float = -inf
    suppressed: int = 0


class KeyValues(logging.Formatter):
    """Formatter of ``time=... level=... incident=... todo="..."``, always one line."""

    def format(self, record: logging.LogRecord) -> str:
        return key_values(_fields(self, record))


class JsonLines(logging.Formatter):
    """Formatter of the same fields as one JSON object per line."""

    def format(self, record: logging.LogRecord) -> str:
        return json.dumps(_fields(self, record), default=str)


def _fields(formatter: logging.Formatter, record: logging.LogRecord) -> dict[str, Any]:
    timestamp = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
    fields: dict[str, Any] = {"time": timestamp.replace("+00:00", "Z"), "level": record.levelname.lower()}
    incident = getattr(record, "incident", None)
    if incident is not None:
        fields |= {"incident": incident, **record.__dict__["facts"]}
        if todo := record.__dict__["todo"]:
            fields["todo"] = todo
    else:
        fields |= {"logger": record.name, "message": record.getMessage()}
        if suppressed := getattr(record, "suppressed", 0):
            fields["suppressed"] = suppressed
    if record.exc_info:
        fields["error"] = formatter.formatException(record.exc_info)
    return fields
