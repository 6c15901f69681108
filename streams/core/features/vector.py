"""Features of a shopper at an event: one table of each feature beside the computation of its value."""

from dataclasses import dataclass, field
from math import cos, log, pi, sin
from typing import Any, Final, Protocol

from streams.contract.event_kinds import Kind
from streams.core.features.affinities import Affinities
from streams.core.features.feature import Feature, FeatureType
from streams.core.features.session import Session
from streams.core.features.windows import Ring
from streams.core.sums import float_sum

_DAY_MS: Final = 86_400_000
_FULL_TURN: Final = 2.0 * pi
_Entry = tuple[str, FeatureType, str, str] | float
_Entries = tuple[_Entry, ...]
_FEATURES: Final = slice(0, None, 2)
_VALUES: Final = slice(1, None, 2)


class Shopper(Protocol):
    """The state of a shopper, right after an event was applied.

    Attributes:
        last_ms: Time of the latest event; the event's own where events come in order.
        cart_ms: Time of the last addition to the cart, 0 for none.
        purchase_ms: Time of the last purchase, 0 for none.
    """

    last_ms: int
    cart_ms: int
    purchase_ms: int
    rings: list[Ring]
    session: Session
    affinities: Affinities


class Described(Protocol):
    """The event itself.

    Attributes:
        previous_ms: Time of the event before, 0 for none.
        item_views_before: Number of earlier views of the event's item.
        slate_score: Expected rewards of the slate that was decided at the event; ``None`` for no slate.
    """

    kind: Kind
    category: str | None
    price: float | None
    previous_ms: int
    item_views_before: int
    slate_score: float | None


def feature_vector(shopper: Shopper, event: Described, part: slice = _VALUES) -> list[Any]:
    """Computes a shopper's features right after ``event`` was applied: sums over the windows, then the table's.

    In the table a feature is on one line, a constant, and its value on the next; a function for each value would double
    the time. A value that is missing is 0 with its indicator 1, so that a model can tell it from a true 0.

    Args:
        part: Which elements of the table are returned: the values, or the features.
    """
    found: list[_Entry] = []
    for ring in shopper.rings:
        found += ring.totals
    now_ms, cart_ms, purchase_ms = shopper.last_ms, shopper.cart_ms, shopper.purchase_ms
    previous_ms, kind, price = event.previous_ms, event.kind, event.price
    session, affinities = shopper.session, shopper.affinities
    usual, categories = affinities.log_price, affinities.categories
    total = float_sum(categories.values())
    phase = _FULL_TURN * (now_ms % _DAY_MS) / _DAY_MS
    session_and_recency: _Entries = (
        ("session_events", "number", "visit", "events in this session"),
        session.events,
        ("session_views", "number", "views", "views in this session"),
        session.views,
        ("session_searches", "number", "searches", "searches in this session"),
        session.searches,
        ("session_carts", "number", "cart", "additions to the cart in this session"),
        session.carts,
        ("session_removals", "number", "cart", "removals from the cart in this session"),
        session.removals,
        ("session_items", "number", "views", "different items viewed in this session"),
        len(session.items),
        ("session_duration_s", "number", "visit", "seconds since this session began"),
        (now_ms - session.start_ms) / 1000.0,
        ("session_impressions", "number", "recommendations", "recommended items seen in this session"),
        session.impressions,
        ("session_clicks", "number", "recommendations", "clicks on recommended items in this session"),
        session.clicks,
        ("since_last_event_s", "number", "visit", "seconds since the event before"),
        (now_ms - previous_ms) / 1000.0 if previous_ms else 0.0,
        ("since_last_cart_s", "number", "cart", "seconds since the last addition to the cart"),
        (now_ms - cart_ms) / 1000.0 if cart_ms else 0.0,
        ("since_last_purchase_s", "number", "purchases", "seconds since the last purchase"),
        (now_ms - purchase_ms) / 1000.0 if purchase_ms else 0.0,
    )
    # Another tuple: CPython makes one of more than 30 elements in a slower way.
    item_and_indicators: _Entries = (
        ("item_views_before", "number", "interest", "earlier views of this item"),
        event.item_views_before,
        ("category_share", "number", "interest", "share of this category in the shopper's interest"),
        categories.get(event.category or "", 0.0) / total if total > 0.0 else 0.0,
        ("price", "number", "price", "price of this item"),
        price or 0.0,
        ("price_against_usual", "number", "price", "distance of the price from the shopper's usual one, in logarithms"),
        abs(log(price) - usual) if price and usual is not None else 0.0,
        ("first_event", "indicator", "visit", "first event of this shopper"),
        not previous_ms,
        ("no_cart_before", "indicator", "cart", "nothing was ever added to the cart"),
        not cart_ms,
        ("no_purchase_before", "indicator", "purchases", "nothing was ever purchased"),
        not purchase_ms,
        ("price_missing", "indicator", "price", "price of this item is unknown"),
        price is None,
        ("usual_price_missing", "indicator", "price", "usual price of this shopper is unknown"),
        usual is None,
        ("is_view", "indicator", "views", "this event is a view"),
        kind == "view",
        ("is_search", "indicator", "searches", "this event is a search"),
        kind == "search",
        ("is_cart", "indicator", "cart", "this event is an addition to the cart"),
        kind == "add_to_cart",
        ("cart_not_empty", "indicator", "cart", "something is in the cart"),
        len(affinities.cart) > 0,
        ("hour_sin", "indicator", "hour", "time of day, as a sine"),
        sin(phase),
        ("hour_cos", "indicator", "hour", "time of day, as a cosine"),
        cos(phase),
        # The slate is decided for the whole batch at once: with_slate replaces these two.
        ("slate_score", "number", "recommendations", "expected rewards of the recommended items"),
        event.slate_score or 0.0,
        ("no_slate", "indicator", "recommendations", "nothing is recommended at this event"),
        event.slate_score is None,
    )
    found += session_and_recency[part]
    found += item_and_indicators[part]
    return found


def with_slate(vector: list[Any], slate_score: float) -> list[Any]:
    """Returns the vector as of the time after a slate was decided."""
    return [*vector[:-2], slate_score, False]


@dataclass
class _Nobody:
    """An empty shopper and event: the list of features does not depend on the state."""

    last_ms: int = 0
    cart_ms: int = 0
    purchase_ms: int = 0
    rings: list[Ring] = field(default_factory=list)
    session: Session = field(default_factory=Session)
    affinities: Affinities = field(default_factory=Affinities)
    kind: Kind = "view"
    category: str | None = None
    price: float | None = None
    previous_ms: int = 0
    item_views_before: int = 0
    slate_score: float | None = None


SHOPPER_FEATURES: Final[tuple[Feature, ...]] = tuple(
    Feature(*each) for each in feature_vector(_Nobody(), _Nobody(), _FEATURES)
)
"""All features but the sums over windows, in the order of the vector."""
