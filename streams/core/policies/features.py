"""Shared (context × item) features: what the bandit knows of showing an item to a shopper."""

from collections.abc import Sequence
from typing import Final
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

from streams.core.retrieval.catalogue import NO_CATEGORY, Catalogue
from streams.core.retrieval.context import Context
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
_FIRST_KIND: Final = _COLUMN[f"kind_{KINDS[0]}"]
_NOBODY: Final = -2
_LAST_ITEMS: Final = 3
_NEW_MS: Final = 86_400_000
_LOG_POPULARITY_SCALE: Final = 0.1
_CTR_SCALE: Final = 5.0
_PRICE_SCALE: Final = 0.5
_MAX_CATEGORIES: Final = 8


def slate_features(catalogue: Catalogue, contexts: Sequence[Context], shortlists: Sequence[Shortlist]) -> Float64Array:
    """Describes every item of every shortlist; a decision's features have the same bits in any batch.

    Returns:
        ``(n_decisions, MAX_ITEMS, N_FEATURES)``, zero beyond a shortlist's end.
    """
    n_decisions = len(contexts)
    features = np.zeros((n_decisions, MAX_ITEMS, N_FEATURES))
    lengths = [len(found.items) for found in shortlists]
    # One row for each item that there is, of all decisions one after the other.
    items = np.array([item for found in shortlists for item in found.items], np.int64)
    owner = np.repeat(np.arange(n_decisions), lengths)
    if not len(items):
        return features
    rows = np.zeros((len(items), N_FEATURES))
    rows[:, _COLUMN["bias"]] = 1.0
    _describe_items(rows, catalogue, items)
    _describe_closeness(rows, catalogue, contexts, items, owner)
    _describe_categories(rows, catalogue, contexts, items, owner)
    _describe_prices(rows, catalogue, contexts, items, owner)
    _describe_history(rows, catalogue, contexts, shortlists)
    now_ms = np.array([context.timestamp_ms for context in contexts])
    rows[:, _COLUMN["new"]] = now_ms[owner] - catalogue.first_seen_ms[items] < _NEW_MS
    kinds = np.array([kind for found in shortlists for kind in found.kinds], np.int64)
    rows[np.arange(len(items)), _FIRST_KIND + kinds] = 1.0
    rows[:, _COLUMN["ctr_x_category_share"]] = rows[:, _COLUMN["ctr"]] * rows[:, _COLUMN["category_share"]]
    features[np.arange(MAX_ITEMS) < np.array(lengths)[:, None]] = rows
    return features


def _describe_items(rows: Float64Array, catalogue: Catalogue, items: Int64Array) -> None:
    rows[:, _COLUMN["log_popularity"]] = _LOG_POPULARITY_SCALE * catalogue.log_popularity[items]
    rows[:, _COLUMN["ctr"]] = _CTR_SCALE * catalogue.ctr[items]


def _describe_closeness(
    rows: Float64Array, catalogue: Catalogue, contexts: Sequence[Context], items: Int64Array, owner: Int64Array
) -> None:
    sources = np.array([_last_items(catalogue, context) for context in contexts], np.int64).reshape(-1, _LAST_ITEMS)
    shares = np.zeros((len(items), _LAST_ITEMS))
    for rank in range(_LAST_ITEMS):
        source = np.maximum(sources[:, rank], 0)
        is_known = sources[:, rank] >= 0
        match, place = ((catalogue.neighbours[source][owner] == items[:, None]) & is_known[owner, None]).nonzero()
        shares[match, rank] = catalogue.closeness[source[owner[match]], place]
    rows[:, _COLUMN["closeness"]] = np.sqrt(shares[:, 0])
    rows[:, _COLUMN["recent_closeness"]] = np.sqrt(0.5 * (shares[:, 1] + shares[:, 2]))


def _last_items(catalogue: Catalogue, context: Context) -> list[int]:
    """The current item and the two that were looked at before it, :data:`_NOBODY` where there is none."""
    current = context.item_id
    last = [current, *(item_id for item_id in context.recent_items[:_LAST_ITEMS] if item_id != current)][:_LAST_ITEMS]
    indices = [_NOBODY if (found := catalogue.find(item_id)) is None else found for item_id in last]
    return indices + [_NOBODY] * (_LAST_ITEMS - len(indices))


def _describe_categories(
    rows: Float64Array, catalogue: Catalogue, contexts: Sequence[Context], items: Int64Array, owner: Int64Array
) -> None:
    find = catalogue.find_category
    category = catalogue.category[items]
    own = np.array([find(context.category) for context in contexts])[owner]
    rows[:, _COLUMN["same_category"]] = (category == own) & (category != NO_CATEGORY)
    favourites = np.full((len(contexts), _MAX_CATEGORIES), _NOBODY)
    shares = np.zeros((len(contexts), _MAX_CATEGORIES))
    for place, context in enumerate(contexts):
        leanings = context.category_shares
        favourites[place, : len(leanings)] = [find(name) for name in leanings]
        shares[place, : len(leanings)] = list(leanings.values())
    match, place = ((favourites[owner] == category[:, None]) & (category != NO_CATEGORY)[:, None]).nonzero()
    rows[match, _COLUMN["category_share"]] = shares[owner[match], place]


def _describe_prices(
    rows: Float64Array, catalogue: Catalogue, contexts: Sequence[Context], items: Int64Array, owner: Int64Array
) -> None:
    usual = np.array([np.nan if c.usual_log_price is None else c.usual_log_price for c in contexts])
    distance = np.abs(catalogue.log_price[items] - usual[owner])
    rows[:, _COLUMN["price_distance"]] = np.nan_to_num(np.minimum(_PRICE_SCALE * distance, 1.0), nan=0.0)
    rows[:, _COLUMN["price_unknown"]] = np.isnan(distance)


def _describe_history(
    rows: Float64Array, catalogue: Catalogue, contexts: Sequence[Context], shortlists: Sequence[Shortlist]
) -> None:
    ids = catalogue.ids
    in_cart: list[bool] = []
    seen: list[bool] = []
    for context, found in zip(contexts, shortlists, strict=True):
        names = [ids[item] for item in found.items]
        cart, looked_at = context.cart_items, {*context.session_items, *context.view_counts}
        in_cart += [name in cart for name in names] if cart else [False] * len(names)
        seen += [name in looked_at for name in names]
    rows[:, _COLUMN["in_cart"]] = in_cart
    rows[:, _COLUMN["seen"]] = seen
