"""The shortlist: at most 20 items that may be shown, proposed by five kinds of retrieval, without randomness."""

from collections.abc import Iterable
from itertools import chain, zip_longest
from typing import Final, NamedTuple

from streams.core.retrieval.catalogue import NO_CATEGORY, Catalogue
from streams.core.retrieval.context import Context
from streams.core.retrieval.rules import LAST_ITEMS, rank

KINDS: Final = ("related", "trending", "cart", "bought", "popular")
"""What the session's last items lead to; popular in the category; in the cart or looked at again; bought together with
the cart or the current item; popular or new."""
MAX_ITEMS: Final = 20

_SHARES: Final = (0.4, 0.2, 0.1, 0.1, 0.2)
"""Of the shortlist, by kind; what a kind cannot fill goes to the others."""
_NEW: Final = 2
_CURRENT: Final = -1


class Shortlist(NamedTuple):
    """Items that may be shown, and which of :data:`KINDS` proposed each.

    Attributes:
        items: Indices into the catalogue, ``(n_items,)``.
        kinds: ``(n_items,)``.
    """

    items: list[int]
    kinds: list[int]


def shortlist(catalogue: Catalogue, context: Context, size: int) -> Shortlist:
    """Proposes at most ``size`` items, never the current one, none twice: the first kind that proposes an item has it.

    Every kind gets its share, as far as it has candidates; then the kinds fill up in their order.
    """
    current = catalogue.find(context.item_id)
    taken: dict[int, int] = {} if current is None else {current: _CURRENT}
    end = size + len(taken)
    proposals = (
        _related(catalogue, context, current),
        _trending(catalogue, context, current),
        _cart(catalogue, context),
        _bought(catalogue, context, current),
        _popular(catalogue),
    )
    for kind, items in enumerate(proposals):
        _take(taken, items, kind, min(len(taken) + (round(size * _SHARES[kind]) or 1), end))
    for kind, items in enumerate(proposals):
        _take(taken, items, kind, end)
    if current is not None:
        del taken[current]
    return Shortlist(list(taken), list(taken.values()))


def _take(taken: dict[int, int], items: Iterable[int], kind: int, until: int) -> None:
    if len(taken) >= until:
        return
    for item in items:
        if item not in taken:
            taken[item] = kind
            if len(taken) == until:
                return


def _related(catalogue: Catalogue, context: Context, current: int | None) -> list[int]:
    found = [item for item in map(catalogue.find, context.session_items[:LAST_ITEMS]) if item is not None]
    last_items = found if current is None else [current, *(item for item in found if item != current)]
    return rank(last_items, catalogue.rules)


def _trending(catalogue: Catalogue, context: Context, current: int | None) -> Iterable[int]:
    category = catalogue.find_category(context.category)
    if category == NO_CATEGORY and current is not None:
        category = int(catalogue.category[current])
    shares = context.category_shares
    # The greater name of equal shares, whatever order they are kept in.
    favourite = max(shares, key=lambda name: (shares[name], name)) if shares else None
    if favourite is None or favourite == context.category:
        return catalogue.popular_in(category)
    return [*catalogue.popular_in(category), *catalogue.popular_in(catalogue.find_category(favourite))]


def _cart(catalogue: Catalogue, context: Context) -> list[int]:
    views = context.view_counts
    wanted = [*reversed(context.cart_items), *(item for item in context.recent_items if views.get(item, 0) > 1)]
    return [item for item in map(catalogue.find, wanted) if item is not None]


def _bought(catalogue: Catalogue, context: Context, current: int | None) -> list[int]:
    """Orders what was bought together with the cart, last item first, and with the current item, in turn."""
    carried = [item for item in map(catalogue.find, reversed(context.cart_items)) if item is not None]
    sources = carried if current is None or current in carried else [*carried, current]
    lists = [catalogue.bought.get(item, []) for item in sources]
    in_turn = chain.from_iterable(zip_longest(*lists))
    return [item for item in dict.fromkeys(in_turn) if item is not None and item not in carried]


def _popular(catalogue: Catalogue) -> list[int]:
    popular = catalogue.popular
    return [*popular[:_NEW], *catalogue.newest[:_NEW], *popular[_NEW:MAX_ITEMS]]
