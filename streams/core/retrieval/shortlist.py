"""The shortlist: at most 20 items that may be shown, proposed by five kinds of retrieval, without randomness."""

from collections.abc import Sequence
from itertools import chain, zip_longest
from typing import Final, NamedTuple

import numpy as np

from streams.core.retrieval.catalogue import NO_CATEGORY, Catalogue
from streams.core.retrieval.context import Context
from streams.core.retrieval.related import NOBODY, related
from streams.core.retrieval.rules import LAST_ITEMS

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
    """Proposes at most ``size`` items for one context, see :func:`shortlists`."""
    return shortlists(catalogue, [context], size)[0]


def shortlists(catalogue: Catalogue, contexts: Sequence[Context], size: int) -> list[Shortlist]:
    """Proposes at most ``size`` items for each context, never the current one, none twice.

    Every kind gets its share, as far as it has candidates; then the kinds fill up in their order. The first kind that
    proposes an item has it.
    """
    if not contexts:
        return []
    last_items = np.array([_last_items(catalogue, context) for context in contexts], np.int64)
    led_to = related(catalogue, last_items, size).tolist()
    popular = _popular(catalogue)
    quotas = [round(size * share) or 1 for share in _SHARES]
    return [
        _fill(_proposals(catalogue, context, items, popular), quotas, catalogue.find(context.item_id), size)
        for context, items in zip(contexts, led_to, strict=True)
    ]


def _proposals(catalogue: Catalogue, context: Context, led_to: list[int], popular: list[int]) -> list[list[int]]:
    """What each of :data:`KINDS` proposes, best first."""
    cart = catalogue.find_all(reversed(context.cart_items))
    return [
        led_to[: led_to.index(NOBODY)] if led_to[-1] == NOBODY else led_to,
        _trending(catalogue, context),
        cart + _looked_at_again(catalogue, context),
        _bought(catalogue, cart, catalogue.find(context.item_id)),
        popular,
    ]


def _fill(proposals: list[list[int]], quotas: list[int], current: int | None, size: int) -> Shortlist:
    taken: dict[int, int] = {} if current is None else {current: _CURRENT}
    end = size + len(taken)
    for kind, items in enumerate(proposals):
        if items:
            _take(taken, items, kind, min(len(taken) + quotas[kind], end))
    for kind, items in enumerate(proposals):
        if len(taken) == end:
            break
        _take(taken, items, kind, end)
    if current is not None:
        del taken[current]
    return Shortlist(list(taken), list(taken.values()))


def _take(taken: dict[int, int], items: list[int], kind: int, until: int) -> None:
    more = until - len(taken)
    for item in items:
        if not more:
            return
        if item not in taken:
            taken[item] = kind
            more -= 1


def _last_items(catalogue: Catalogue, context: Context) -> list[int]:
    """The last items of the session that the feed has named, the current one first of all, padded."""
    found = catalogue.find_all(context.session_items[:LAST_ITEMS])
    current = catalogue.find(context.item_id)
    last_items = found if current is None else [current, *(item for item in found if item != current)]
    return (last_items + [NOBODY] * LAST_ITEMS)[:LAST_ITEMS]


def _trending(catalogue: Catalogue, context: Context) -> list[int]:
    current = catalogue.find(context.item_id)
    category = catalogue.find_category(context.category)
    if category == NO_CATEGORY and current is not None:
        category = int(catalogue.category[current])
    shares = context.category_shares
    # The greater name of equal shares, whatever order they are kept in.
    favourite = max(zip(shares.values(), shares, strict=True))[1] if shares else None
    if favourite is None or favourite == context.category:
        return catalogue.popular_in(category)
    return catalogue.popular_in(category) + catalogue.popular_in(catalogue.find_category(favourite))


def _looked_at_again(catalogue: Catalogue, context: Context) -> list[int]:
    views = context.view_counts
    return catalogue.find_all(item for item in context.recent_items if views.get(item, 0) > 1)


def _bought(catalogue: Catalogue, carried: list[int], current: int | None) -> list[int]:
    """Orders what was bought together with the cart, last item first, and with the current item, in turn."""
    sources = carried if current is None or current in carried else [*carried, current]
    lists = [catalogue.bought[item] for item in sources if item in catalogue.bought]
    if not lists:
        return []
    in_turn = chain.from_iterable(zip_longest(*lists))
    return [item for item in dict.fromkeys(in_turn) if item is not None and item not in carried]


def _popular(catalogue: Catalogue) -> list[int]:
    popular = catalogue.popular
    return [*popular[:_NEW], *catalogue.newest[:_NEW], *popular[_NEW:MAX_ITEMS]]
