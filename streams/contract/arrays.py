"""Arrays as plain MessagePack values: dtype, shape, bytes. Nothing is ever pickled."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

Arrays = dict[str, NDArray[Any]]
"""Named parameter arrays: what a model is, outside the process that learns it."""


def pack_arrays(arrays: Mapping[str, NDArray[Any]]) -> dict[str, list[Any]]:
    """Turns named arrays into ``{name: [dtype, shape, bytes]}``, names sorted: equal arrays give equal bytes."""
    return {name: [arrays[name].dtype.str, list(arrays[name].shape), arrays[name].tobytes()] for name in sorted(arrays)}


def unpack_arrays(packed: Mapping[str, list[Any]]) -> Arrays:
    """Reads what :func:`pack_arrays` wrote; the arrays are writable copies.

    >>> unpack_arrays(pack_arrays({"w": np.zeros(2)}))
    {'w': array([0., 0.])}
    """
    return {
        name: np.frombuffer(content, dtype=np.dtype(dtype)).reshape(shape).copy()
        for name, (dtype, shape, content) in packed.items()
    }
