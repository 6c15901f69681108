"""Popularity: exponentially decayed visit counts, and the ordered list of the most visited items."""

from math import exp2
from typing import Final

_MOST_HALF_LIVES: Final = 500.0


class Popularity:
    """The ``size`` most visited items of one process, exact at each visit.

    Args:
        half_life_s: Half-life of a visit's weight, seconds.
        size: Items in the list.
    """

    def __init__(self, half_life_s: float, size: int) -> None:
        self._half_life_ms = half_life_s * 1000.0
        self._size = size
        self._landmark_ms: int | None = None
        self._visits: dict[str, float] = {}
        self._top: list[str] = []

    @property
    def top(self) -> list[str]:
        """Items, most visited first; ties in descending order of the name."""
        return self._top

    def learn(self, item: str, timestamp_ms: int) -> None:
        """Counts a visit. Inflated counts only rise, so only this item can enter the list."""
        visits = self._visits[item] = self._visits.get(item, 0.0) + self._inflation(timestamp_ms)
        top = self._top
        if len(top) == self._size and visits < self._visits[top[-1]]:
            return
        if item not in top:
            top.append(item)
        top.sort(key=self._rank, reverse=True)
        del top[self._size :]

    def _rank(self, item: str) -> tuple[float, str]:
        return self._visits[item], item

    def _inflation(self, timestamp_ms: int) -> float:
        if self._landmark_ms is None:
            self._landmark_ms = timestamp_ms
        half_lives = (timestamp_ms - self._landmark_ms) / self._half_life_ms
        if half_lives > _MOST_HALF_LIVES:
            self._visits = {item: visits * exp2(-half_lives) for item, visits in self._visits.items()}
            self._landmark_ms, half_lives = timestamp_ms, 0.0
        return exp2(max(half_lives, -_MOST_HALF_LIVES))
