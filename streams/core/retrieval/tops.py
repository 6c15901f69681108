"""The most popular items, overall and by category, and the newest, kept exact at the cost of what changed."""

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

N_OVERALL: Final = 50
N_CATEGORY: Final = 20
N_NEWEST: Final = 20


class TopLists:
    """Lists of item indices, best first.

    Standings only rise as long as nothing is lost, since sums that fade at one rate keep their order when nothing is
    added. So the new best are among the old best and what changed, and the rest of the catalogue need not be looked at.
    """

    def __init__(self) -> None:
        self.overall: list[int] = []
        self.newest: list[int] = []
        self.by_category: dict[int, list[int]] = {}

    def update(
        self,
        changed: NDArray[np.int64],
        standing: NDArray[np.float64],
        first_seen_ms: NDArray[np.int64],
        category: NDArray[np.int32],
        tie_break: NDArray[np.uint32],
        *,
        lost: bool,
    ) -> None:
        """Brings the lists up to date.

        Args:
            changed: Indices of the items that changed.
            standing: Of all items, ``(n_items,)``; one with ``-inf`` is in no list.
            first_seen_ms: Of all items, as are the others.
            category: Negative for none.
            tie_break: Orders items of the same age.
            lost: Some of the changed items fell, grew older or left their category, so that any item may move up.
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

    def _update_categories(
        self, changed: NDArray[np.int64], standing: NDArray[np.float64], category: NDArray[np.int32]
    ) -> None:
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


def _united(indices: NDArray[np.int64], more: list[int]) -> NDArray[np.int64]:
    if not more:
        return np.sort(indices)
    united: NDArray[Any] = np.union1d(indices, np.array(more, np.int64))
    return united
