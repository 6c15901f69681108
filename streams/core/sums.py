"""Sums that are the same on every version of Python."""

from collections.abc import Iterable
from functools import reduce
from operator import add


def int_sum(values: Iterable[int]) -> int:
    """Adds integers.

    >>> int_sum([1, 2])
    3
    """
    return sum(values)


def float_sum(values: Iterable[float]) -> float:
    """Adds from left to right, and rounds each addition.

    The builtin ``sum`` does so up to Python 3.11 only; from 3.12 on it is compensated, and the same log would give
    other rows there.

    >>> float_sum([1e16, 1.0, 1.0]) - 1e16
    0.0
    """
    return reduce(add, values, 0.0)
