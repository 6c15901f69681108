"""Functions that bring a record into a shape that a mapping can describe."""

from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import datetime
from types import MappingProxyType
from typing import Final

Record = Mapping[str, object]
"""A record of a foreign format: texts by column, or a JSON object."""

Hook = Callable[[Record], Record]


def flatten_params(record: Record) -> Record:
    """Turns the ``event_params`` of a GA4 export, a list of keys with a value of one of four types, into an object.

    >>> flatten_params({"event_params": [{"key": "search_term", "value": {"string_value": "mug", "int_value": None}}]})
    {'event_params': {'search_term': 'mug'}}
    """
    params = record.get("event_params")
    if not isinstance(params, list):
        return record
    values = {
        param["key"]: next((value for value in param["value"].values() if value is not None), None)
        for param in params
        if isinstance(param, dict) and isinstance(param.get("key"), str) and isinstance(param.get("value"), dict)
    }
    return {**record, "event_params": values}


def correct_skew(record: Record) -> Record:
    """Sets the ``timestamp`` of a Segment message as its servers do: ``receivedAt - (sentAt - originalTimestamp)``.

    A message that has both ``timestamp`` and ``originalTimestamp`` went through them already.

    >>> correct_skew(
    ...     {
    ...         "timestamp": "2026-01-01T12:00:00Z",
    ...         "sentAt": "2026-01-01T12:00:05Z",
    ...         "receivedAt": "2026-01-01T10:00:05Z",
    ...     }
    ... )["timestamp"]
    '2026-01-01T10:00:00+00:00'
    """
    given, original = record.get("timestamp"), record.get("originalTimestamp")
    if given and original:
        return record
    begun, sent, received = map(_moment, (given or original, record.get("sentAt"), record.get("receivedAt")))
    if begun is None:
        return record
    if sent is not None and received is not None:
        with suppress(OverflowError):  # then the time itself is refused
            begun = received - (sent - begun)
    return {**record, "timestamp": begun.isoformat()}


def _moment(value: object) -> datetime | None:
    """Parses an ISO time that has a zone; ``None`` if it is none, so that the mapping refuses it."""
    try:
        moment = datetime.fromisoformat(value) if isinstance(value, str) else None
    except ValueError:
        return None
    return moment if moment and moment.tzinfo else None


HOOKS: Final[Mapping[str, Hook]] = MappingProxyType({"ga4": flatten_params, "segment": correct_skew})
"""Hooks, by the names that mappings use."""
