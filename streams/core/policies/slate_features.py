"""Features of a shopper and an item, shared by all policies."""

from collections.abc import Callable, Collection, Iterable, Sequence
from functools import reduce
from itertools import chain
from operator import or_
from typing import Final, NamedTuple
from zlib import crc32

import numpy as np
from numpy.typing import ArrayLike

from streams.contract.arrays import BoolArray, Float64Array, Int64Array
from streams.contract.records import BY_CALLER
from streams.core.features.groups import Grouping
from streams.core.policies.feature_packing import FeaturePacking
from streams.core.retrieval.context import DecisionContext
from streams.core.retrieval.item_table import NO_CATEGORY, NOBODY, ItemTable
from streams.core.retrieval.shortlist import MAX_ITEMS, SOURCE_NAMES, Shortlist

_NONE: Final = -2
"""The category of items that have none: no shopper leans to it."""
_LAST_ITEMS: Final = 3
_NEW_MS: Final = 86_400_000
_LOG_POPULARITY_SCALE: Final = 0.1
_CTR_SCALE: Final = 5.0
_PRICE_SCALE: Final = 0.5
_MAX_CATEGORIES: Final = 8


class Padded(NamedTuple):
    """Shortlists as arrays, ``(n_decisions, width)`` each.

    Attributes:
        there: Places that hold an item; beyond the end the other arrays are -1.
    """

    items: Int64Array
    sources: Int64Array
    there: BoolArray


def padded(shortlists: Sequence[Shortlist], width: int = MAX_ITEMS) -> Padded:
    """Brings shortlists to one length."""
    lengths = np.array([len(found.items) for found in shortlists], np.int64)
    there = np.arange(width) < lengths[:, None]
    items, sources = np.full(there.shape, NOBODY), np.full(there.shape, NOBODY)
    items[there] = list(chain.from_iterable(found.items for found in shortlists))
    sources[there] = list(chain.from_iterable(found.sources for found in shortlists))
    return Padded(items, sources, there)


class _Slates:
    """The items of a batch of shortlists beside their shoppers; arrays are ``(n_decisions, width)``.

    Attributes:
        category: Of the item, :data:`_NONE` where it has none.
        closeness: Shares of the item in what follows the current item and each of the two before it,
            ``(3, n_decisions, width)``.
        price_distance: Of the log price from the shopper's usual one, not a number where one of them is unknown.
    """

    def __init__(self, item_table: ItemTable, contexts: Sequence[DecisionContext], shortlists: Padded) -> None:
        self.item_table, self.contexts = item_table, contexts
        items = self.items = shortlists.items
        self.sources = shortlists.sources
        self.ctr = _CTR_SCALE * item_table.ctr(items)
        self.closeness = _closeness(item_table, contexts, items)
        self.category = np.where(item_table.category[items] == NO_CATEGORY, _NONE, item_table.category[items])
        self.category_share = _category_share(contexts, self.category)
        usual = np.array([np.nan if each.usual_log_price is None else each.usual_log_price for each in contexts])
        self.price_distance = np.abs(item_table.log_price[items] - usual[:, None])
        self.price_is_unknown = np.isnan(self.price_distance)
        self.timestamp_ms = np.array([each.timestamp_ms for each in contexts])[:, None]
        self.own_category = np.array([each.category for each in contexts])[:, None]

    def is_among(self, sets: Iterable[Collection[int]]) -> BoolArray:
        """Returns a mask of the known items that are in their decision's set."""
        found = bytearray()
        for each, listed in zip(sets, self.items.tolist(), strict=True):
            found.extend(map(each.__contains__, listed) if each else bytes(len(listed)))
        is_in = np.frombuffer(found, np.bool_).reshape(self.items.shape)
        known: BoolArray = self.items != NOBODY
        return is_in & known


class SlateFeature(NamedTuple):
    """One column of the features.

    Attributes:
        group: Features of one group are one reason, see :mod:`streams.core.features.groups`.
        words: A short phrase to display.
        values: Computes the column for a batch, ``(n_decisions, width)``.
        is_flag: Whether it is always 0 or 1.
    """

    name: str
    group: str
    words: str
    values: Callable[[_Slates], ArrayLike]
    is_flag: bool = False


def _flag(name: str, group: str, words: str, values: Callable[[_Slates], ArrayLike]) -> SlateFeature:
    return SlateFeature(name, group, words, values, is_flag=True)


def _source_flag(name: str) -> str:
    return f"source_{name}"


def _of_source(number: int, name: str) -> SlateFeature:
    return _flag(_source_flag(name), name, f"proposed by the candidate source {name}", lambda at: at.sources == number)


FEATURES: Final = (
    _flag("bias", "base", "1 for every item", lambda at: 1.0),
    SlateFeature(
        "log_popularity",
        "popular",
        "logarithm of the item's popularity",
        lambda at: _LOG_POPULARITY_SCALE * at.item_table.log_popularity[at.items],
    ),
    SlateFeature("ctr", "clicked", "click-through rate of the item", lambda at: at.ctr),
    SlateFeature(
        "closeness",
        "related",
        "how often the item follows the current one (root of its smoothed share)",
        lambda at: np.sqrt(at.closeness[0]),
    ),
    SlateFeature(
        "recent_closeness",
        "related",
        "how often the item follows the two before the current one (likewise)",
        lambda at: np.sqrt(0.5 * (at.closeness[1] + at.closeness[2])),
    ),
    _flag("same_category", "trending", "item is of the current category", lambda at: at.category == at.own_category),
    SlateFeature(
        "category_share",
        "trending",
        "share of the item's category in the shopper's interest",
        lambda at: at.category_share,
    ),
    SlateFeature(
        "price_distance",
        "price",
        "half the distance of the log price from the shopper's usual one, at most 1",
        lambda at: np.where(at.price_is_unknown, 0.0, np.minimum(_PRICE_SCALE * at.price_distance, 1.0)),
    ),
    _flag(
        "price_unknown",
        "price",
        "price of the item or usual price of the shopper is unknown",
        lambda at: at.price_is_unknown,
    ),
    _flag("in_cart", "cart", "item is in the cart", lambda at: at.is_among(each.cart for each in at.contexts)),
    _flag(
        "seen",
        "cart",
        "item was viewed before",
        lambda at: at.is_among({*each.recent, *each.session} for each in at.contexts),
    ),
    _flag(
        "new",
        "new",
        "item came to the shop in the last day",
        lambda at: at.timestamp_ms - at.item_table.first_seen_ms[at.items] < _NEW_MS,
    ),
    *(_of_source(number, name) for number, name in enumerate(SOURCE_NAMES)),
    SlateFeature(
        "ctr_x_category_share",
        "clicked",
        "click-through rate times category share",
        lambda at: at.ctr * at.category_share,
    ),
)
"""All in about [0, 1]."""
N_FEATURES: Final = len(FEATURES)
PACKING: Final = FeaturePacking([feature.is_flag for feature in FEATURES])
"""Of the features in the log of decisions."""
SLOT_PACKING: Final = FeaturePacking([*(feature.is_flag for feature in FEATURES), False, True])
"""Of what is learned from a slot: its features, its position, and whether the policy ``random`` chose."""
GROUPING: Final = Grouping([feature.group for feature in FEATURES])
_SOURCE_BY_FLAG: Final = {
    SLOT_PACKING.flag([feature.name for feature in FEATURES].index(_source_flag(name))): name for name in SOURCE_NAMES
}
_SOURCE_FLAGS: Final = reduce(or_, _SOURCE_BY_FLAG)
FINGERPRINT: Final = crc32("\n".join(feature.name for feature in FEATURES).encode())
"""Equal for equal features only; what learned on others is refused."""


def slate_features(item_table: ItemTable, contexts: Sequence[DecisionContext], shortlists: Padded) -> Float64Array:
    """Describes every item of every shortlist; a decision's features have the same bits in any batch.

    Returns:
        ``(n_decisions, width, N_FEATURES)``, zero beyond a shortlist's end.
    """
    there = shortlists.there
    features = np.zeros((*there.shape, N_FEATURES))
    if not there.any():
        return features
    slates = _Slates(item_table, contexts, shortlists)
    for column, feature in enumerate(FEATURES):
        features[:, :, column] = feature.values(slates)
    features[~there] = 0.0
    # Policies decide on what is logged and learned from, so that a log gives their estimates to the last bit.
    return features.astype(np.float32).astype(np.float64)


def slot_sources(packed: bytes) -> list[str]:
    """Names the candidate source of each slot's item.

    Args:
        packed: A row for each slot, as :data:`SLOT_PACKING` packs it.
    """
    return [_SOURCE_BY_FLAG.get(flags & _SOURCE_FLAGS, BY_CALLER) for flags in SLOT_PACKING.flags(packed)]


def _closeness(item_table: ItemTable, contexts: Sequence[DecisionContext], items: Int64Array) -> Float64Array:
    last_items = np.array([*map(_last_items, contexts)]).T
    shares = np.zeros((_LAST_ITEMS, *items.shape))
    compared = items.astype(item_table.neighbours.dtype)[:, :, None]
    for share, before in zip(shares, last_items, strict=True):
        match = np.flatnonzero((item_table.neighbours[before][:, None, :] == compared) & (before >= 0)[:, None, None])
        which, place = np.divmod(match, item_table.neighbours.shape[1])
        share.ravel()[which] = item_table.closeness[before[which // items.shape[1]], place]
    return shares


def _last_items(context: DecisionContext) -> list[int]:
    """Returns the current item and the two that were viewed before it, padded."""
    current = NOBODY if context.item is None else context.item
    before = [item for item in context.recent[:_LAST_ITEMS] if item != current]
    return [current, *before, NOBODY, NOBODY][:_LAST_ITEMS]


def _category_share(contexts: Sequence[DecisionContext], category: Int64Array) -> Float64Array:
    nowhere, nothing = [NO_CATEGORY] * _MAX_CATEGORIES, [0.0] * _MAX_CATEGORIES
    favourites = np.array([(each.categories + nowhere)[:_MAX_CATEGORIES] for each in contexts])
    shares = np.array([(each.shares + nothing)[:_MAX_CATEGORIES] for each in contexts])
    match = np.flatnonzero(favourites[:, None, :] == category[:, :, None])
    which, place = np.divmod(match, _MAX_CATEGORIES)
    found = np.zeros(category.shape)
    found.ravel()[which] = shares[which // category.shape[1], place]
    return found
