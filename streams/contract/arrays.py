"""Arrays as plain MessagePack values: dtype, shape, bytes. Nothing is pickled."""

from collections.abc import Mapping, Sequence
from math import prod
from typing import Annotated, Any, Final

import msgspec
import numpy as np
from msgspec import Meta
from numpy.typing import NDArray

BoolArray = NDArray[np.bool_]
Float32Array = NDArray[np.float32]
Float64Array = NDArray[np.float64]
Int64Array = NDArray[np.int64]

Arrays = dict[str, NDArray[Any]]
"""Named arrays: the form in which models are stored and published."""

_LARGEST: Final = 1e30

_PackedArray = tuple[
    Annotated[str, Meta(pattern=r"^(\|[biu]1|[<>][iu][248]|[<>]f[248])$")],
    Annotated[list[Annotated[int, Meta(ge=0, lt=1 << 31)]], Meta(max_length=8)],
    bytes,
]


def pack_arrays(arrays: Mapping[str, NDArray[Any]]) -> dict[str, list[Any]]:
    """Turns named arrays into ``{name: [dtype, shape, bytes]}``, names sorted: equal arrays give equal bytes."""
    return {name: [arrays[name].dtype.str, list(arrays[name].shape), arrays[name].tobytes()] for name in sorted(arrays)}


def unpack_arrays(packed: Mapping[str, Any]) -> Arrays:
    """Decodes the result of :func:`pack_arrays`; the arrays are writable copies.

    Raises:
        ValueError: A value is no array of numbers, or has another number of bytes than its shape needs.

    >>> unpack_arrays(pack_arrays({"w": np.zeros(2)}))
    {'w': array([0., 0.])}
    """
    try:
        checked = msgspec.convert(packed, dict[str, _PackedArray])
    except msgspec.ValidationError as error:
        raise ValueError(str(error)) from error
    return {name: _unpacked(name, *array) for name, array in checked.items()}


def _unpacked(name: str, dtype: str, shape: Sequence[int], content: bytes) -> NDArray[Any]:
    type_ = np.dtype(dtype)
    if len(content) != prod(shape) * type_.itemsize:
        raise ValueError(f"{name} has {len(content)} bytes; its shape needs {prod(shape) * type_.itemsize}")
    return np.frombuffer(content, type_).reshape(shape).copy()


def are_moderate(arrays: Mapping[str, NDArray[Any]]) -> bool:
    """Returns whether all numbers are finite, and small enough for products of a few of them to be finite."""
    return all(bool((np.abs(array.astype(np.float64)) <= _LARGEST).all()) for array in arrays.values())
