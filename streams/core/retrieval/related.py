"""Related items of many sessions at once, over arrays; the order in a session is that of :func:`rules.rank`."""

from typing import Final, TypeVar

import numpy as np
from numpy.typing import NDArray

from streams.contract.arrays import Float64Array, Int64Array
from streams.core.retrieval.item_table import NOBODY, ItemTable
from streams.core.retrieval.rules import LAST_ITEMS, RECENCY, RETURN

_ScalarT = TypeVar("_ScalarT", bound=np.generic)

_PLACE_BITS: Final = 10
"""Enough for the neighbours of all last items: settings allow 128 of each."""
_RECENCIES: Final = np.array(RECENCY)[:, None]
_RETURNS: Final = RETURN / np.arange(1, LAST_ITEMS)


def related(item_table: ItemTable, last_items: Int64Array, size: int) -> Int64Array:
    """Ranks the items that each session's last items lead to, most probable first, without the current item.

    Args:
        last_items: Distinct items, the current one first, then most recent first, :data:`NOBODY` padded,
            ``(n_sessions, LAST_ITEMS)``.

    Returns:
        The first ``size`` of each session, :data:`NOBODY` padded, ``(n_sessions, size)``.
    """
    neighbours = np.where(last_items[:, :, None] >= 0, item_table.neighbours[last_items], NOBODY)
    closeness = item_table.closeness[last_items] * _RECENCIES
    items = _side_by_side(neighbours, last_items[:, 1:])
    scores = _scores(items, _side_by_side(closeness, np.broadcast_to(_RETURNS, (len(last_items), len(_RETURNS)))))
    scores[items == last_items[:, :1]] = -np.inf
    if len(item_table.listing):
        scores[item_table.hidden[items]] = -np.inf
    best = np.argsort(-scores, axis=1, kind="stable")[:, :size]
    # Plain indexing and assignment: take_along_axis and pad take several times as long for one session.
    sessions = np.arange(len(items))[:, None]
    ranked = np.full((len(items), size), NOBODY)
    ranked[:, : best.shape[1]] = np.where(scores[sessions, best] > -np.inf, items[sessions, best], NOBODY)
    return ranked


def _side_by_side(lists: NDArray[_ScalarT], last: NDArray[_ScalarT]) -> NDArray[_ScalarT]:
    return np.concatenate([lists.reshape(len(lists), -1), last], axis=1)


def _scores(items: Int64Array, shares: Float64Array) -> Float64Array:
    """Sums each item's shares at its first place in a row; every other place scores ``-inf``."""
    # The place goes into the low bits, so that one sort brings an item's places together, in order.
    ordered = np.sort(items << _PLACE_BITS | np.arange(items.shape[1]), axis=1)
    places, items = ordered & (1 << _PLACE_BITS) - 1, ordered >> _PLACE_BITS
    begins = np.ones(items.shape, bool)
    begins[:, 1:] = items[:, 1:] != items[:, :-1]
    # Summed in the order of the places, so that the bits are those of a single session.
    sums = np.bincount(begins.cumsum() - 1, shares[np.arange(len(shares))[:, None], places].ravel())
    scores = np.full(items.shape, -np.inf)
    sessions, firsts = begins.nonzero()[0], places[begins]
    scores[sessions, firsts] = np.where(items[begins] >= 0, sums, -np.inf)
    return scores
