"""What a decision is made in: the shopper as retrieval and ranking see them, at one view."""

from collections.abc import Mapping
from typing import NamedTuple


class Context(NamedTuple):
    """A shopper at a view.

    Attributes:
        item_id: What they look at.
        recent_items: Items looked at, nearest first, the current one first of all.
        view_counts: Item to how often it was looked at.
        cart_items: In the cart, oldest first.
        session_items: Distinct items looked at in this session, nearest first.
        category_shares: Category to its share of the shopper's leaning; they sum to 1.
        usual_log_price: Log of the price that they usually look at.
    """

    item_id: str | None
    category: str | None
    recent_items: tuple[str, ...]
    view_counts: Mapping[str, int]
    cart_items: tuple[str, ...]
    session_items: tuple[str, ...]
    category_shares: Mapping[str, float]
    usual_log_price: float | None
    timestamp_ms: int
