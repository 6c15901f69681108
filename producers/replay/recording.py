"""A recorded file, checked before any of its events is used."""

from collections import Counter
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, NamedTuple

from producers.delimited import LeftOut
from producers.formats.reader import Located
from streams.contract.errors import UnreadableSource
from streams.contract.events import Event

Reader = Callable[[Path, LeftOut], Iterator[Located]]
"""Function that reads a file lazily and gives what is no event to the second argument."""

Watch = Callable[[Iterator[Located]], Iterator[Located]]
"""Function that yields the events that it is given, and shows how many there were."""

IMPLAUSIBLE_SHARE: Final = 0.01
"""At most this share of a file's events, at each end of its time, may be implausible."""

MIN_GAP_MS: Final = 86_400_000
_MIN_EVENTS: Final = 20
_MINUTE_MS: Final = 60_000


class Recording(NamedTuple):
    """A file that was read once to its end.

    Attributes:
        path: Can be read again.
        first_ms: Earliest plausible time, rounded down to the minute.
        last_ms: Latest plausible time, rounded up to the minute.
        left_out: Bad rows, events of implausible times, and events of names without a kind.
        kinds: Number of events by kind.
        is_ordered: Whether no event is earlier than one before it.
    """

    path: Path
    read: Reader
    first_ms: int
    last_ms: int
    left_out: LeftOut
    kinds: Counter[str]
    is_ordered: bool

    @property
    def n_events(self) -> int:
        """Number of events, without those that are left out."""
        return self.kinds.total()

    def events(self) -> Iterator[Event]:
        """Reads the events again, in the order of the file, without those that are left out."""
        for _, event in self.read(self.path, LeftOut()):
            if self.first_ms <= event.timestamp_ms <= self.last_ms:
                yield event


def plausible_range(minutes: Counter[int]) -> tuple[int, int]:
    """Returns the first and the last plausible minute of a file with events.

    A few events are implausible if they are far from all others: at most 1 % of the events, before or after a gap that
    is longer than a day and than the time in which the middle 98 % lie. A file of fewer than 20 events has none.

    Args:
        minutes: Number of events by the minute.

    >>> plausible_range(Counter({100: 30, 101: 30, 900_000: 1}))
    (100, 101)
    >>> plausible_range(Counter({100: 30, 101: 30, 1_000: 1}))
    (100, 1000)
    """
    ordered = sorted(minutes)
    n_events = minutes.total()
    if n_events < _MIN_EVENTS:
        return ordered[0], ordered[-1]
    few = max(1, int(n_events * IMPLAUSIBLE_SHARE))
    begin = _place_after(few, [minutes[minute] for minute in ordered])
    end = len(ordered) - 1 - _place_after(few, [minutes[minute] for minute in reversed(ordered)])
    gap = max(MIN_GAP_MS // _MINUTE_MS, ordered[end] - ordered[begin])
    first = next((n for n in range(begin, 0, -1) if ordered[n] - ordered[n - 1] > gap), 0)
    last = next((n for n in range(end, len(ordered) - 1) if ordered[n + 1] - ordered[n] > gap), len(ordered) - 1)
    return ordered[first], ordered[last]


def _place_after(few: int, counts: list[int]) -> int:
    """Returns the first place where more than ``few`` events have been counted."""
    total = 0
    for place, count in enumerate(counts):
        total += count
        if total > few:
            return place
    return len(counts) - 1


def examine(read: Reader, path: Path, left_out: LeftOut, watch: Watch = iter) -> Recording:
    """Reads a file to its end.

    Args:
        path: Can be read more than once.
        watch: Given the events at each reading; a file with implausible times is read twice.

    Raises:
        UnreadableSource: The file cannot be read, was cut off, has no events, or ``left_out`` refuses a row.
    """
    minutes: Counter[int] = Counter()
    kinds: Counter[str] = Counter()
    latest_ms, is_ordered = 0, True
    for _, event in watch(read(path, left_out)):
        minutes[event.timestamp_ms // _MINUTE_MS] += 1
        kinds[event.kind] += 1
        is_ordered &= event.timestamp_ms >= latest_ms
        latest_ms = max(latest_ms, event.timestamp_ms)
    if not minutes:
        reasons = left_out.reasons()
        raise UnreadableSource(f"{path} has no events{': ' if reasons else ''}{reasons}")
    first, last = plausible_range(minutes)
    recording = Recording(
        path, read, first * _MINUTE_MS, (last + 1) * _MINUTE_MS - 1, left_out, kinds, is_ordered=is_ordered
    )
    return recording if first == min(minutes) and last == max(minutes) else _without_implausible(recording, watch)


def _without_implausible(recording: Recording, watch: Watch) -> Recording:
    """Counts the events of implausible times among those that are left out."""
    usual = f"most events are from {_date(recording.first_ms)} to {_date(recording.last_ms)}"
    kinds = Counter(recording.kinds)
    latest_ms, is_ordered = 0, True
    for line, event in watch(recording.read(recording.path, LeftOut())):
        if recording.first_ms <= event.timestamp_ms <= recording.last_ms:
            is_ordered &= event.timestamp_ms >= latest_ms
            latest_ms = max(latest_ms, event.timestamp_ms)
        else:
            reason = f"the time {_date(event.timestamp_ms)} is implausible: {usual}"
            recording.left_out.add(recording.path, line, reason)
            kinds[event.kind] -= 1
    return recording._replace(kinds=kinds, is_ordered=is_ordered)


def _date(timestamp_ms: int) -> str:
    return datetime.fromtimestamp(timestamp_ms / 1000, UTC).strftime("%Y-%m-%d %H:%M")
