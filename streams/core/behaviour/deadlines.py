"""Deadlines of rows: a heap by deadline, from which each batch takes the rows that may fall due within it."""

from collections.abc import Iterable, Iterator
from heapq import heappop, heappush
from typing import Final

NEVER_MS: Final = 1 << 62

Entry = tuple[int, bytes]
"""A deadline and its key; rows fall due in this order."""


def end_of(watermark_ms: int) -> Entry:
    """Returns the entry that comes after all that are due at a watermark."""
    return watermark_ms + 1, b""


class Deadlines:
    """The deadlines of a partition's rows; of several deadlines of one key the one set last counts.

    Args:
        rows: ``(key, deadline_ms)`` of all rows, 0 for no deadline.

    Attributes:
        taken_ms: The batch has taken all that is due at this watermark.
    """

    def __init__(self, rows: Iterable[tuple[bytes, int]]) -> None:
        self.taken_ms = -1
        self._later: list[Entry] = []
        self._soon: list[Entry] = []
        self._scheduled: dict[bytes, int] = {}
        for key, deadline_ms in rows:
            if deadline_ms:
                self._scheduled[key] = deadline_ms
                heappush(self._later, (deadline_ms, key))

    def __len__(self) -> int:
        return len(self._scheduled)

    def begin(self, watermark_ms: int) -> None:
        """Begins a batch at a watermark at which nothing more falls due."""
        self.taken_ms = watermark_ms

    def take(self, watermark_ms: int, limit: int) -> bool:
        """Takes what is due at a watermark into the batch; returns whether that is all.

        Args:
            limit: How many keys the batch may take, at all its watermarks together.
        """
        if watermark_ms <= self.taken_ms:
            return True
        later, soon, scheduled = self._later, self._soon, self._scheduled
        while later and later[0][0] <= watermark_ms:
            entry = later[0]
            is_new = scheduled.get(entry[1]) == entry[0] and entry not in soon[-1:]
            if is_new and len(soon) >= limit:
                return False
            heappop(later)
            if is_new:
                soon.append(entry)  # They come in order, so it stays a heap.
        self.taken_ms = watermark_ms
        return True

    def taken(self) -> Iterator[bytes]:
        """Returns the keys that the batch has taken."""
        return (key for _, key in self._soon)

    def first_left(self) -> Entry:
        """Returns the earliest entry that was not taken for want of room."""
        return self._later[0]

    def wake(self, key: bytes, deadline_ms: int) -> None:
        """Moves a key's deadline forward to ``deadline_ms``; one that is earlier already stays."""
        if deadline_ms < self._scheduled.get(key, NEVER_MS):
            self._scheduled[key] = deadline_ms
            heappush(self._soon, (deadline_ms, key))

    def pop(self, before: Entry) -> Entry | None:
        """Removes and returns the earliest entry of the batch that comes before another; ``None`` if none does."""
        soon, scheduled = self._soon, self._scheduled
        while soon and soon[0] < before:
            entry = heappop(soon)
            if scheduled.get(entry[1]) == entry[0]:
                del scheduled[entry[1]]
                return entry
        return None

    def end(self) -> None:
        """Ends the batch: keys that are not due yet wait for a later one."""
        for entry in self._soon:
            heappush(self._later, entry)
        self._soon.clear()
