"""Exact lists of the most popular items, overall and by category, and of the newest, updated from the changed items."""

from collections.abc import Collection
from typing import Final

import numpy as np
from numpy.typing import NDArray

from streams.contract.arrays import Float64Array, Int64Array

N_OVERALL: Final = 128
"""Enough for a shortlist beside all that the rules keep from one shopper: at most 96 items."""
N_CATEGORY: Final = 40
N_NEWEST: Final = 20


class TopLists:
    """Lists of item indices, best first.

    Sums that decay at one rate keep their order until something is added. So unless an item has lost popularity, the
    new best items are among the old best and the changed ones, and the rest of the item table need not be read.
    """

    def __init__(self) -> None:
        self.overall: list[int] = []
        self.newest: list[int] = []
        self.by_category: dict[int, list[int]] = {}

    def hold(self, items: Collection[int]) -> bool:
        """Returns whether one of the items is in a list."""
        found = set(items)
        lists = (self.overall, self.newest, *self.by_category.values())
        return bool(found) and not all(found.isdisjoint(each) for each in lists)

    def update(
        self,
        changed: Int64Array,
        standing: Float64Array,
        first_seen_ms: Int64Array,
        category: NDArray[np.int32],
        tie_break: NDArray[np.uint32],
        *,
        lost: bool,
    ) -> None:
        """Updates the lists.

        Args:
            changed: Indices of the items that changed.
            standing: Of all items, as the other arrays, ``(n_items,)``; an item with ``-inf`` is in no list.
            first_seen_ms: Time of the first event.
            category: Negative for none.
            tie_break: Orders items of the same age.
            lost: Some of the changed items fell, became older or left their category, so that any item may move up.
        """
        if lost:
            changed = np.arange(len(standing))
            self.overall, self.newest, self.by_category = [], [], {}
        seen = changed[standing[changed] > -np.inf]
        overall = _united(seen, self.overall)
        self.overall = overall[np.argsort(-standing[overall], kind="stable")[:N_OVERALL]].tolist()
        newest = _united(seen, self.newest)
        self.newest = newest[np.lexsort((tie_break[newest], -first_seen_ms[newest]))[:N_NEWEST]].tolist()
        self._update_categories(seen[category[seen] >= 0], standing, category)

    def _update_categories(self, changed: Int64Array, standing: Float64Array, category: NDArray[np.int32]) -> None:
        touched = np.unique(category[changed]).tolist()
        if not touched:
            return
        listed = [item for number in touched for item in self.by_category.get(number, ())]
        candidates = _united(changed, listed)
        ordered = candidates[np.lexsort((-standing[candidates], category[candidates]))]
        starts = np.searchsorted(category[ordered], touched)
        ends = np.append(starts[1:], len(ordered))
        for number, start, end in zip(touched, starts.tolist(), ends.tolist(), strict=True):
            self.by_category[number] = ordered[start : min(end, start + N_CATEGORY)].tolist()


def _united(indices: Int64Array, more: list[int]) -> Int64Array:
    if not more:
        return np.sort(indices)
    return np.union1d(indices, np.array(more, np.int64))
