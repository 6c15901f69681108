"""The feature vector of a shopper at an event, in the order that :mod:`streams.core.features.schema` lays out."""

from math import cos, log, pi, sin
from typing import Final, Protocol

from streams.core.features.affinities import Affinities
from streams.core.features.session import Session
from streams.core.features.windows import Ring

_DAY_MS: Final = 86_400_000


class Described(Protocol):
    """What the vector reads of the event itself."""

    @property
    def kind(self) -> str: ...
    @property
    def category(self) -> str | None: ...
    @property
    def price(self) -> float | None: ...


def feature_vector(
    event: Described,
    now_ms: int,
    rings: list[Ring],
    session: Session,
    affinities: Affinities,
    *,
    previous_ms: int,
    cart_ms: int,
    purchase_ms: int,
    item_views_before: int,
) -> list[float]:
    """Describes a shopper right after ``event`` was applied.

    A value that is missing is 0 with its indicator 1, so that a model can tell it from a true 0.

    Args:
        now_ms: Time of the latest event; the event's own where events come in order.
        previous_ms: Time of the event before, 0 for none.
        cart_ms: Time of the last addition to the cart, 0 for none.
        purchase_ms: Time of the last purchase, 0 for none.
        item_views_before: How often the event's item had been looked at.
    """
    vector: list[float] = []
    for ring in rings:
        vector += ring.totals
    price, usual = event.price, affinities.log_price
    against_usual = abs(log(price) - usual) if price and usual is not None else 0.0
    total = sum(affinities.categories.values())
    share = affinities.categories.get(event.category or "", 0.0) / total if total > 0.0 else 0.0
    phase = 2.0 * pi * (now_ms % _DAY_MS) / _DAY_MS
    kind = event.kind
    vector += (
        session.events,
        session.views,
        session.searches,
        session.carts,
        session.removals,
        len(session.items),
        (now_ms - session.start_ms) / 1000.0,
        session.impressions,
        session.clicks,
        (now_ms - previous_ms) / 1000.0 if previous_ms else 0.0,
        (now_ms - cart_ms) / 1000.0 if cart_ms else 0.0,
        (now_ms - purchase_ms) / 1000.0 if purchase_ms else 0.0,
        item_views_before,
        share,
        price or 0.0,
        against_usual,
        not previous_ms,
        not cart_ms,
        not purchase_ms,
        price is None,
        usual is None,
        kind == "view",
        kind == "search",
        kind == "add_to_cart",
        bool(affinities.cart),
        sin(phase),
        cos(phase),
    )
    return vector
