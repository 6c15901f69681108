"""Time series of the metrics topic, thinned so that a whole day has no more points than a minute."""

from itertools import pairwise
from typing import Final, NamedTuple

from streams.serving.page.document import Series

_MOST: Final = 240
_LEAST_INTERVAL_MS: Final = 1000


class Point(NamedTuple):
    """One time.

    Attributes:
        decisions: Policy to its decisions since the first event.
    """

    timestamp_ms: int
    decisions: dict[str, int]
    events_per_s: float
    p50_ms: float | None
    lag: int


class History:
    """Points at equal intervals; when there are too many, every other one goes and the interval doubles."""

    def __init__(self) -> None:
        self._interval_ms = _LEAST_INTERVAL_MS
        self._points: list[Point] = []

    def is_due(self, timestamp_ms: int) -> bool:
        """Says whether a point of this time would be kept."""
        return not self._points or timestamp_ms - self._points[-1].timestamp_ms >= self._interval_ms

    def add(self, point: Point) -> None:
        self._points.append(point)
        if len(self._points) > _MOST:
            del self._points[1::2]
            self._interval_ms *= 2

    def series(self) -> Series:
        """Returns all points, with each policy's share of the decisions since the point before."""
        points = self._points
        policies = sorted({policy for point in points for policy in point.decisions})
        return Series(
            [point.timestamp_ms / 1000 for point in points],
            {policy: [None, *(_share(policy, *pair) for pair in pairwise(points))] for policy in policies},
            [point.events_per_s for point in points],
            [point.p50_ms for point in points],
            [point.lag for point in points],
        )


def _share(policy: str, before: Point, after: Point) -> float | None:
    decided = sum(after.decisions.values()) - sum(before.decisions.values())
    return (after.decisions.get(policy, 0) - before.decisions.get(policy, 0)) / decided if decided > 0 else None
