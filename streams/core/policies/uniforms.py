"""Randomness of a decision: drawn from the event that it answers, so that it is the same whenever it is decided."""

from hashlib import shake_128
from struct import unpack


def draw(event_ref: str, seed: int, n: int) -> list[float]:
    """Returns ``n`` uniforms in [0, 1), 53 bits each.

    >>> draw("clickstream-0-1", 0, 2) == draw("clickstream-0-1", 0, 3)[:2]
    True
    """
    digest = shake_128(f"{seed}\0{event_ref}".encode()).digest(8 * n)
    return [(word >> 11) * 2.0**-53 for word in unpack(f"<{n}Q", digest)]
