"""When rows fall due: a heap by deadline, of which each batch takes out what may fall due within it."""

from collections.abc import Iterable, Iterator
from heapq import heappop, heappush
from typing import Final

NEVER_MS: Final = 1 << 62


class Deadlines:
    """The deadlines of a partition's rows. Of several of one key the latest that was set holds.

    Args:
        rows: ``(key, deadline_ms)`` of all rows, 0 where nothing falls due.
    """

    def __init__(self, rows: Iterable[tuple[bytes, int]]) -> None:
        self._later: list[tuple[int, bytes]] = []
        self._soon: list[tuple[int, bytes]] = []
        self._scheduled: dict[bytes, int] = {}
        for key, deadline_ms in rows:
            if deadline_ms:
                self._scheduled[key] = deadline_ms
                heappush(self._later, (deadline_ms, key))

    def __len__(self) -> int:
        return len(self._scheduled)

    def begin(self, watermark_ms: int) -> Iterator[bytes]:
        """Begins a batch that ends with this watermark; returns the keys that may fall due by then."""
        later, scheduled = self._later, self._scheduled
        while later and later[0][0] <= watermark_ms:
            entry = heappop(later)
            if scheduled.get(entry[1]) == entry[0]:
                heappush(self._soon, entry)
        return (key for _, key in self._soon)

    def wake(self, key: bytes, deadline_ms: int) -> None:
        """Sees that a key falls due by ``deadline_ms``; a later wake than the one it has changes nothing."""
        if deadline_ms < self._scheduled.get(key, NEVER_MS):
            self._scheduled[key] = deadline_ms
            heappush(self._soon, (deadline_ms, key))

    def pop(self, watermark_ms: int) -> tuple[int, bytes] | None:
        """Takes out the first that is due by now, with its deadline; it falls due no more unless it is set again."""
        soon, scheduled = self._soon, self._scheduled
        while soon and soon[0][0] <= watermark_ms:
            entry = heappop(soon)
            if scheduled.get(entry[1]) == entry[0]:
                del scheduled[entry[1]]
                return entry
        return None

    def end(self) -> None:
        """Ends the batch: what is not due yet waits for a later one."""
        for entry in self._soon:
            heappush(self._later, entry)
        self._soon.clear()
