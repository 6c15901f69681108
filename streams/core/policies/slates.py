"""Slates: slots are filled one by one, each with an item drawn from the rest of the shortlist."""

from collections.abc import Callable, Sequence
from typing import NamedTuple, Self

import numpy as np

from streams.contract.arrays import BoolArray, Float64Array, Int64Array
from streams.core.retrieval.item_table import NO_CATEGORY

Probabilities = Callable[[BoolArray], Float64Array]
"""Function from eligible items to probabilities, 0 for all others; both ``(n_decisions, n_items)``."""


class Slates(NamedTuple):
    """Drawn slates.

    Attributes:
        slates: Places in the shortlist, first slot first, -1 where nothing was left, ``(n_decisions, n_slots)``.
        propensities: Probability of each slot given the slots before it, NaN for none, same shape.
    """

    slates: Int64Array
    propensities: Float64Array


class CategoryLimit(NamedTuple):
    """The rule ``max_per_category`` for some decisions.

    Attributes:
        categories: Number of each item's category, equal for items of one category and decision;
            :data:`~streams.core.retrieval.item_table.NO_CATEGORY` where it has none or there is no limit,
            ``(n_decisions, n_items)``.
        most: Items of one category in a slate, ``(n_decisions,)``.
    """

    categories: Int64Array
    most: Int64Array

    @classmethod
    def of_names(cls, categories: Sequence[Sequence[str | None]], most: Sequence[int], width: int) -> Self | None:
        """Numbers the categories of each shortlist; returns ``None`` where nothing is limited.

        Args:
            categories: Category of each item, ``None`` for none.
            most: Items of one category in each slate, 0 for any number.
            width: Of the arrays: the longest shortlist.
        """
        if not any(most):
            return None
        numbered = np.full((len(most), width), NO_CATEGORY)
        for row, (names, limit) in enumerate(zip(categories, most, strict=True)):
            if limit:
                numbers: dict[str | None, int] = {None: NO_CATEGORY}
                numbered[row, : len(names)] = [numbers.setdefault(name, len(numbers)) for name in names]
        return cls(numbered, np.array(most))

    def of(self, part: slice | Int64Array) -> Self:
        """Returns the limits of some of the decisions."""
        return self._replace(categories=self.categories[part], most=self.most[part])


class Remaining:
    """Items that may be drawn for the next slot.

    Attributes:
        items: Their mask, ``(n_decisions, n_items)``.

    Args:
        items: All items of the shortlists, same shape.
        limit: Takes out, too, what is of a category that a slate has enough of.
    """

    def __init__(self, items: BoolArray, limit: CategoryLimit | None) -> None:
        self.items = items.copy()
        self._limit = limit
        self._n_alike = np.zeros(items.shape, np.int64)

    def take(self, decisions: Int64Array, drawn: Int64Array) -> None:
        """Takes out the item that was drawn in each of some decisions, and those that may not follow it."""
        self.items[decisions, drawn] = False
        if self._limit is not None:
            categories, most = self._limit.of(decisions)
            own = self._limit.categories[decisions, drawn][:, None]
            is_alike = (categories == own) & (own != NO_CATEGORY)
            self._n_alike[decisions] += is_alike
            self.items[decisions] &= ~(is_alike & (self._n_alike[decisions] >= most[:, None]))


def draw_slates(
    there: BoolArray,
    preferred: BoolArray,
    probabilities_of: Probabilities,
    uniforms: Float64Array,
    limit: CategoryLimit | None = None,
) -> Slates:
    """Fills the slots; a decision is drawn the same in any batch.

    Args:
        there: Items of the shortlist, ``(n_decisions, n_items)``.
        preferred: Items to draw first; others are drawn only when none of these remains; same shape.
        uniforms: In [0, 1), one a slot, ``(n_decisions, n_slots)``.
        limit: Of items of one category.
    """
    n_decisions, n_slots = uniforms.shape
    remaining = Remaining(there, limit)
    slates = np.full((n_decisions, n_slots), -1)
    propensities = np.full((n_decisions, n_slots), np.nan)
    for slot in range(n_slots):
        wanted = remaining.items & preferred
        eligible = np.where(wanted.any(axis=1, keepdims=True), wanted, remaining.items)
        probabilities = probabilities_of(eligible)
        drawn = _draw(probabilities, uniforms[:, slot])
        filled = np.flatnonzero(remaining.items.any(axis=1))
        slates[filled, slot] = drawn[filled]
        propensities[filled, slot] = probabilities[filled, drawn[filled]]
        remaining.take(filled, drawn[filled])
    return Slates(slates, propensities)


def items_that_are(n_items: Int64Array, width: int) -> BoolArray:
    """Returns the mask of each shortlist's items, without its padding, ``(n_decisions, width)``."""
    return np.arange(width) < n_items[:, None]


def _draw(probabilities: Float64Array, uniforms: Float64Array) -> Int64Array:
    drawn = (probabilities.cumsum(axis=1) <= uniforms[:, None]).sum(axis=1)
    # Rounding may leave the sum below 1: a uniform above it draws the last item.
    last = probabilities.shape[1] - 1 - (probabilities[:, ::-1] > 0.0).argmax(axis=1)
    within: Int64Array = np.minimum(drawn, last)
    return within
