"""Item table: the items global table as arrays, read by retrieval and ranking."""

from collections.abc import Iterable
from itertools import chain, repeat
from math import inf, log, log1p, log2, nan
from typing import Final
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

from streams.contract.arrays import Float32Array, Float64Array, Int64Array
from streams.contract.catalogue import CatalogueRecord
from streams.contract.records import ItemSummary
from streams.contract.settings import Settings
from streams.core.retrieval.listing import Listing
from streams.core.retrieval.rules import SHARE_PRIOR
from streams.core.retrieval.top_k import TopLists
from streams.core.sums import float_sum

NO_CATEGORY: Final = -1
NOBODY: Final = -1
"""Index of an item that is not in the global table; also the padding of lists of items. In every array it is the last
entry, which is kept empty."""

_CTR_PRIOR: Final = 0.05
"""Click rate of a shop that has shown nothing; smooths the shop's own rate as that smooths an item's."""
_CTR_PRIOR_IMPRESSIONS: Final = 20.0
_FIXED_POINT: Final = 2.0**10
"""Sums over all items are of integers, so that they do not depend on the order in which items came."""
_MOST_COUNTED: Final = 2.0**34
"""Of one item: the sums of more items than a table holds cannot overflow."""
_CHUNK_ITEMS: Final = 4096
"""Items written at once; limits how far loading the global table exceeds the memory bound."""
_EVICTED_FRACTION: Final = 8
"""One in so many items is evicted at a time: an eviction costs as much as writing a part of the global table."""
_TIE_BREAK: Final = 1e-6
"""Largest tie break, in doublings of popularity: too small to matter, larger than rounding errors."""


class _Numbering(dict[str, int]):
    """Dense numbers of names, in the order of their first look-up."""

    def __init__(self, names: list[str]) -> None:
        self._names = names

    def __missing__(self, name: str) -> int:
        number = self[name] = len(self._names)
        self._names.append(name)
        return number


class ItemTable:
    """All items, each with a dense index into the arrays; arrays may be longer than the number of items.

    An item that is so far only named as a neighbour has an index, and popularity 0, until its own summary comes.
    Beyond ``items.max_items`` the least recently seen items are evicted and the others get new indices: an index is
    valid until the next :meth:`apply`.

    Attributes:
        ids: Item ids by index.
        popularity: As of the item's last summary, ``(n,)``.
        log_popularity: ``log1p`` of it, ``(n,)``.
        standing: log2 of the popularity at a common time, so that items last seen at different times are comparable;
            ``-inf`` for an item that was never seen, ``(n,)``.
        impressions: ``(n,)``.
        clicks: ``(n,)``.
        log_price: NaN where no price is known, ``(n,)``.
        category: Number of the category, :data:`NO_CATEGORY` for none, ``(n,)``.
        hidden: Whether the shop's catalogue keeps the item from being proposed, ``(n,)``.
        first_seen_ms: ``(n,)``.
        neighbours: Targets of the item's rules as indices, strongest first, -1 padded, ``(n, n_neighbours)``.
        closeness: Smoothed share of each of them in all of the item's rules, same shape, 0 padded.
        listing: The shop's catalogue.
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
        self.listing = Listing(settings.decisions.rules.exclude_tags)
        self.hidden = np.zeros(0, np.bool_)
        self._offered = np.full(0, -inf)
        self.impressions = np.zeros(0)
        self.clicks = np.zeros(0)
        self._mean_ctr = _CTR_PRIOR
        self.price = np.full(0, nan)
        self.log_price = np.full(0, nan)
        self.category = np.full(0, NO_CATEGORY, np.int32)
        self.first_seen_ms = np.zeros(0, np.int64)
        self.neighbours = np.full((0, n_neighbours), -1, np.int32)
        self.closeness = np.zeros((0, n_neighbours), np.float32)
        self.bought: dict[int, list[int]] = {}
        self._reserve(0)

    def __len__(self) -> int:
        return len(self.ids)

    def find(self, item_id: str | None) -> int | None:
        """Returns an item's index, ``None`` for one that is not in the global table."""
        return None if item_id is None else self._indices.get(item_id)

    def number(self, item_ids: Iterable[str]) -> list[int]:
        """Returns the index of each item, :data:`NOBODY` for one that is not in the global table."""
        return [*map(self._indices.get, item_ids, repeat(NOBODY))]

    def find_all(self, item_ids: Iterable[str]) -> list[int]:
        """Returns the indices of those items that are in the global table, in their order."""
        return [item for item in map(self._indices.get, item_ids) if item is not None]

    def find_category(self, category: str | None) -> int:
        """Returns a category's number, :data:`NO_CATEGORY` for ``None`` and for a category without items."""
        return NO_CATEGORY if category is None else self._category_indices.get(category, NO_CATEGORY)

    def find_categories(self, categories: Iterable[str]) -> list[int]:
        """Returns the numbers of several categories, see :meth:`find_category`."""
        return [*map(self._category_indices.get, categories, repeat(NO_CATEGORY))]

    def category_names(self, item_ids: Iterable[str]) -> list[str | None]:
        """Returns the category of each item: that of the shop's catalogue, otherwise that of its events."""
        names: list[str | None] = []
        for item_id in item_ids:
            number = self.category[self._indices.get(item_id, NOBODY)]
            names.append(self.listing.category(item_id) or (self._categories[number] if number >= 0 else None))
        return names

    def ctr(self, items: Int64Array) -> Float64Array:
        """Returns the click rate of items, smoothed by a prior of the shop's mean that weighs 20 impressions.

        An item that was hardly shown is then neither preferred nor passed over, whatever rate is usual in the shop.
        """
        prior = _CTR_PRIOR_IMPRESSIONS
        rates: Float64Array = (self.clicks[items] + self._mean_ctr * prior) / (self.impressions[items] + prior)
        return rates

    @property
    def popular(self) -> list[int]:
        """Indices of the most popular items, most popular first."""
        return self._tops.overall

    @property
    def newest(self) -> list[int]:
        """Indices of the items with the latest first event, newest first."""
        return self._tops.newest

    def popular_in(self, category: int) -> list[int]:
        """Indices of the most popular items of a category; none for :data:`NO_CATEGORY`."""
        return self._tops.by_category.get(category, [])

    def offered(self, items: list[int]) -> list[int]:
        """Returns the items that may be proposed, in their order."""
        return [item for item in items if not self.hidden[item]] if len(self.listing) else items

    def apply_listing(self, records: Iterable[CatalogueRecord]) -> None:
        """Applies records of the shop's catalogue, in order."""
        was_empty = not len(self.listing)
        changed = self.listing.apply(records)
        if was_empty != (not len(self.listing)):
            indices = np.arange(len(self))
        else:
            indices = np.array(self.find_all(changed), np.int64)
        if not len(indices):
            return
        self._hide(indices)
        before, after = self._offered[indices], np.where(self.hidden[indices], -inf, self.standing[indices])
        self._offered[indices] = after
        lost = self._tops.hold(indices[after < before].tolist())
        self._update_tops(indices, lost=lost)

    def _hide(self, indices: Int64Array) -> None:
        hides = self.listing.hides
        self.hidden[indices] = [hides(self.ids[item]) for item in indices.tolist()]

    def _update_tops(self, indices: Int64Array, *, lost: bool) -> None:
        offered = self._offered[: len(self)]
        self._tops.update(indices, offered, self.first_seen_ms, self.category, self._tie_break, lost=lost)

    def apply(self, summaries: Iterable[ItemSummary]) -> None:
        """Applies records of the global table, in order; of several summaries of an item the last one counts."""
        latest = list({summary.item_id: summary for summary in summaries}.values())
        if not latest:
            return
        for begin in range(0, len(latest), _CHUNK_ITEMS):
            self._apply(latest[begin : begin + _CHUNK_ITEMS])
            if len(self) > self._max_items:
                self._evict(self._max_items - self._max_items // _EVICTED_FRACTION)
        clicks, impressions = _counted(self.clicks), _counted(self.impressions)
        self._mean_ctr = (clicks + _CTR_PRIOR * _CTR_PRIOR_IMPRESSIONS) / (impressions + _CTR_PRIOR_IMPRESSIONS)

    def _apply(self, latest: list[ItemSummary]) -> None:
        numbered, n_before = self._indices.__getitem__, len(self)
        indices = np.array([numbered(summary.item_id) for summary in latest], np.int64)
        neighbours = np.fromiter(chain.from_iterable(map(numbered, s.neighbours) for s in latest), np.int32)
        self.bought |= {numbered(s.item_id): [numbered(other) for other in s.bought] for s in latest if s.bought}
        self._reserve(len(self.ids))
        if len(self.listing):
            self._hide(np.arange(n_before, len(self)))
        lost = self._write(indices, latest)
        self._write_neighbours(indices, neighbours, latest)
        self._update_tops(indices, lost=lost)

    def _write(self, indices: Int64Array, summaries: list[ItemSummary]) -> bool:
        """Writes the scalar arrays; returns whether an item fell, changed its category, or became older."""
        numbered = self._category_indices.__getitem__
        category = np.array([NO_CATEGORY if s.category is None else numbered(s.category) for s in summaries], np.int32)
        tie_break = [crc32(summary.item_id.encode()) for summary in summaries]
        standing = np.array([self._standing(*pair) for pair in zip(summaries, tie_break, strict=True)])
        # A smaller fall may be a rounding error.
        offered = np.where(self.hidden[indices], -inf, standing)
        fallen = offered < self._offered[indices] - 0.5 * _TIE_BREAK
        first_seen_ms = np.array([summary.first_seen_ms for summary in summaries])
        moved = (category != self.category[indices]) | (first_seen_ms < self.first_seen_ms[indices])
        moved &= self._offered[indices] > -inf
        popularity = [summary.popularity for summary in summaries]
        impressions = np.array([summary.impressions for summary in summaries])
        clicks = np.array([summary.clicks for summary in summaries])
        prices = [nan if summary.price is None else summary.price for summary in summaries]
        self._tie_break[indices] = tie_break
        self._seen_ms[indices] = [summary.updated_ms for summary in summaries]
        self.standing[indices] = standing
        self._offered[indices] = offered
        self.category[indices] = category
        self.popularity[indices] = popularity
        # Number by number: numpy's own logarithm may differ in the last bit with the length of the array.
        self.log_popularity[indices] = [log1p(number) for number in popularity]
        self.impressions[indices] = impressions
        self.clicks[indices] = clicks
        self.price[indices] = prices
        self.log_price[indices] = [log(price) if price > 0.0 else nan for price in prices]
        self.first_seen_ms[indices] = first_seen_ms
        return bool((fallen | moved).any())

    def _write_neighbours(
        self, indices: Int64Array, neighbours: NDArray[np.int32], summaries: list[ItemSummary]
    ) -> None:
        width = self.neighbours.shape[1]
        counts = np.array([len(summary.neighbours) for summary in summaries])
        strengths = np.fromiter(chain.from_iterable(summary.strengths for summary in summaries), np.float64)
        totals = np.array([float_sum(summary.strengths) for summary in summaries])
        rows = np.repeat(np.arange(len(summaries)), counts)
        columns = np.arange(len(neighbours)) - np.repeat(np.cumsum(counts) - counts, counts)
        kept = columns < width
        self.neighbours[indices] = -1
        self.neighbours[indices[rows[kept]], columns[kept]] = neighbours[kept]
        self.closeness[indices] = 0.0
        self.closeness[indices[rows[kept]], columns[kept]] = (strengths / (totals[rows] + SHARE_PRIOR))[kept]

    def _standing(self, summary: ItemSummary, tie_break: int) -> float:
        if summary.popularity <= 0.0:
            return -inf
        common = log2(summary.popularity) + summary.updated_ms / self._half_life_ms
        return common + _TIE_BREAK * tie_break / 2.0**32

    def _reserve(self, n_items: int) -> None:
        size = len(self.standing)
        if n_items < size:
            return
        more = max(n_items + 1, 2 * size, 1024) - size
        for name, filling in _FILLINGS.items():
            array = getattr(self, name)
            setattr(self, name, np.concatenate([array, np.full((more, *array.shape[1:]), filling, array.dtype)]))

    def _evict(self, keep: int) -> None:
        """Keeps the ``keep`` most recently seen items and renumbers them, in their order."""
        n_items = len(self)
        kept = most_recent(self._seen_ms[:n_items], self._tie_break[:n_items], keep)
        numbers = np.full(n_items + 1, -1, np.int32)  # index -1, the padding of lists, maps to the last entry: -1
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
            number: remaining
            for item, others in self.bought.items()
            if (number := int(numbers[item])) >= 0
            if (remaining := [other for other in numbers[others].tolist() if other >= 0])
        }
        self._update_tops(np.arange(keep), lost=True)


_FILLINGS: Final[dict[str, float]] = {
    "_tie_break": 0,
    "_seen_ms": -1,
    "popularity": 0.0,
    "log_popularity": 0.0,
    "standing": -inf,
    "_offered": -inf,
    "hidden": False,
    "impressions": 0.0,
    "clicks": 0.0,
    "price": nan,
    "log_price": nan,
    "category": NO_CATEGORY,
    "first_seen_ms": 0,
    "neighbours": -1,
    "closeness": 0.0,
}
"""The arrays of the item table, each with its value for an item without a summary."""


def most_recent(seen_ms: Int64Array, tie_break: NDArray[np.uint32], keep: int) -> Int64Array:
    """Returns the indices of the ``keep`` most recently seen items, ascending; ties are ordered by ``tie_break``.

    >>> most_recent(np.array([5, 9, -1, 7]), np.zeros(4, np.uint32), 2).tolist()
    [1, 3]
    """
    return np.sort(np.lexsort((tie_break, -seen_ms))[:keep])


def renumbered(
    neighbours: NDArray[np.int32], closeness: Float32Array, numbers: NDArray[np.int32]
) -> tuple[NDArray[np.int32], Float32Array]:
    """Renumbers neighbours and removes evicted ones; later neighbours move up.

    Args:
        neighbours: Old indices, -1 padded, ``(n, n_neighbours)``.
        closeness: Closeness of each, 0 padded, same shape; its values stay as they are.
        numbers: New index by the old one, -1 for an evicted item; one longer than the number of old items, with -1 at
            the end.

    >>> neighbours, closeness = np.array([[2, 0, -1]], np.int32), np.array([[0.5, 0.25, 0.0]], np.float32)
    >>> [array.tolist() for array in renumbered(neighbours, closeness, np.array([1, 0, -1, -1], np.int32))]
    [[[1, -1, -1]], [[0.25, 0.0, 0.0]]]
    """
    renamed = numbers[neighbours]
    order = np.argsort(renamed < 0, axis=1, kind="stable")
    renamed = np.take_along_axis(renamed, order, axis=1)
    return renamed, np.where(renamed >= 0, np.take_along_axis(closeness, order, axis=1), np.float32(0.0))


def _counted(values: Float64Array) -> float:
    """Sums counts exactly, to a thousandth each.

    >>> _counted(np.array([0.5, 2.25]))
    2.75
    """
    return int((np.minimum(values, _MOST_COUNTED) * _FIXED_POINT).astype(np.int64).sum()) / _FIXED_POINT
