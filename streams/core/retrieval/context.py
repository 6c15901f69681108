"""Context of a decision: the shopper at one event that asks for it, as input of retrieval and ranking."""

from collections.abc import Collection, Mapping, Sequence

import msgspec

from streams.core.retrieval.item_table import NOBODY, ItemTable


class ShopperContext(msgspec.Struct, frozen=True, gc=False):
    """A shopper at an event that asks for a decision.

    Attributes:
        item_id: The event's item; ``None`` if it has none.
        views: Item to its number of views, least recent first, the current item last.
        cart_items: Items in the cart, oldest first.
        session_items: Distinct items viewed in this session, most recent first.
        category_shares: Category to its share of the shopper's affinity; they sum to 1.
        usual_log_price: Log of the shopper's usual price.
        excluded: Items that may not be shown to this shopper.
    """

    item_id: str | None
    category: str | None
    views: dict[str, int]
    cart_items: Sequence[str]
    session_items: Sequence[str]
    category_shares: Mapping[str, float]
    usual_log_price: float | None
    timestamp_ms: int
    excluded: Collection[str] = ()


class DecisionContext(msgspec.Struct, frozen=True, gc=False):
    """A context in the item table's indices; an item that is not in it is :data:`NOBODY`, except where noted.

    Attributes:
        item: The event's item; ``None`` if it has none that is in the item table.
        category: Category that the event names.
        recent: Viewed items, most recent first.
        repeated: Items viewed more than once, most recent first; without those that are not in the item table.
        cart: Items in the cart, newest first; without those that are not in the item table.
        session: Items viewed in this session, most recent first.
        favourite: The shopper's strongest category, :data:`NO_CATEGORY` for none.
        categories: All categories of the shopper.
        shares: Share of each of them.
        excluded: Items that may not be shown; without those that are not in the item table.
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
    excluded: Sequence[int] = ()


def decision_context(item_table: ItemTable, context: ShopperContext) -> DecisionContext:
    """Looks up the indices of a context, once for retrieval and ranking."""
    views, shares = context.views, context.category_shares
    recent, times = item_table.number(reversed(views)), [*reversed(views.values())]
    has_repeated = max(times, default=0) > 1
    return DecisionContext(
        item_table.find(context.item_id),
        item_table.find_category(context.category),
        recent,
        [item for item, n in zip(recent, times, strict=True) if n > 1 and item != NOBODY] if has_repeated else [],
        item_table.find_all(reversed(context.cart_items)) if context.cart_items else [],
        item_table.number(context.session_items),
        # The greater name among equal shares: the result must not depend on the order of the dictionary.
        item_table.find_category(max(zip(shares.values(), shares, strict=True))[1] if shares else None),
        item_table.find_categories(shares),
        [*shares.values()],
        context.usual_log_price,
        context.timestamp_ms,
        item_table.find_all(context.excluded) if context.excluded else (),
    )
