"""Affinities of a shopper: categories, prices, and the latest items."""

from math import exp2, log
from typing import Final

import msgspec

from streams.core.sums import float_sum

MAX_CATEGORIES: Final = 8
MAX_ITEMS: Final = 16
MAX_CART: Final = 16
HALF_LIFE_MS: Final = 7 * 86_400_000


class Affinities(msgspec.Struct, array_like=True):
    """Decayed affinities and the last items.

    Attributes:
        updated_ms: Time to which the weights are decayed.
        categories: Category to decayed weight, at most :data:`MAX_CATEGORIES`.
        log_price: Weighted mean of the log prices of viewed items; ``None`` before the first price.
        price_weight: Decayed weight of ``log_price``.
        items: Item to its number of views, least recent first, at most :data:`MAX_ITEMS`.
        cart: Items put into the cart and not taken out or bought, oldest first.
    """

    updated_ms: int = 0
    categories: dict[str, float] = msgspec.field(default_factory=dict)
    log_price: float | None = None
    price_weight: float = 0.0
    items: dict[str, int] = msgspec.field(default_factory=dict)
    cart: list[str] = msgspec.field(default_factory=list)

    def add_weight(self, now_ms: int, category: str | None, price: float | None, weight: float) -> None:
        """Adds ``weight`` to a category and a price; older weights have decayed by then."""
        if now_ms > self.updated_ms:
            fade = exp2((self.updated_ms - now_ms) / HALF_LIFE_MS) if self.updated_ms else 0.0
            self.categories = {name: faded * fade for name, faded in self.categories.items()}
            self.price_weight *= fade
            self.updated_ms = now_ms
        if category is not None:
            self.categories[category] = self.categories.get(category, 0.0) + weight
            if len(self.categories) > MAX_CATEGORIES:
                del self.categories[min(self.categories, key=lambda name: (self.categories[name], name))]
        if price is not None and price > 0.0:
            self.price_weight += weight
            log_price = log(price)
            usual = self.log_price if self.log_price is not None else log_price
            self.log_price = usual + (log_price - usual) * weight / self.price_weight

    def shares(self) -> dict[str, float]:
        """Returns each category's share of all weight; they sum to 1."""
        total = float_sum(self.categories.values())
        return {name: weight / total for name, weight in self.categories.items()} if total > 0.0 else {}

    def record_view(self, item: str) -> int:
        """Counts a view of an item; returns the number of its views before."""
        before = self.items.pop(item, 0)
        self.items[item] = before + 1
        if len(self.items) > MAX_ITEMS:
            del self.items[next(iter(self.items))]
        return before

    def add_to_cart(self, item: str) -> None:
        if item not in self.cart:
            self.cart.append(item)
            del self.cart[:-MAX_CART]

    def remove_from_cart(self, item: str) -> None:
        """Removes an item that was taken out of the cart or bought."""
        if item in self.cart:
            self.cart.remove(item)
