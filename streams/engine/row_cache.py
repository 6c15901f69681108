"""Cache of recently changed rows, decoded."""

from collections.abc import Mapping, Sequence
from typing import Final, Generic, TypeVar

RowT = TypeVar("RowT")

_OVERHEAD_BYTES: Final = 128
"""Estimated size of a row besides its value: key, dictionary entry, object header."""


class RowCache(Generic[RowT]):
    """Cache of two generations of rows: when the younger one is full, the older one is dropped.

    At least the rows that changed last, up to half the limit, are found, without the bookkeeping of an LRU cache.

    Args:
        limit_bytes: Limit of the encoded sizes in both generations; 0 disables the cache. One batch may exceed it.
    """

    def __init__(self, limit_bytes: int) -> None:
        self._limit_bytes = limit_bytes
        self._young: dict[bytes, RowT] = {}
        self._old: dict[bytes, RowT] = {}
        self._young_bytes = 0

    def find(self, keys: Sequence[bytes]) -> dict[bytes, RowT | None]:
        """Looks up rows; ``None`` for those that are not cached."""
        young, old = self._young, self._old
        rows = {key: young.get(key) for key in keys}
        if old:
            rows |= {key: old.get(key) for key, row in rows.items() if row is None}
        return rows

    def keep(self, changed: Mapping[bytes, RowT], size_bytes: int) -> None:
        """Adds the rows of a batch after they were stored.

        Args:
            size_bytes: Encoded size of the rows.
        """
        if not self._limit_bytes:
            return
        self._young.update(changed)
        self._young_bytes += size_bytes + _OVERHEAD_BYTES * len(changed)
        if self._young_bytes > self._limit_bytes // 2:
            self._old, self._young, self._young_bytes = self._young, {}, 0
