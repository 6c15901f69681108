"""Sampling by hash: the same event is sampled or not, wherever and whenever it is folded."""

from typing import Final

_WORD: Final = (1 << 64) - 1


def sampled(partition: int, offset: int, salt: int, rate: float) -> bool:
    """Decides whether an event is in a sample of share ``rate``.

    References:
        Steele, Lea and Flood (2014), "Fast splittable pseudorandom number generators", OOPSLA: the finaliser.
    """
    if rate >= 1.0:
        return True
    mixed = (offset * 0x9E3779B97F4A7C15 + partition * 0xD1B54A32D192ED03 + salt * 0x8CB92BA72F3D8DD7) & _WORD
    mixed = (mixed ^ mixed >> 30) * 0xBF58476D1CE4E5B9 & _WORD
    mixed = (mixed ^ mixed >> 27) * 0x94D049BB133111EB & _WORD
    return (mixed ^ mixed >> 31) < rate * 2.0**64
