"""What a shopper leans towards: categories, prices, and the items of late."""

from math import exp2, log
from typing import Final

import msgspec

MAX_CATEGORIES: Final = 8
MAX_ITEMS: Final = 16
MAX_CART: Final = 16
HALF_LIFE_MS: Final = 7 * 86_400_000


class Affinities(msgspec.Struct, array_like=True):
    """Decayed leanings and the last items.

    Attributes:
        updated_ms: What the weights are as of.
        categories: Category to decayed weight, at most :data:`MAX_CATEGORIES`.
        log_price: Weighted mean of log prices looked at; ``None`` before the first price.
        price_weight: Decayed weight behind ``log_price``.
        items: Item to how often it was looked at, least recent first, at most :data:`MAX_ITEMS`.
        cart: Items put into the cart and not taken out or bought, oldest first.
    """

    updated_ms: int = 0
    categories: dict[str, float] = msgspec.field(default_factory=dict)
    log_price: float | None = None
    price_weight: float = 0.0
    items: dict[str, int] = msgspec.field(default_factory=dict)
    cart: list[str] = msgspec.field(default_factory=list)

    def lean(self, now_ms: int, category: str | None, price: float | None, weight: float) -> None:
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
        total = sum(self.categories.values())
        return {name: weight / total for name, weight in self.categories.items()} if total > 0.0 else {}

    def look(self, item: str) -> int:
        """Notes that an item was looked at; returns how often it had been before."""
        before = self.items.pop(item, 0)
        self.items[item] = before + 1
        if len(self.items) > MAX_ITEMS:
            del self.items[next(iter(self.items))]
        return before

    def put_in_cart(self, item: str) -> None:
        """Notes an item put into the cart."""
        if item not in self.cart:
            self.cart.append(item)
            del self.cart[:-MAX_CART]

    def take_from_cart(self, item: str) -> None:
        """Notes an item taken out of the cart, or bought."""
        if item in self.cart:
            self.cart.remove(item)
