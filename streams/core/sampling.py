"""Sampling and random numbers by hash of an event, so that replays draw the same."""

from collections.abc import Sequence
from hashlib import shake_128
from typing import Final

import numpy as np
from numpy.typing import NDArray

from streams.contract.arrays import Float64Array, Int64Array

_WORD: Final = (1 << 64) - 1
_OF_OFFSET: Final = 0x9E3779B97F4A7C15
_OF_PARTITION: Final = 0xD1B54A32D192ED03
_OF_SALT: Final = 0x8CB92BA72F3D8DD7
_FIRST: Final = 0xBF58476D1CE4E5B9
_SECOND: Final = 0x94D049BB133111EB


def sampled(partition: int, offset: int, salt: int, rate: float) -> bool:
    """Returns whether an event is in a sample of share ``rate``; of one salt, a larger sample contains the smaller."""
    return rate >= 1.0 or uniform(partition, offset, salt) < rate


def uniform(partition: int, offset: int, salt: int) -> float:
    """Hashes an event to a number in [0, 1].

    References:
        Steele, Lea and Flood (2014), "Fast splittable pseudorandom number generators", OOPSLA: the finaliser.
    """
    mixed = (offset * _OF_OFFSET + partition * _OF_PARTITION + salt * _OF_SALT) & _WORD
    mixed = (mixed ^ mixed >> 30) * _FIRST & _WORD
    mixed = (mixed ^ mixed >> 27) * _SECOND & _WORD
    return (mixed ^ mixed >> 31) / 2.0**64


def uniforms(partition: int, offsets: Int64Array, indices: NDArray[np.int32]) -> Float64Array:
    """Hashes each source position to a number in [0, 1), ``(n,)``."""
    with np.errstate(over="ignore"):
        mixed = offsets.astype(np.uint64) * np.uint64(_OF_OFFSET)
        mixed += np.uint64(partition * _OF_PARTITION & _WORD)
        mixed += indices.astype(np.uint64) * np.uint64(_OF_SALT)
        mixed = (mixed ^ mixed >> np.uint64(30)) * np.uint64(_FIRST)
        mixed = (mixed ^ mixed >> np.uint64(27)) * np.uint64(_SECOND)
    return (mixed ^ mixed >> np.uint64(31)) / 2.0**64


def draw(event_refs: Sequence[str], seed: int, n: int) -> Float64Array:
    """Returns ``n`` uniforms in [0, 1) for each event, 53 bits each, ``(n_events, n)``; the same in a replay.

    >>> bool((draw(["clickstream-0-1"], 0, 2) == draw(["clickstream-0-1"], 0, 3)[:, :2]).all())
    True
    """
    digests = b"".join([shake_128(f"{seed}\0{ref}".encode()).digest(8 * n) for ref in event_refs])
    words: NDArray[np.uint64] = np.frombuffer(digests, "<u8").reshape(-1, n)
    return (words >> np.uint64(11)).astype(np.float64) * 2.0**-53
