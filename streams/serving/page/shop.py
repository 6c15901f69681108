"""Shelf of the sample shop: two dozen products of the shop's own catalogue."""

from collections.abc import Sequence
from typing import Final

import msgspec

from streams.contract.catalogue import CatalogueItem, CatalogueRecord

_CATEGORIES: Final = 6
_OF_EACH: Final = 4
_MOST: Final = 20_000


class Product(msgspec.Struct, frozen=True):
    """A product, as the catalogue has it, or as events name it."""

    item_id: str
    title: str
    category: str
    price: float


class Shelf(msgspec.Struct, frozen=True):
    """The shelf.

    Attributes:
        is_new: Whether the shop has no products yet, so that sample products hide none.
    """

    products: list[Product]
    is_new: bool


class Products:
    """What is known of products: the shop's catalogue, and events where it has no record.

    Attributes:
        titles: Item to its title; items without one are left out.
    """

    def __init__(self) -> None:
        self._listed: dict[str, CatalogueItem] = {}
        self._named: dict[str, Product] = {}
        self.titles: dict[str, str] = {}

    def apply(self, record: CatalogueRecord) -> None:
        """Applies a record of the catalogue; beyond 20,000 items new ones are left out."""
        self.titles.pop(record.item_id, None)
        if not isinstance(record, CatalogueItem):
            self._listed.pop(record.item_id, None)
        elif record.item_id in self._listed or len(self._listed) < _MOST:
            self._listed[record.item_id] = record
            if record.title is not None:
                self.titles[record.item_id] = record.title

    def name(self, item_id: str, category: str | None, price: float | None) -> None:
        """Takes what an event says of an item."""
        if item_id not in self._named and category is not None and len(self._named) < _MOST:
            self._named[item_id] = Product(item_id, item_id, category, price or 0.0)

    def find(self, item_id: str) -> Product:
        """Describes a product; what is not known is empty."""
        listed, named = self._listed.get(item_id), self._named.get(item_id)
        if listed is None:
            return named or Product(item_id, item_id, "", 0.0)
        category = listed.category or (named.category if named else "")
        price = listed.price if listed.price is not None else named.price if named else 0.0
        return Product(item_id, listed.title or item_id, category, price)

    def shelf(self, popular: Sequence[str]) -> Shelf:
        """Chooses the most popular products of the categories that have the most.

        Args:
            popular: Items that shoppers saw, most popular first.
        """
        by_category: dict[str, list[Product]] = {}
        offered = [item_id for item_id, item in self._listed.items() if item.available] or [*self._named]
        known = set(offered)
        for item_id in [each for each in popular if each in known] + offered:
            product = self.find(item_id)
            chosen = by_category.setdefault(product.category, [])
            if len(chosen) < _OF_EACH and product not in chosen:
                chosen.append(product)
        largest = sorted(by_category, key=lambda category: -len(by_category[category]))[:_CATEGORIES]
        return Shelf([product for category in largest for product in by_category[category]], not offered)
