"""Groups of features: what a person would call one reason. Features of one group move together.

A feature names its group in its own table; a contribution of a group is the sum of those of its features.
"""

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Final

import numpy as np

from streams.contract.arrays import Float64Array

SHOPPER_GROUPS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "views": "recent views",
        "searches": "recent searches",
        "cart": "additions to the cart",
        "purchases": "earlier purchases",
        "visit": "course of this visit",
        "recommendations": "recommended items, and clicks on them",
        "interest": "interest in this item and its category",
        "price": "price of this item",
        "hour": "time of day",
    }
)
"""Group of a shopper's features to the words to display."""
ITEM_GROUPS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "related": "goes with what was viewed",
        "trending": "from a category of interest",
        "cart": "in the cart, or viewed before",
        "bought": "bought together with the cart",
        "popular": "popular in the shop",
        "clicked": "often clicked when shown",
        "new": "new in the shop",
        "price": "close to the usual price",
        "base": "the same for every item",
    }
)
"""Group of a recommended item's features to the words to display. Each candidate source is the name of one of them."""


class Grouping:
    """Sums of columns by group.

    Args:
        groups: Group of each column, ``(n_columns,)``.

    Attributes:
        names: Of the groups, in the order of their first columns.
    """

    def __init__(self, groups: Sequence[str]) -> None:
        self.names = tuple(dict.fromkeys(groups))
        numbers = np.array([self.names.index(group) for group in groups])
        self._order = np.argsort(numbers, kind="stable")
        self._begins = np.searchsorted(numbers[self._order], np.arange(len(self.names)))

    def sums(self, contributions: Float64Array) -> Float64Array:
        """Sums ``(n, n_columns)`` to ``(n, n_groups)``; a row's sums have the same bits in any batch.

        >>> Grouping(["views", "price", "views"]).sums(np.array([[1.0, 2.0, 4.0]]))
        array([[5., 2.]])
        """
        ordered = contributions.take(self._order, axis=1)
        return np.asarray(np.add.reduceat(ordered, self._begins, axis=1))
