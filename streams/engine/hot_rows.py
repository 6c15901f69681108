"""The rows that changed last, decoded, so that they need not be read and decoded again."""

from collections.abc import Mapping, Sequence
from typing import Final, Generic, TypeVar

RowT = TypeVar("RowT")

_OVERHEAD_BYTES: Final = 128
"""Of a row beyond its value: its key, its place in the dictionary, its object."""


class HotRows(Generic[RowT]):
    """Two generations of rows: when the younger one is full, the older one is let go of.

    So the rows of the last half of the limit's worth of changes are there, and next to nothing is paid to know which
    ones changed last.

    Args:
        limit_bytes: What the rows of both would take encoded; of 0 none is kept. The rows of one batch may exceed it.
    """

    def __init__(self, limit_bytes: int) -> None:
        self._limit_bytes = limit_bytes
        self._young: dict[bytes, RowT] = {}
        self._old: dict[bytes, RowT] = {}
        self._young_bytes = 0

    def find(self, keys: Sequence[bytes]) -> dict[bytes, RowT | None]:
        """Looks up many rows, ``None`` for those that are not there."""
        young, old = self._young, self._old
        rows = {key: young.get(key) for key in keys}
        if old:
            rows |= {key: old.get(key) for key, row in rows.items() if row is None}
        return rows

    def keep(self, changed: Mapping[bytes, RowT], size_bytes: int) -> None:
        """Keeps the rows of a batch, as they were stored.

        Args:
            size_bytes: Of the rows, encoded.
        """
        if not self._limit_bytes:
            return
        self._young.update(changed)
        self._young_bytes += size_bytes + _OVERHEAD_BYTES * len(changed)
        if self._young_bytes > self._limit_bytes // 2:
            self._old, self._young, self._young_bytes = self._young, {}, 0
