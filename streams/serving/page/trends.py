"""Trending items: views of the last hour against those of the six hours before, in event time."""

from collections import Counter, deque
from collections.abc import Iterator
from typing import Final, NamedTuple

_HOUR_MS: Final = 3_600_000
_BEFORE: Final = 6
_LEAST_VIEWS: Final = 5
_MOST_ITEMS: Final = 20_000


class Trend(NamedTuple):
    """Views of an item in the last whole and the present hour, and in an hour before on average."""

    item_id: str
    views: int
    before: float


class Trends:
    """Counts of views by the hour; an hour begins with the first event that is an hour after the last beginning."""

    def __init__(self) -> None:
        self._began_ms = 0
        self._hours: deque[Counter[str]] = deque([Counter()], maxlen=_BEFORE + 2)

    def take(self, item_id: str, timestamp_ms: int) -> None:
        """Counts a view; a late one counts in the present hour."""
        if timestamp_ms >= self._began_ms + _HOUR_MS:
            self._began_ms = timestamp_ms
            self._hours.append(Counter())
        views = self._hours[-1]
        if item_id in views or len(views) < _MOST_ITEMS:
            views[item_id] += 1

    def top(self, n: int) -> list[Trend]:
        """Lists the items whose views are the most above what the hours before let expect, in standard deviations."""
        return sorted(self._trends(), key=lambda trend: -(trend.views - trend.before) / (trend.before + 1.0) ** 0.5)[:n]

    def _trends(self) -> Iterator[Trend]:
        *before, last, present = ([Counter[str]()] if len(self._hours) < 2 else []) + [*self._hours]
        for item_id, views in (last + present).items():
            if views >= _LEAST_VIEWS:
                # Two hours, of which the present one is half over on average.
                earlier = 1.5 * sum(hour[item_id] for hour in before) / len(before) if before else 0.0
                yield Trend(item_id, views, earlier)
