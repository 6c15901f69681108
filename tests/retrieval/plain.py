"""Retrieval in plain Python, one shopper at a time: what the one over arrays must agree with, item by item."""

from itertools import chain, zip_longest

from streams.core.retrieval.context import ShopperContext
from streams.core.retrieval.item_table import NO_CATEGORY, ItemTable
from streams.core.retrieval.rules import LAST_ITEMS, rank
from streams.core.retrieval.shortlist import Shortlist

QUOTAS = {20: (8, 4, 2, 2, 1), 7: (3, 1, 1, 1, 1), 1: (1, 1, 1, 1, 1)}
"""How many of each kind come first, by the size of the list."""


def closest(item_table: ItemTable, item: int) -> list[tuple[int, float]]:
    rules = zip(item_table.neighbours[item].tolist(), item_table.closeness[item].tolist(), strict=True)
    return [(other, share) for other, share in rules if other >= 0]


def last_items(item_table: ItemTable, context: ShopperContext) -> list[int]:
    names = [context.item_id, *(name for name in context.session_items[:LAST_ITEMS] if name != context.item_id)]
    return [item for item in map(item_table.find, names) if item is not None]


def plain_shortlist(item_table: ItemTable, context: ShopperContext, size: int) -> Shortlist:
    current = item_table.find(context.item_id)
    category = item_table.find_category(context.category)
    if category == NO_CATEGORY and current is not None:
        category = int(item_table.category[current])
    shares = context.category_shares
    favourite = max(shares, key=lambda name: (shares[name], name)) if shares else None
    cart = [item for item in map(item_table.find, reversed(context.cart_items)) if item is not None]
    repeated = [name for name in reversed(context.views) if context.views[name] > 1]
    again = [item for item in map(item_table.find, repeated) if item is not None]
    sources = cart if current is None or current in cart else [*cart, current]
    together = chain.from_iterable(zip_longest(*(item_table.bought.get(source, []) for source in sources)))
    proposals = (
        rank(last_items(item_table, context), lambda item: closest(item_table, item)),
        [*item_table.popular_in(category), *item_table.popular_in(item_table.find_category(favourite))],
        [*cart, *again],
        [item for item in together if item is not None and item not in cart],
        [*item_table.popular[:2], *item_table.newest[:2], *item_table.popular[2:20]],
    )
    chosen: dict[int, int] = {}
    for quotas in (QUOTAS[size], (size,) * len(proposals)):
        for kind, (items, quota) in enumerate(zip(proposals, quotas, strict=True)):
            fresh = dict.fromkeys(item for item in items if item != current and item not in chosen)
            room = min(quota, size - len(chosen))
            chosen |= dict.fromkeys(list(fresh)[:room], kind)
    return Shortlist(list(chosen), list(chosen.values()))
