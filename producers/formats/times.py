"""Times of foreign formats as milliseconds since the epoch, UTC."""

import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from functools import lru_cache
from typing import Final
from zoneinfo import ZoneInfo

from producers.formats.mapping import Time, Unit
from streams.contract.events import EARLIEST_TIMESTAMP_MS, LATEST_TIMESTAMP_MS

MS_PER_UNIT: Final[dict[Unit, Decimal]] = {
    "s": Decimal(1000),
    "ms": Decimal(1),
    "us": Decimal("0.001"),
    "ns": Decimal("0.000001"),
}
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND: Final = timedelta(milliseconds=1)
_LIKELY_SINCE_MS: Final = 315_532_800_000  # 1980-01-01
_KEPT: Final = 4096
_NUMBER: Final = re.compile(r"[-+]?(\d{1,30}(\.\d{0,30})?|\.\d{1,30})([eE][-+]?\d{1,3})?", re.ASCII)
_MAX_DIGITS: Final = 30


class BadTime(ValueError):
    """A text that is no time, with the reason and what to change."""


def time_parser(declared: Time) -> Callable[[str], int]:
    """Returns a function that parses the texts of a format's time."""
    if declared.unit is not None:
        unit = declared.unit
        return lambda text: checked_ms(duration_ms(text, unit), text, unit)
    zone = ZoneInfo(declared.zone)
    pattern = declared.format
    if pattern == "iso":
        parse, expected = _from_iso, "an ISO time such as 2026-01-31 13:05:00"
    else:
        parse, expected = (lambda text: datetime.strptime(text, pattern)), f"of the format {pattern!r}"  # noqa: DTZ007  # the zone follows

    @lru_cache(_KEPT)
    def parsed(text: str) -> int:
        try:
            local = parse(text)
        except (ValueError, OverflowError) as error:
            raise BadTime(f"the time {text[:40]!r} is not {expected}; {_advice(text)}") from error
        aware = local if local.tzinfo else local.replace(tzinfo=zone)
        return checked_ms((aware - _EPOCH) // _MILLISECOND, text, None)

    return parsed


def duration_ms(text: str, unit: Unit) -> int:
    """Parses a number of a unit, rounded down to milliseconds.

    >>> duration_ms("1396436816.33", "s"), duration_ms("1611100800000123", "us")
    (1396436816330, 1611100800000)
    """
    number = _decimal(text)
    if number is None:
        raise BadTime(f"the time {text[:40]!r} is not a number of {unit}; {_advice(text)}")
    return int((number * MS_PER_UNIT[unit]).to_integral_value(rounding="ROUND_FLOOR"))


def _decimal(text: str) -> Decimal | None:
    """Parses a number of a usual size; ``None`` for anything else, such as one of a million digits."""
    if not _NUMBER.fullmatch(text):
        return None
    number = Decimal(text)
    return number if -_MAX_DIGITS <= number.adjusted() <= _MAX_DIGITS else None


def _from_iso(text: str) -> datetime:
    return datetime.fromisoformat(text.removesuffix(" UTC") + "+00:00" if text.endswith(" UTC") else text)


def checked_ms(timestamp_ms: int, text: str, unit: Unit | None) -> int:
    """Returns a time of an event as it is.

    Raises:
        BadTime: No event can have it; the message says in which unit ``text`` would be one.
    """
    if EARLIEST_TIMESTAMP_MS <= timestamp_ms <= LATEST_TIMESTAMP_MS:
        return timestamp_ms
    given = f"in {unit} " if unit else ""
    advice = f"; {_advice(text)}" if unit else ""
    raise BadTime(f"the time {text[:40]!r} {given}is not between 1970-02-17 and 2100{advice}")


def _advice(text: str) -> str:
    """Says in which unit or format a text is a time."""
    number = _decimal(text)
    if number is not None:
        for unit, factor in MS_PER_UNIT.items():
            at_ms = number * factor
            if _LIKELY_SINCE_MS <= at_ms <= LATEST_TIMESTAMP_MS:
                date = (_EPOCH + timedelta(milliseconds=int(at_ms))).date()
                return f'with unit = "{unit}" under [time] it would be {date}'
        return "it is no time since the epoch in any unit"
    try:
        _from_iso(text)
    except ValueError:
        return 'describe it under [time] as format = "%d/%m/%Y %H:%M" or the like'
    return 'remove unit and format under [time], or set format = "iso"'
