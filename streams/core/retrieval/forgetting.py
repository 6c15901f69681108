"""Which items a catalogue keeps when it has more than it may, and what becomes of lists that name the others."""

import numpy as np
from numpy.typing import NDArray


def most_recent(seen_ms: NDArray[np.int64], tie_break: NDArray[np.uint32], keep: int) -> NDArray[np.int64]:
    """Returns the indices of the ``keep`` items that were seen last, ascending; of several seen at once by tie_break.

    >>> most_recent(np.array([5, 9, -1, 7]), np.zeros(4, np.uint32), 2).tolist()
    [1, 3]
    """
    return np.sort(np.lexsort((tie_break, -seen_ms))[:keep])


def renumbered(
    neighbours: NDArray[np.int32], closeness: NDArray[np.float32], numbers: NDArray[np.int32]
) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
    """Gives neighbours their new numbers; those that are gone leave, the others move up.

    Args:
        neighbours: Old indices, -1 padded, ``(n, n_neighbours)``.
        closeness: Of each, 0 padded, same shape; nobody gets closer because another has left.
        numbers: New index by the old one, -1 for who is gone; one longer than there were items, -1 last.

    >>> neighbours, closeness = np.array([[2, 0, -1]], np.int32), np.array([[0.5, 0.25, 0.0]], np.float32)
    >>> [array.tolist() for array in renumbered(neighbours, closeness, np.array([1, 0, -1, -1], np.int32))]
    [[[1, -1, -1]], [[0.25, 0.0, 0.0]]]
    """
    renamed = numbers[neighbours]
    order = np.argsort(renamed < 0, axis=1, kind="stable")
    renamed = np.take_along_axis(renamed, order, axis=1)
    return renamed, np.where(renamed >= 0, np.take_along_axis(closeness, order, axis=1), np.float32(0.0))
