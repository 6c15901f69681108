"""ADWIN, a change detector: the longest recent window in which no significant change of the mean is found."""

from math import log, sqrt
from typing import Final

import numpy as np

from streams.contract.arrays import Arrays

DELTA: Final = 0.002
CLOCK: Final = 32
"""Values between two checks."""

_BUCKETS_PER_ROW: Final = 5
_MIN_SUBWINDOW: Final = 5
_MIN_WINDOW: Final = 10


class AdaptiveWindow:
    """An exponential histogram of values in [0, 1], cut where the mean has changed.

    A bucket of row ``row`` sums 2**row values; a row holds at most five buckets and merges its two oldest into the
    next row. The results equal those of River's ADWIN, value by value; the state can be exported to arrays.

    Attributes:
        size: Values in the window.

    References:
        Bifet and Gavaldà (2007), "Learning from time-changing data with adaptive windowing", SDM, section 4 (ADWIN2).
    """

    def __init__(self) -> None:
        self._rows: list[list[tuple[float, float]]] = [[]]
        self.size = 0
        self._total = 0.0
        self._variance = 0.0
        self._seen = 0

    @property
    def mean(self) -> float:
        return self._total / self.size if self.size else 0.0

    def update(self, value: float) -> tuple[float, float] | None:
        """Adds a value; returns the means before and after a change, or ``None`` if there is none."""
        self._insert(value)
        self._seen += 1
        if self._seen % CLOCK or self.size <= _MIN_WINDOW:
            return None
        return self._cut()

    def _insert(self, value: float) -> None:
        if self.size:
            self._variance += self.size * (value - self.mean) ** 2 / (self.size + 1)
        self._rows[0].append((value, 0.0))
        self.size += 1
        self._total += value
        row = 0
        while len(self._rows[row]) > _BUCKETS_PER_ROW:
            if row + 1 == len(self._rows):
                self._rows.append([])
            (total_1, variance_1), (total_2, variance_2) = self._rows[row][:2]
            width = 1 << row
            gap = total_1 / width - total_2 / width
            self._rows[row + 1].append((total_1 + total_2, variance_1 + variance_2 + width * gap * gap / 2.0))
            del self._rows[row][:2]
            row += 1

    def _cut(self) -> tuple[float, float] | None:
        """Drops oldest buckets until no cut shows a change; returns the two means of the first change."""
        first_change: tuple[float, float] | None = None
        while change := self._find_change():
            first_change = first_change or change
            self._drop_oldest()
        return first_change

    def _find_change(self) -> tuple[float, float] | None:
        old_size, old_total = 0, 0.0
        for row in range(len(self._rows) - 1, -1, -1):
            for total, _ in self._rows[row]:
                old_size += 1 << row
                old_total += total
                new_size, new_total = self.size - old_size, self._total - old_total
                if new_size < _MIN_SUBWINDOW + 1:
                    return None
                if old_size < _MIN_SUBWINDOW + 1:
                    continue
                gap = old_total / old_size - new_total / new_size
                if abs(gap) > self._bound(old_size, new_size):
                    return old_total / old_size, new_total / new_size
        return None

    def _bound(self, old_size: int, new_size: int) -> float:
        confidence = log(2.0 * log(self.size) / DELTA)
        inverse = 1.0 / (old_size - _MIN_SUBWINDOW + 1) + 1.0 / (new_size - _MIN_SUBWINDOW + 1)
        return sqrt(2.0 * inverse * self._variance / self.size * confidence) + 2.0 / 3.0 * confidence * inverse

    def _drop_oldest(self) -> None:
        row = len(self._rows) - 1
        total, variance = self._rows[row].pop(0)
        width = 1 << row
        self.size -= width
        self._total -= total
        gap = total / width - self._total / self.size
        self._variance -= variance + width * self.size * gap * gap / (width + self.size)
        while len(self._rows) > 1 and not self._rows[-1]:
            self._rows.pop()

    def arrays(self) -> Arrays:
        buckets = [(row, *bucket) for row, buckets in enumerate(self._rows) for bucket in buckets]
        return {
            "buckets": np.array(buckets, np.float64).reshape(-1, 3),
            "window": np.array([self.size, self._total, self._variance, self._seen, len(self._rows)], np.float64),
        }

    def restore(self, arrays: Arrays) -> None:
        size, self._total, self._variance, seen, rows = arrays["window"].tolist()
        self.size, self._seen = int(size), int(seen)
        self._rows = [[] for _ in range(int(rows))]
        for row, total, variance in arrays["buckets"].tolist():
            self._rows[int(row)].append((total, variance))
