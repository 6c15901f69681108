"""What the last items of many sessions lead to, found over arrays; each session's as :func:`rules.rank` orders it."""

from typing import Final, TypeVar

import numpy as np
from numpy.typing import NDArray

from streams.core.retrieval.catalogue import NOBODY, Catalogue
from streams.core.retrieval.rules import LAST_ITEMS, RECENCY, RETURN

Int64Array = NDArray[np.int64]
Float64Array = NDArray[np.float64]

_ScalarT = TypeVar("_ScalarT", bound=np.generic)

_PLACE_BITS: Final = 10
"""Enough for the neighbours of all last items: settings allow 128 of each."""
_RECENCIES: Final = np.array(RECENCY)[:, None]
_RETURNS: Final = RETURN / np.arange(1, LAST_ITEMS)


def related(catalogue: Catalogue, last_items: Int64Array, size: int) -> Int64Array:
    """Orders what each session's last items lead to, most probable first; the current item is never in it.

    Args:
        last_items: Distinct, nearest first, the current one first of all, :data:`NOBODY` padded,
            ``(n_sessions, LAST_ITEMS)``.

    Returns:
        The first ``size`` of each, :data:`NOBODY` padded, ``(n_sessions, size)``.
    """
    if not len(catalogue):
        return np.full((len(last_items), size), NOBODY)
    neighbours = np.where(last_items[:, :, None] >= 0, catalogue.neighbours[last_items], NOBODY)
    closeness = catalogue.closeness[last_items] * _RECENCIES
    items = _side_by_side(neighbours, last_items[:, 1:])
    scores = _scores(items, _side_by_side(closeness, np.broadcast_to(_RETURNS, (len(last_items), len(_RETURNS)))))
    scores[items == last_items[:, :1]] = -np.inf
    best = np.argsort(-scores, axis=1, kind="stable")[:, :size]
    is_there = np.take_along_axis(scores, best, axis=1) > -np.inf
    found = np.where(is_there, np.take_along_axis(items, best, axis=1), NOBODY)
    return np.pad(found, ((0, 0), (0, size - found.shape[1])), constant_values=NOBODY)


def _side_by_side(lists: NDArray[_ScalarT], last: NDArray[_ScalarT]) -> NDArray[_ScalarT]:
    return np.concatenate([lists.reshape(len(lists), -1), last], axis=1)


def _scores(items: Int64Array, shares: Float64Array) -> Float64Array:
    """Adds up each item's shares where its row has it first; all else scores ``-inf``."""
    # The place goes into the low bits, so that plain sorting brings an item's places together, in order.
    ordered = np.sort(items << _PLACE_BITS | np.arange(items.shape[1]), axis=1)
    places, items = ordered & (1 << _PLACE_BITS) - 1, ordered >> _PLACE_BITS
    begins = np.ones(items.shape, bool)
    begins[:, 1:] = items[:, 1:] != items[:, :-1]
    # In the order of the places, as for one session alone.
    sums = np.bincount(begins.cumsum() - 1, np.take_along_axis(shares, places, axis=1).ravel())
    scores = np.full(items.shape, -np.inf)
    sessions, firsts = begins.nonzero()[0], places[begins]
    scores[sessions, firsts] = np.where(items[begins] >= 0, sums, -np.inf)
    return scores
