"""Randomness of a decision: drawn from the event that it answers, so that it is the same whenever it is decided."""

from collections.abc import Sequence
from hashlib import shake_128

import numpy as np
from numpy.typing import NDArray


def draw(event_refs: Sequence[str], seed: int, n: int) -> NDArray[np.float64]:
    """Returns ``n`` uniforms in [0, 1) for each event, 53 bits each, ``(n_events, n)``.

    >>> bool((draw(["clickstream-0-1"], 0, 2) == draw(["clickstream-0-1"], 0, 3)[:, :2]).all())
    True
    """
    digests = b"".join([shake_128(f"{seed}\0{ref}".encode()).digest(8 * n) for ref in event_refs])
    words: NDArray[np.uint64] = np.frombuffer(digests, "<u8").reshape(-1, n)
    return (words >> np.uint64(11)).astype(np.float64) * 2.0**-53
