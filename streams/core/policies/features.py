"""Shared (context × item) features: what the bandit knows of showing an item to a shopper."""

from collections.abc import Sequence
from itertools import chain
from typing import Final, NamedTuple
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

from streams.core.retrieval.catalogue import NO_CATEGORY, NOBODY, Catalogue
from streams.core.retrieval.context import Known
from streams.core.retrieval.shortlist import KINDS, MAX_ITEMS, Shortlist

Float64Array = NDArray[np.float64]
Int64Array = NDArray[np.int64]

FEATURES: Final = (
    "bias",
    "log_popularity",
    "ctr",
    "closeness",
    "recent_closeness",
    "same_category",
    "category_share",
    "price_distance",
    "price_unknown",
    "in_cart",
    "seen",
    "new",
    *(f"kind_{kind}" for kind in KINDS),
    "ctr_x_category_share",
)
"""All in about [0, 1].

``closeness`` is the square root of the item's smoothed share in the co-visits of the current item,
``recent_closeness`` the same of the two items before, ``price_distance`` half the distance of the log price from the
shopper's usual one, at most 1.
"""
N_FEATURES: Final = len(FEATURES)
FINGERPRINT: Final = crc32("\n".join(FEATURES).encode())
"""Equal for equal features only; what learned on others is refused."""

_COLUMN: Final = {name: column for column, name in enumerate(FEATURES)}
_KINDS: Final = slice(_COLUMN[f"kind_{KINDS[0]}"], _COLUMN[f"kind_{KINDS[0]}"] + len(KINDS))
_NONE: Final = -2
"""The category of items that have none: no shopper leans to it."""
_LAST_ITEMS: Final = 3
_NEW_MS: Final = 86_400_000
_LOG_POPULARITY_SCALE: Final = 0.1
_CTR_SCALE: Final = 5.0
_PRICE_SCALE: Final = 0.5
_MAX_CATEGORIES: Final = 8


class Padded(NamedTuple):
    """Shortlists as arrays, -1 beyond the end, ``(n_decisions, MAX_ITEMS)`` each."""

    items: Int64Array
    kinds: Int64Array


def padded(shortlists: Sequence[Shortlist]) -> Padded:
    """Brings shortlists to one length."""
    lengths = np.array([len(found.items) for found in shortlists], np.int64)
    there = np.arange(MAX_ITEMS) < lengths[:, None]
    items, kinds = np.full(there.shape, NOBODY), np.full(there.shape, NOBODY)
    items[there] = list(chain.from_iterable(found.items for found in shortlists))
    kinds[there] = list(chain.from_iterable(found.kinds for found in shortlists))
    return Padded(items, kinds)


def slate_features(catalogue: Catalogue, asked: Sequence[Known], shortlists: Padded) -> Float64Array:
    """Describes every item of every shortlist; a decision's features have the same bits in any batch.

    Returns:
        ``(n_decisions, MAX_ITEMS, N_FEATURES)``, zero beyond a shortlist's end.
    """
    features = np.zeros((len(asked), MAX_ITEMS, N_FEATURES))
    items, kinds = shortlists
    there = items >= 0
    if not there.any():
        return features
    _describe_items(features, catalogue, items)
    _describe_closeness(features, catalogue, asked, items)
    _describe_categories(features, catalogue, asked, items)
    _describe_prices(features, catalogue, asked, items)
    _describe_history(features, asked, items)
    now_ms = np.array([each.timestamp_ms for each in asked])
    features[:, :, _COLUMN["new"]] = now_ms[:, None] - catalogue.first_seen_ms[items] < _NEW_MS
    features[:, :, _KINDS] = kinds[:, :, None] == np.arange(len(KINDS))
    ctr, category_share = features[:, :, _COLUMN["ctr"]], features[:, :, _COLUMN["category_share"]]
    features[:, :, _COLUMN["ctr_x_category_share"]] = ctr * category_share
    features[~there] = 0.0
    return features


def _describe_items(features: Float64Array, catalogue: Catalogue, items: Int64Array) -> None:
    features[:, :, _COLUMN["bias"]] = 1.0
    features[:, :, _COLUMN["log_popularity"]] = _LOG_POPULARITY_SCALE * catalogue.log_popularity[items]
    features[:, :, _COLUMN["ctr"]] = _CTR_SCALE * catalogue.ctr[items]


def _describe_closeness(
    features: Float64Array, catalogue: Catalogue, asked: Sequence[Known], items: Int64Array
) -> None:
    last_items = np.array([*map(_last_items, asked)]).T
    shares = np.zeros((_LAST_ITEMS, *items.shape))
    compared = items.astype(catalogue.neighbours.dtype)[:, :, None]
    for share, sources in zip(shares, last_items, strict=True):
        match = np.flatnonzero((catalogue.neighbours[sources][:, None, :] == compared) & (sources >= 0)[:, None, None])
        which, place = np.divmod(match, catalogue.neighbours.shape[1])
        share.ravel()[which] = catalogue.closeness[sources[which // MAX_ITEMS], place]
    features[:, :, _COLUMN["closeness"]] = np.sqrt(shares[0])
    features[:, :, _COLUMN["recent_closeness"]] = np.sqrt(0.5 * (shares[1] + shares[2]))


def _last_items(asked: Known) -> list[int]:
    """The current item and the two that were looked at before it, padded."""
    current = NOBODY if asked.item is None else asked.item
    before = [item for item in asked.recent[:_LAST_ITEMS] if item != current]
    return [current, *before, NOBODY, NOBODY][:_LAST_ITEMS]


def _describe_categories(
    features: Float64Array, catalogue: Catalogue, asked: Sequence[Known], items: Int64Array
) -> None:
    category = np.where(catalogue.category[items] == NO_CATEGORY, _NONE, catalogue.category[items])
    own = np.array([each.category for each in asked])
    features[:, :, _COLUMN["same_category"]] = category == own[:, None]
    nowhere, nothing = [NO_CATEGORY] * _MAX_CATEGORIES, [0.0] * _MAX_CATEGORIES
    favourites = np.array([(each.categories + nowhere)[:_MAX_CATEGORIES] for each in asked])
    shares = np.array([(each.shares + nothing)[:_MAX_CATEGORIES] for each in asked])
    match = np.flatnonzero(favourites[:, None, :] == category[:, :, None])
    which, place = np.divmod(match, _MAX_CATEGORIES)
    decision, slot = np.divmod(which, MAX_ITEMS)
    features[decision, slot, _COLUMN["category_share"]] = shares[decision, place]


def _describe_prices(features: Float64Array, catalogue: Catalogue, asked: Sequence[Known], items: Int64Array) -> None:
    usual = np.array([np.nan if c.usual_log_price is None else c.usual_log_price for c in asked])
    distance = np.abs(catalogue.log_price[items] - usual[:, None])
    is_unknown = np.isnan(distance)
    features[:, :, _COLUMN["price_distance"]] = np.where(is_unknown, 0.0, np.minimum(_PRICE_SCALE * distance, 1.0))
    features[:, :, _COLUMN["price_unknown"]] = is_unknown


def _describe_history(features: Float64Array, asked: Sequence[Known], items: Int64Array) -> None:
    in_cart, seen = bytearray(), bytearray()
    for each, listed in zip(asked, items.tolist(), strict=True):
        seen.extend(map({*each.recent, *each.session}.__contains__, listed))
        in_cart.extend(map(each.cart.__contains__, listed) if each.cart else bytes(MAX_ITEMS))
    features[:, :, _COLUMN["in_cart"]] = np.frombuffer(in_cart, np.bool_).reshape(items.shape)
    features[:, :, _COLUMN["seen"]] = np.frombuffer(seen, np.bool_).reshape(items.shape)
