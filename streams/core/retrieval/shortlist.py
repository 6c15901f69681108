"""Candidates: items that may be shown, by candidate sources or as a caller named them; not random.

The sources' candidates are many; which of them make the shortlist is decided with the reward model, by
:mod:`streams.core.policies.preranking`.
"""

from collections.abc import Callable, Mapping, Sequence
from itertools import chain, zip_longest
from types import MappingProxyType
from typing import Final, NamedTuple

import numpy as np

from streams.contract.records import BY_CALLER, NO_SOURCE
from streams.core.retrieval.context import DecisionContext
from streams.core.retrieval.item_table import NO_CATEGORY, NOBODY, ItemTable
from streams.core.retrieval.related import related
from streams.core.retrieval.rules import LAST_ITEMS

MAX_ITEMS: Final = 20
"""Of a shortlist."""
MAX_PROPOSED: Final = 100
"""Candidates of the sources, of which the shortlist is chosen."""

_NEW: Final = 2
_KEPT_OUT: Final = -1


class Shortlist(NamedTuple):
    """Items that may be shown, and which source proposed each.

    Attributes:
        items: Indices into the item table, :data:`NOBODY` for a caller's candidate that is not in it, ``(n_items,)``.
        sources: Places in :data:`SOURCE_NAMES`, :data:`NO_SOURCE` for a caller's candidate, ``(n_items,)``.
        left_out: Excluded items that were among the first of a source.
    """

    items: list[int]
    sources: list[int]
    left_out: Sequence[int] = ()

    def part(self, places: Sequence[int]) -> "Shortlist":
        """Returns the items at these places, in their order."""
        return Shortlist(
            [self.items[place] for place in places], [self.sources[place] for place in places], self.left_out
        )


class Lookups(NamedTuple):
    """Lists that are computed for a whole batch at once.

    Attributes:
        related: Items that the session's last items lead to, best first, padded with :data:`NOBODY`.
        popular: Popular or new.
    """

    related: list[int]
    popular: list[int]


class CandidateSource(NamedTuple):
    """A source of candidates.

    Attributes:
        share: Share of the shortlist; the other sources fill what is left of it.
        propose: Returns items, best first; other sources may propose some of them, too.
    """

    share: float
    propose: Callable[[ItemTable, DecisionContext, Lookups], list[int]]


def shortlists(item_table: ItemTable, contexts: Sequence[DecisionContext], size: int) -> list[Shortlist]:
    """Proposes at most ``size`` items for each context, never the current one or an excluded one, none twice.

    Every source gets its share, as far as it has candidates; then they fill up in their order. The first source that
    proposes an item has it.
    """
    if not contexts:
        return []
    led_to = related(item_table, np.array([*map(_last_items, contexts)], np.int64), size).tolist()
    popular = _popular(item_table)
    sources = CANDIDATE_SOURCES.values()
    quotas = [round(size * source.share) or 1 for source in sources]
    found = []
    for context, items in zip(contexts, led_to, strict=True):
        lookups = Lookups(items, popular)
        proposals = [source.propose(item_table, context, lookups) for source in sources]
        found.append(_fill(proposals, quotas, context, size))
    return found


def popular_shortlist(item_table: ItemTable, context: DecisionContext, size: int) -> Shortlist:
    """Proposes the most popular items of the shop, best first, without the current one."""
    items = [item for item in item_table.popular if item != context.item and item not in context.excluded][:size]
    left_out = [item for item in item_table.popular[:size] if item in context.excluded] if context.excluded else ()
    return Shortlist(items, [SOURCE_NAMES.index("popular")] * len(items), left_out)


def given_shortlist(item_table: ItemTable, candidates: Sequence[str]) -> Shortlist:
    """Looks up the candidates of a caller, in their order."""
    return Shortlist(item_table.number(candidates), [NO_SOURCE] * len(candidates))


def most_popular_first(item_table: ItemTable, candidates: Sequence[str]) -> list[str]:
    """Orders the candidates of a caller as the whole shop likes them; those that were never seen are last."""
    standing = item_table.standing[item_table.number(candidates)]
    return [candidates[place] for place in np.argsort(-standing, kind="stable").tolist()]


def _fill(proposals: list[list[int]], quotas: list[int], context: DecisionContext, size: int) -> Shortlist:
    taken = dict.fromkeys(context.excluded, _KEPT_OUT)
    if context.item is not None:
        taken[context.item] = _KEPT_OUT
    kept_out = list(taken)
    end = size + len(taken)
    for source, items in enumerate(proposals):
        if items:
            _take(taken, items, source, min(len(taken) + quotas[source], end))
    for source, items in enumerate(proposals):
        if len(taken) == end:
            break
        _take(taken, items, source, end)
    for item in kept_out:
        del taken[item]
    left_out: Sequence[int] = ()
    if context.excluded:
        first = set(chain.from_iterable(items[:MAX_ITEMS] for items in proposals))
        left_out = [item for item in context.excluded if item in first]
    return Shortlist(list(taken), list(taken.values()), left_out)


def _take(taken: dict[int, int], items: list[int], source: int, until: int) -> None:
    more = until - len(taken)
    for item in items:
        if not more:
            return
        if item not in taken:
            taken[item] = source
            more -= 1


def _last_items(context: DecisionContext) -> list[int]:
    """Returns the last items of the session, the current one first, padded."""
    current = context.item
    before = [item for item in context.session[:LAST_ITEMS] if item not in (current, NOBODY)]
    last_items = before if current is None else [current, *before]
    return (last_items + [NOBODY] * LAST_ITEMS)[:LAST_ITEMS]


def _related(item_table: ItemTable, context: DecisionContext, lookups: Lookups) -> list[int]:
    items = lookups.related
    return items[: items.index(NOBODY)] if items[-1] == NOBODY else items


def _trending(item_table: ItemTable, context: DecisionContext, lookups: Lookups) -> list[int]:
    category = context.category
    if category == NO_CATEGORY and context.item is not None:
        category = int(item_table.category[context.item])
    favourite = context.favourite
    if favourite == category:
        return item_table.popular_in(category)
    return item_table.popular_in(category) + item_table.popular_in(favourite)


def _cart(item_table: ItemTable, context: DecisionContext, lookups: Lookups) -> list[int]:
    return item_table.offered(context.cart + context.repeated)


def _bought(item_table: ItemTable, context: DecisionContext, lookups: Lookups) -> list[int]:
    """Orders what was bought together with the cart, last item first, and with the current item, in turn."""
    carried, current = context.cart, context.item
    sources = carried if current is None or current in carried else [*carried, current]
    lists = [item_table.bought[item] for item in sources if item in item_table.bought]
    if not lists:
        return []
    in_turn = chain.from_iterable(zip_longest(*lists))
    return item_table.offered([item for item in dict.fromkeys(in_turn) if item is not None and item not in carried])


def _popular(item_table: ItemTable) -> list[int]:
    popular = item_table.popular
    return [*popular[:_NEW], *item_table.newest[:_NEW], *popular[_NEW:MAX_ITEMS]]


def _popular_or_new(item_table: ItemTable, context: DecisionContext, lookups: Lookups) -> list[int]:
    # Popular items further down take the places of those that may not be shown to this shopper.
    return lookups.popular + item_table.popular[MAX_ITEMS:] if context.excluded else lookups.popular


CANDIDATE_SOURCES: Final[Mapping[str, CandidateSource]] = MappingProxyType(
    {
        "related": CandidateSource(0.4, _related),
        "trending": CandidateSource(0.2, _trending),
        "cart": CandidateSource(0.1, _cart),
        "bought": CandidateSource(0.1, _bought),
        "popular": CandidateSource(0.05, _popular_or_new),
    }
)
"""In order: rules of the session's last items; popular in the category; in the cart or viewed again; bought together
with the cart or the current item; popular or new."""
SOURCE_NAMES: Final = tuple(CANDIDATE_SOURCES)
"""The number of a source, in rows and records, is its place here."""


def reason_of(source: int) -> str:
    """Names the candidate source of an item, or its caller.

    >>> reason_of(0), reason_of(NO_SOURCE)
    ('related', 'caller')
    """
    return BY_CALLER if source == NO_SOURCE else SOURCE_NAMES[source]
