"""Retrieval in plain Python, one shopper at a time: what the one over arrays must agree with, item by item."""

from itertools import chain, zip_longest

from streams.core.retrieval.catalogue import NO_CATEGORY, Catalogue
from streams.core.retrieval.context import ShopperContext
from streams.core.retrieval.rules import LAST_ITEMS, rank
from streams.core.retrieval.shortlist import Shortlist

QUOTAS = {20: (8, 4, 2, 2, 4), 7: (3, 1, 1, 1, 1), 1: (1, 1, 1, 1, 1)}
"""How many of each kind come first, by the size of the list."""


def closest(catalogue: Catalogue, item: int) -> list[tuple[int, float]]:
    rules = zip(catalogue.neighbours[item].tolist(), catalogue.closeness[item].tolist(), strict=True)
    return [(other, share) for other, share in rules if other >= 0]


def last_items(catalogue: Catalogue, context: ShopperContext) -> list[int]:
    names = [context.item_id, *(name for name in context.session_items[:LAST_ITEMS] if name != context.item_id)]
    return [item for item in map(catalogue.find, names) if item is not None]


def plain_shortlist(catalogue: Catalogue, context: ShopperContext, size: int) -> Shortlist:
    current = catalogue.find(context.item_id)
    category = catalogue.find_category(context.category)
    if category == NO_CATEGORY and current is not None:
        category = int(catalogue.category[current])
    shares = context.category_shares
    favourite = max(shares, key=lambda name: (shares[name], name)) if shares else None
    cart = [item for item in map(catalogue.find, reversed(context.cart_items)) if item is not None]
    repeated = [name for name in reversed(context.views) if context.views[name] > 1]
    again = [item for item in map(catalogue.find, repeated) if item is not None]
    sources = cart if current is None or current in cart else [*cart, current]
    together = chain.from_iterable(zip_longest(*(catalogue.bought.get(source, []) for source in sources)))
    proposals = (
        rank(last_items(catalogue, context), lambda item: closest(catalogue, item)),
        [*catalogue.popular_in(category), *catalogue.popular_in(catalogue.find_category(favourite))],
        [*cart, *again],
        [item for item in together if item is not None and item not in cart],
        [*catalogue.popular[:2], *catalogue.newest[:2], *catalogue.popular[2:20]],
    )
    chosen: dict[int, int] = {}
    for quotas in (QUOTAS[size], (size,) * len(proposals)):
        for kind, (items, quota) in enumerate(zip(proposals, quotas, strict=True)):
            fresh = dict.fromkeys(item for item in items if item != current and item not in chosen)
            room = min(quota, size - len(chosen))
            chosen |= dict.fromkeys(list(fresh)[:room], kind)
    return Shortlist(list(chosen), list(chosen.values()))
