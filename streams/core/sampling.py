"""Sampling by hash: the same event is sampled or not, wherever and whenever it is folded."""

from typing import Final

import numpy as np
from numpy.typing import NDArray

_WORD: Final = (1 << 64) - 1
_OF_OFFSET: Final = 0x9E3779B97F4A7C15
_OF_PARTITION: Final = 0xD1B54A32D192ED03
_OF_SALT: Final = 0x8CB92BA72F3D8DD7
_FIRST: Final = 0xBF58476D1CE4E5B9
_SECOND: Final = 0x94D049BB133111EB


def sampled(partition: int, offset: int, salt: int, rate: float) -> bool:
    """Decides whether an event is in a sample of share ``rate``.

    References:
        Steele, Lea and Flood (2014), "Fast splittable pseudorandom number generators", OOPSLA: the finaliser.
    """
    if rate >= 1.0:
        return True
    mixed = (offset * _OF_OFFSET + partition * _OF_PARTITION + salt * _OF_SALT) & _WORD
    mixed = (mixed ^ mixed >> 30) * _FIRST & _WORD
    mixed = (mixed ^ mixed >> 27) * _SECOND & _WORD
    return (mixed ^ mixed >> 31) < rate * 2.0**64


def chances(partition: int, offsets: NDArray[np.int64], indices: NDArray[np.int32]) -> NDArray[np.float64]:
    """Draws a number in [0, 1) for each trigger, the same wherever and whenever it is asked, ``(n,)``."""
    with np.errstate(over="ignore"):
        mixed = offsets.astype(np.uint64) * np.uint64(_OF_OFFSET)
        mixed += np.uint64(partition * _OF_PARTITION & _WORD)
        mixed += indices.astype(np.uint64) * np.uint64(_OF_SALT)
        mixed = (mixed ^ mixed >> np.uint64(30)) * np.uint64(_FIRST)
        mixed = (mixed ^ mixed >> np.uint64(27)) * np.uint64(_SECOND)
    drawn: NDArray[np.float64] = (mixed ^ mixed >> np.uint64(31)) / 2.0**64
    return drawn
