"""Compact bytes for rows of features: numbers as float32, flags as bits."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from streams.contract.arrays import Float32Array, Float64Array


class FeaturePacking:
    r"""Layout of a row: its numbers in order, little-endian float32, then its flags in order, as bits from the highest.

    >>> packing = FeaturePacking([False, True, True])
    >>> packing.pack(np.array([[0.5, 0.0, 1.0]])).tobytes()
    b'\x00\x00\x00?@'
    >>> packing.unpack(b"\x00\x00\x00?@").tolist()
    [[0.5, 0.0, 1.0]]

    Args:
        is_flag: For each column, whether it is always 0 or 1.
    """

    def __init__(self, is_flag: Sequence[bool]) -> None:
        self._n_columns = len(is_flag)
        self._numbers, self._flags = np.flatnonzero(np.logical_not(is_flag)), np.flatnonzero(is_flag)
        self._number_bytes = 4 * len(self._numbers)
        self._flag_bytes = (len(self._flags) + 7) // 8
        self._row_bytes = self._number_bytes + self._flag_bytes

    def pack(self, rows: Float64Array | Float32Array) -> NDArray[np.uint8]:
        """Packs each row of ``(..., n_columns)``; returns ``(..., n_bytes)``."""
        *shape, _ = rows.shape
        packed = np.empty((*shape, self._row_bytes), np.uint8)
        packed[..., : self._number_bytes] = rows.take(self._numbers, axis=-1).astype("<f4").view(np.uint8)
        # Filled up to whole bytes, since packing along an axis takes four times as long.
        flags = np.zeros((*shape, 8 * self._flag_bytes), np.bool_)
        flags[..., : len(self._flags)] = rows.take(self._flags, axis=-1)
        packed[..., self._number_bytes :] = np.packbits(flags).reshape(*shape, self._flag_bytes)
        return packed

    def flags(self, content: bytes) -> list[int]:
        r"""Returns the flags of each row as a number with the bits of :meth:`flag`; faster than arrays for few rows.

        >>> FeaturePacking([False, True, True]).flags(b"\x00\x00\x00?@") == [0b0100_0000]
        True
        """
        ends = range(self._row_bytes, len(content) + 1, self._row_bytes)
        return [int.from_bytes(content[end - self._flag_bytes : end]) for end in ends]

    def flag(self, column: int) -> int:
        """Returns the bit that a column, which is a flag, has in :meth:`flags`."""
        return 1 << 8 * self._flag_bytes - 1 - int(np.flatnonzero(self._flags == column)[0])

    def unpack(self, content: bytes) -> Float32Array:
        """Returns the rows, ``(n_rows, n_columns)``."""
        packed = np.frombuffer(content, np.uint8).reshape(-1, self._row_bytes)
        rows = np.empty((len(packed), self._n_columns), np.float32)
        rows[:, self._numbers] = np.ascontiguousarray(packed[:, : self._number_bytes]).view("<f4")
        rows[:, self._flags] = np.unpackbits(packed[:, self._number_bytes :], axis=1, count=len(self._flags))
        return rows
