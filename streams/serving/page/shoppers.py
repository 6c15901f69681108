"""Shoppers as the page knows them: last events, cart and last prediction of those who were there lately."""

from collections import OrderedDict, deque
from collections.abc import Iterator, Mapping
from typing import Final

import msgspec

from streams.contract.records import Reason

MAX_SHOPPERS: Final = 20_000
_LAST_EVENTS: Final = 8
RECENT_MS: Final = 30 * 60_000
"""A shopper without an event for so long is neither a likely buyer nor about to leave."""
IDLE_MS: Final = 5 * 60_000
"""Who has something in the cart, and has done nothing for so long, is about to leave."""


class Act(msgspec.Struct, frozen=True, gc=False):
    """What the page reads of an event of the clickstream."""

    kind: str
    timestamp_ms: int
    user_id: str | None = None
    item_id: str | None = None
    category: str | None = None
    decision_id: str | None = None
    position: int | None = None
    query: str | None = None
    price: float | None = None


class Expected(msgspec.Struct, frozen=True, gc=False):
    """What the page reads of a prediction."""

    event_ref: str
    user_id: str
    timestamp_ms: int
    probabilities: dict[str, float]
    reasons: dict[str, list[Reason]]
    model_versions: dict[str, int] = {}
    amounts: dict[str, float] = {}


class Shopper:
    """One shopper.

    Attributes:
        acts: The last events, oldest first, without impressions.
        cart: Items in the cart that were not bought yet, oldest first.
    """

    __slots__ = ("acts", "cart", "expected", "last_ms")

    def __init__(self) -> None:
        self.last_ms = 0
        self.acts: deque[Act] = deque(maxlen=_LAST_EVENTS)
        self.cart: dict[str, None] = {}
        self.expected: Expected | None = None

    def take(self, act: Act) -> None:
        self.last_ms = max(self.last_ms, act.timestamp_ms)
        if act.kind != "impression":
            self.acts.append(act)
        if act.item_id is None:
            return
        if act.kind == "add_to_cart":
            self.cart[act.item_id] = None
        elif act.kind in ("remove_from_cart", "purchase"):
            self.cart.pop(act.item_id, None)


class ListedShopper(msgspec.Struct, frozen=True):
    """A shopper in one of the lists.

    Attributes:
        probability: Of a purchase, as last predicted; ``None`` where there is no such prediction.
        spend: Expected spending, likewise.
        idle_s: Event time since the last event.
        cart: Number of items in the cart.
    """

    user_id: str
    probability: float | None
    spend: float | None
    idle_s: float
    cart: int
    last_ms: int


class Shoppers:
    """The shoppers that were seen last, at most :data:`MAX_SHOPPERS`.

    Args:
        buying: Name of the target that predicts a purchase, and of the one that predicts spending; ``None`` for none.
    """

    def __init__(self, buying: str | None, spending: str | None) -> None:
        self._buying, self._spending = buying, spending
        self._shoppers: OrderedDict[str, Shopper] = OrderedDict()

    def find(self, user_id: str) -> Shopper | None:
        return self._shoppers.get(user_id)

    def take(self, act: Act) -> None:
        """Applies an event."""
        if act.user_id is not None and act.kind != "decide":
            self._of(act.user_id).take(act)

    def expect(self, expected: Expected) -> None:
        """Applies a prediction."""
        self._of(expected.user_id).expected = expected

    def likely_buyers(self, now_ms: int, n: int) -> list[ListedShopper]:
        """Lists who was there in the last half hour, by the probability of a purchase.

        Args:
            now_ms: Event time.
        """
        listed = [each for each in self._recent(now_ms) if each.probability is not None]
        return sorted(listed, key=lambda each: -(each.probability or 0.0))[:n]

    def about_to_leave(self, now_ms: int, n: int) -> list[ListedShopper]:
        """Lists who has something in the cart and has done nothing for five minutes, the likeliest buyers first."""
        listed = [each for each in self._recent(now_ms) if each.cart and each.idle_s * 1000 >= IDLE_MS]
        return sorted(listed, key=lambda each: -(each.probability or 0.0))[:n]

    def _of(self, user_id: str) -> Shopper:
        shopper = self._shoppers.get(user_id)
        if shopper is None:
            shopper = self._shoppers[user_id] = Shopper()
            if len(self._shoppers) > MAX_SHOPPERS:
                self._shoppers.popitem(last=False)
        else:
            self._shoppers.move_to_end(user_id)
        return shopper

    def _recent(self, now_ms: int) -> Iterator[ListedShopper]:
        for user_id, shopper in self._shoppers.items():
            if now_ms - shopper.last_ms < RECENT_MS:
                expected = shopper.expected
                yield ListedShopper(
                    user_id,
                    _value(expected.probabilities if expected else {}, self._buying),
                    _value(expected.amounts if expected else {}, self._spending),
                    max(now_ms - shopper.last_ms, 0) / 1000,
                    len(shopper.cart),
                    shopper.last_ms,
                )


def _value(values: Mapping[str, float], name: str | None) -> float | None:
    return None if name is None else values.get(name)
