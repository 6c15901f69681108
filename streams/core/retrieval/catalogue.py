"""The items feed as arrays: what retrieval and ranking know of every item."""

from collections.abc import Iterable
from itertools import chain, repeat
from math import inf, log, log1p, log2, nan
from typing import Final, TypeVar
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

from streams.contract.records import ItemSummary
from streams.contract.settings import Settings
from streams.core.retrieval.forgetting import most_recent, renumbered
from streams.core.retrieval.rules import SHARE_PRIOR
from streams.core.retrieval.tops import TopLists

NO_CATEGORY: Final = -1
NOBODY: Final = -1
"""Stands for an item that the feed has not named, and pads lists of items."""

_ScalarT = TypeVar("_ScalarT", bound=np.generic)

_CTR_PRIOR: Final = 0.05
_CTR_PRIOR_IMPRESSIONS: Final = 20.0
_AT_ONCE: Final = 4096
"""Items that are written at once: so few that a whole feed does not go far beyond the bound, nor copies of it."""
_FORGOTTEN_SHARE: Final = 8
"""One in so many items is forgotten at a time, since it costs as much as writing a part of the feed."""
_TIE_BREAK: Final = 1e-6
"""In doublings of popularity: below what matters, above what rounding changes."""


class _Numbering(dict[str, int]):
    """Numbers names densely, in the order in which they are first looked up."""

    def __init__(self, names: list[str]) -> None:
        self._names = names

    def __missing__(self, name: str) -> int:
        number = self[name] = len(self._names)
        self._names.append(name)
        return number


class Catalogue:
    """Every item by a dense index; arrays are by index and may be longer than there are items.

    An item that is only known as another's neighbour has an index, and popularity 0, until its own summary comes.
    Beyond ``items.max_items`` those that were seen least recently are forgotten, which gives the others new indices: an
    index holds until the next :meth:`apply`.

    Attributes:
        ids: Item ids by index.
        popularity: As of the item's last summary, ``(n,)``.
        log_popularity: ``log1p`` of it, ``(n,)``.
        standing: log2 of the popularity at a common time, so that items are compared whenever they were last seen; an
            item that nobody saw has ``-inf``, ``(n,)``.
        impressions: ``(n,)``.
        ctr: Click rate, drawn to 5 % by the weight of 20 impressions, ``(n,)``.
        log_price: NaN where no price is known, ``(n,)``.
        category: Number of the category, :data:`NO_CATEGORY` for none, ``(n,)``.
        first_seen_ms: ``(n,)``.
        neighbours: Indices of the items that it leads to, strongest first, -1 padded, ``(n, n_neighbours)``.
        closeness: Smoothed share of each of them in all of the item's rules, same shape, 0 padded.
        bought: Item to indices of the items bought together with it, strongest first; items never bought are not in it.
    """

    def __init__(self, settings: Settings) -> None:
        self._half_life_ms = settings.items.half_life_s * 1000.0
        self.ids: list[str] = []
        self._indices = _Numbering(self.ids)
        self._categories: list[str] = []
        self._category_indices = _Numbering(self._categories)
        self._tops = TopLists()
        n_neighbours = settings.items.neighbours
        self._max_items = settings.items.max_items
        self._tie_break = np.zeros(0, np.uint32)
        self._seen_ms = np.full(0, -1, np.int64)
        self.popularity = np.zeros(0)
        self.log_popularity = np.zeros(0)
        self.standing = np.full(0, -inf)
        self.impressions = np.zeros(0)
        self.ctr = np.full(0, _CTR_PRIOR)
        self.price = np.full(0, nan)
        self.log_price = np.full(0, nan)
        self.category = np.full(0, NO_CATEGORY, np.int32)
        self.first_seen_ms = np.zeros(0, np.int64)
        self.neighbours = np.full((0, n_neighbours), -1, np.int32)
        self.closeness = np.zeros((0, n_neighbours), np.float32)
        self.bought: dict[int, list[int]] = {}

    def __len__(self) -> int:
        return len(self.ids)

    def find(self, item_id: str | None) -> int | None:
        """Returns an item's index, ``None`` for one that the feed has not named yet."""
        return None if item_id is None else self._indices.get(item_id)

    def number(self, item_ids: Iterable[str]) -> list[int]:
        """Returns the index of each item, :data:`NOBODY` for one that the feed has not named yet."""
        return [*map(self._indices.get, item_ids, repeat(NOBODY))]

    def find_all(self, item_ids: Iterable[str]) -> list[int]:
        """Returns the indices of the items that the feed has named, in their order."""
        return [item for item in map(self._indices.get, item_ids) if item is not None]

    def find_category(self, category: str | None) -> int:
        """Returns a category's number, :data:`NO_CATEGORY` for none and for one that no item is in."""
        return NO_CATEGORY if category is None else self._category_indices.get(category, NO_CATEGORY)

    def find_categories(self, categories: Iterable[str]) -> list[int]:
        """Returns the numbers of categories, see :meth:`find_category`."""
        return [*map(self._category_indices.get, categories, repeat(NO_CATEGORY))]

    @property
    def popular(self) -> list[int]:
        """Indices of the most popular items, first the most popular."""
        return self._tops.overall

    @property
    def newest(self) -> list[int]:
        """Indices of the items that were first seen last, newest first."""
        return self._tops.newest

    def popular_in(self, category: int) -> list[int]:
        """Indices of the most popular items of a category; none for :data:`NO_CATEGORY`."""
        return self._tops.by_category.get(category, [])

    def apply(self, summaries: Iterable[ItemSummary]) -> None:
        """Takes a part of the feed, in order; of several summaries of an item the last holds."""
        latest = list({summary.item_id: summary for summary in summaries}.values())
        for begin in range(0, len(latest), _AT_ONCE):
            self._apply(latest[begin : begin + _AT_ONCE])
            if len(self) > self._max_items:
                self._forget(self._max_items - self._max_items // _FORGOTTEN_SHARE)

    def _apply(self, latest: list[ItemSummary]) -> None:
        numbered = self._indices.__getitem__
        indices = np.array([numbered(summary.item_id) for summary in latest], np.int64)
        neighbours = np.fromiter(chain.from_iterable(map(numbered, s.neighbours) for s in latest), np.int32)
        self.bought |= {numbered(s.item_id): [numbered(other) for other in s.bought] for s in latest if s.bought}
        self._reserve(len(self.ids))
        lost = self._write(indices, latest)
        self._write_neighbours(indices, neighbours, latest)
        standing = self.standing[: len(self)]
        self._tops.update(indices, standing, self.first_seen_ms, self.category, self._tie_break, lost=lost)

    def _write(self, indices: NDArray[np.int64], summaries: list[ItemSummary]) -> bool:
        """Writes what is one number an item; returns whether one of them fell, is elsewhere, or older than it was."""
        category = np.array([self._category(summary.category) for summary in summaries], np.int32)
        tie_break = [crc32(summary.item_id.encode()) for summary in summaries]
        standing = np.array([self._standing(*pair) for pair in zip(summaries, tie_break, strict=True)])
        # A fall that rounding explains is none.
        fallen = standing < self.standing[indices] - 0.5 * _TIE_BREAK
        first_seen_ms = np.array([summary.first_seen_ms for summary in summaries])
        moved = (category != self.category[indices]) | (first_seen_ms < self.first_seen_ms[indices])
        moved &= self.standing[indices] > -inf
        popularity = [summary.popularity for summary in summaries]
        impressions = np.array([summary.impressions for summary in summaries])
        clicks = np.array([summary.clicks for summary in summaries])
        prices = [nan if summary.price is None else summary.price for summary in summaries]
        self._tie_break[indices] = tie_break
        self._seen_ms[indices] = [summary.updated_ms for summary in summaries]
        self.standing[indices] = standing
        self.category[indices] = category
        self.popularity[indices] = popularity
        # Number by number: numpy's own logarithm may differ in the last bit with the length of the array.
        self.log_popularity[indices] = [log1p(number) for number in popularity]
        self.impressions[indices] = impressions
        self.ctr[indices] = (clicks + _CTR_PRIOR * _CTR_PRIOR_IMPRESSIONS) / (impressions + _CTR_PRIOR_IMPRESSIONS)
        self.price[indices] = prices
        self.log_price[indices] = [log(price) if price > 0.0 else nan for price in prices]
        self.first_seen_ms[indices] = first_seen_ms
        return bool((fallen | moved).any())

    def _write_neighbours(
        self, indices: NDArray[np.int64], neighbours: NDArray[np.int32], summaries: list[ItemSummary]
    ) -> None:
        width = self.neighbours.shape[1]
        counts = np.array([len(summary.neighbours) for summary in summaries])
        strengths = np.fromiter(chain.from_iterable(summary.strengths for summary in summaries), np.float64)
        totals = np.array([sum(summary.strengths) for summary in summaries])
        rows = np.repeat(np.arange(len(summaries)), counts)
        columns = np.arange(len(neighbours)) - np.repeat(np.cumsum(counts) - counts, counts)
        kept = columns < width
        self.neighbours[indices] = -1
        self.neighbours[indices[rows[kept]], columns[kept]] = neighbours[kept]
        self.closeness[indices] = 0.0
        self.closeness[indices[rows[kept]], columns[kept]] = (strengths / (totals[rows] + SHARE_PRIOR))[kept]

    def _category(self, category: str | None) -> int:
        return NO_CATEGORY if category is None else self._category_indices[category]

    def _standing(self, summary: ItemSummary, tie_break: int) -> float:
        if summary.popularity <= 0.0:
            return -inf
        common = log2(summary.popularity) + summary.updated_ms / self._half_life_ms
        return common + _TIE_BREAK * tie_break / 2.0**32

    def _reserve(self, n_items: int) -> None:
        """Makes room for ``n_items``, at least doubling."""
        size = len(self.standing)
        if n_items <= size:
            return
        more = max(n_items, 2 * size, 1024) - size
        for name, filling in _FILLINGS.items():
            array = getattr(self, name)
            setattr(self, name, np.concatenate([array, _filled(array, more, filling)]))

    def _forget(self, keep: int) -> None:
        """Keeps the ``keep`` items that were seen last and numbers them anew, in their order."""
        n_items = len(self)
        kept = most_recent(self._seen_ms[:n_items], self._tie_break[:n_items], keep)
        numbers = np.full(n_items + 1, -1, np.int32)  # the last is of what pads lists, -1
        numbers[kept] = np.arange(keep)
        for name, filling in _FILLINGS.items():
            array = getattr(self, name)
            array[:keep] = array[kept]
            array[keep:n_items] = filling
        self.neighbours[:keep], self.closeness[:keep] = renumbered(
            self.neighbours[:keep], self.closeness[:keep], numbers
        )
        self.ids[:] = [self.ids[item] for item in kept.tolist()]
        self._indices.clear()
        self._indices.update(zip(self.ids, range(keep), strict=True))
        self.bought = {
            number: left
            for item, others in self.bought.items()
            if (number := int(numbers[item])) >= 0
            if (left := [other for other in numbers[others].tolist() if other >= 0])
        }
        everything = np.arange(keep)
        self._tops.update(
            everything, self.standing[:keep], self.first_seen_ms, self.category, self._tie_break, lost=True
        )


_FILLINGS: Final[dict[str, float]] = {
    "_tie_break": 0,
    "_seen_ms": -1,
    "popularity": 0.0,
    "log_popularity": 0.0,
    "standing": -inf,
    "impressions": 0.0,
    "ctr": _CTR_PRIOR,
    "price": nan,
    "log_price": nan,
    "category": NO_CATEGORY,
    "first_seen_ms": 0,
    "neighbours": -1,
    "closeness": 0.0,
}
"""The arrays of a catalogue, and what stands in them for an item that has no summary."""


def _filled(like: NDArray[_ScalarT], rows: int, filling: float) -> NDArray[_ScalarT]:
    return np.full((rows, *like.shape[1:]), filling, like.dtype)
