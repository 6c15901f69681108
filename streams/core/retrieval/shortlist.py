"""The shortlist: at most 20 items that may be shown, proposed by five kinds of retrieval, without randomness."""

from collections.abc import Sequence
from itertools import chain, zip_longest
from typing import Final, NamedTuple

import numpy as np

from streams.core.retrieval.catalogue import NO_CATEGORY, NOBODY, Catalogue
from streams.core.retrieval.context import Known
from streams.core.retrieval.related import related
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


def shortlists(catalogue: Catalogue, asked: Sequence[Known], size: int) -> list[Shortlist]:
    """Proposes at most ``size`` items for each context, never the current one, none twice.

    Every kind gets its share, as far as it has candidates; then the kinds fill up in their order. The first kind that
    proposes an item has it.
    """
    if not asked:
        return []
    led_to = related(catalogue, np.array([*map(_last_items, asked)], np.int64), size).tolist()
    popular = _popular(catalogue)
    quotas = [round(size * share) or 1 for share in _SHARES]
    return [
        _fill(_proposals(catalogue, each, items, popular), quotas, each.item, size)
        for each, items in zip(asked, led_to, strict=True)
    ]


def _proposals(catalogue: Catalogue, asked: Known, led_to: list[int], popular: list[int]) -> list[list[int]]:
    """What each of :data:`KINDS` proposes, best first."""
    return [
        led_to[: led_to.index(NOBODY)] if led_to[-1] == NOBODY else led_to,
        _trending(catalogue, asked),
        asked.cart + asked.repeated,
        _bought(catalogue, asked),
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


def _last_items(asked: Known) -> list[int]:
    """The last items of the session, the current one first of all, padded."""
    current = asked.item
    before = [item for item in asked.session[:LAST_ITEMS] if item not in (current, NOBODY)]
    last_items = before if current is None else [current, *before]
    return (last_items + [NOBODY] * LAST_ITEMS)[:LAST_ITEMS]


def _trending(catalogue: Catalogue, asked: Known) -> list[int]:
    category = asked.category
    if category == NO_CATEGORY and asked.item is not None:
        category = int(catalogue.category[asked.item])
    favourite = asked.favourite
    if favourite == category:
        return catalogue.popular_in(category)
    return catalogue.popular_in(category) + catalogue.popular_in(favourite)


def _bought(catalogue: Catalogue, asked: Known) -> list[int]:
    """Orders what was bought together with the cart, last item first, and with the current item, in turn."""
    carried, current = asked.cart, asked.item
    sources = carried if current is None or current in carried else [*carried, current]
    lists = [catalogue.bought[item] for item in sources if item in catalogue.bought]
    if not lists:
        return []
    in_turn = chain.from_iterable(zip_longest(*lists))
    return [item for item in dict.fromkeys(in_turn) if item is not None and item not in carried]


def _popular(catalogue: Catalogue) -> list[int]:
    popular = catalogue.popular
    return [*popular[:_NEW], *catalogue.newest[:_NEW], *popular[_NEW:MAX_ITEMS]]
