"""The names and order of the feature vector; a fingerprint tells one version from another."""

import zlib
from collections.abc import Sequence
from typing import Final, NamedTuple, Protocol

WINDOWED: Final = ("views", "searches", "carts", "purchases", "spend")
"""What is summed over each window; ``carts`` counts additions, ``spend`` is in the shop's currency."""

_SESSION: Final = (
    "session_events",
    "session_views",
    "session_searches",
    "session_carts",
    "session_removals",
    "session_items",
    "session_duration_s",
    "session_impressions",
    "session_clicks",
)
_RECENCY: Final = ("since_last_event_s", "since_last_cart_s", "since_last_purchase_s")
_ITEM: Final = ("item_views_before", "category_share", "price", "price_against_usual")
_INDICATORS: Final = (
    "first_event",
    "no_cart_before",
    "no_purchase_before",
    "price_missing",
    "usual_price_missing",
    "is_view",
    "is_search",
    "is_cart",
    "cart_not_empty",
    "hour_sin",
    "hour_cos",
)


class FeatureSchema(NamedTuple):
    """The feature vector's layout.

    Attributes:
        names: ``(n_features,)``.
        scaled: Whether a feature is a number to be scaled online; indicators are left as they are.
        fingerprint: Equal for equal layouts only (crc32 of the names).
    """

    names: tuple[str, ...]
    scaled: tuple[bool, ...]
    fingerprint: int


class Named(Protocol):
    """A window, or the ring that a row keeps of it."""

    @property
    def name(self) -> str: ...


def feature_schema(windows: Sequence[Named]) -> FeatureSchema:
    """Lays out the vector: sums over the windows, then session, recency and item, then indicators."""
    windowed = tuple(f"{name}_{window.name}" for window in windows for name in WINDOWED)
    return schema_of(windowed + _SESSION + _RECENCY + _ITEM, _INDICATORS)


def schema_of(numbers: Sequence[str], indicators: Sequence[str]) -> FeatureSchema:
    """Lays out any vector: numbers first, to be scaled online, then indicators, left as they are.

    >>> schema_of(["price"], ["price_missing"]).scaled
    (True, False)
    """
    names = (*numbers, *indicators)
    scaled = (True,) * len(numbers) + (False,) * len(indicators)
    return FeatureSchema(names, scaled, zlib.crc32("\n".join(names).encode()))
