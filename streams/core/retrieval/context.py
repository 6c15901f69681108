"""What a decision is made in: the shopper as retrieval and ranking see them, at one view."""

from collections.abc import Mapping, Sequence

import msgspec

from streams.core.retrieval.catalogue import NOBODY, Catalogue


class Context(msgspec.Struct, frozen=True, gc=False):
    """A shopper at a view.

    Attributes:
        item_id: What they look at.
        views: Item to how often it was looked at, least recent first, the current one last.
        cart_items: In the cart, oldest first.
        session_items: Distinct items looked at in this session, nearest first.
        category_shares: Category to its share of the shopper's leaning; they sum to 1.
        usual_log_price: Log of the price that they usually look at.
    """

    item_id: str | None
    category: str | None
    views: dict[str, int]
    cart_items: Sequence[str]
    session_items: Sequence[str]
    category_shares: Mapping[str, float]
    usual_log_price: float | None
    timestamp_ms: int


class Known(msgspec.Struct, frozen=True, gc=False):
    """A context in the catalogue's numbers; unnamed items are :data:`NOBODY`, if nothing else is said.

    Attributes:
        item: ``None`` where it has not been named.
        category: As the event has it.
        recent: Looked at, nearest first.
        repeated: Looked at more than once, nearest first; others are left out.
        cart: Last one first; others are left out.
        session: Looked at in this session, nearest first.
        favourite: The category that the shopper leans to most, :data:`NO_CATEGORY` for none.
        categories: All that the shopper leans to.
        shares: Of each of them.
    """

    item: int | None
    category: int
    recent: list[int]
    repeated: list[int]
    cart: list[int]
    session: list[int]
    favourite: int
    categories: list[int]
    shares: list[float]
    usual_log_price: float | None
    timestamp_ms: int


def known(catalogue: Catalogue, context: Context) -> Known:
    """Looks a context up, once for retrieval and ranking."""
    views, shares = context.views, context.category_shares
    recent, times = catalogue.number(reversed(views)), [*reversed(views.values())]
    has_repeated = max(times, default=0) > 1
    return Known(
        catalogue.find(context.item_id),
        catalogue.find_category(context.category),
        recent,
        [item for item, n in zip(recent, times, strict=True) if n > 1 and item != NOBODY] if has_repeated else [],
        catalogue.find_all(reversed(context.cart_items)) if context.cart_items else [],
        catalogue.number(context.session_items),
        # The greater name of equal shares, whatever order they are kept in.
        catalogue.find_category(max(zip(shares.values(), shares, strict=True))[1] if shares else None),
        catalogue.find_categories(shares),
        [*shares.values()],
        context.usual_log_price,
        context.timestamp_ms,
    )
