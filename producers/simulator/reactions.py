"""What may follow from one view and from one slate, as probabilities for each particle.

Arrays have the shape ``(2, n_particles)``: sessions for browsing, sessions for buying.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np

from producers.simulator.delays import INTENTS, Forecast, purchase_passed, removal_passed
from producers.simulator.journal import Slots
from producers.simulator.plan import CART_DELAY_MS, LONGEST_CART_DELAY_MS, REMOVAL_PROBABILITY
from producers.simulator.population import Floats
from producers.simulator.shopper import CLICK_GAP_MS, FOLLOWED_CART_DELAY_MS

RARELY: Final = 1e-12
"""Stands for a probability of 0, whose logarithm is needed."""


@dataclass(slots=True, eq=False)
class Chain:
    """One view, and the addition to the cart and the purchase that may follow from it.

    Attributes:
        is_followed: Whether the view followed from a click.
        cart: Probability that the item is added to the cart.
        buy: Probability that it is bought once it is in the cart and not removed.
        carted_s: Time of the addition to the cart; ``None`` before it.
    """

    item: int
    view_s: float
    is_followed: bool
    cart: Floats
    buy: Floats
    carted_s: float | None = None

    def is_over(self, now_s: float) -> bool:
        """Returns whether nothing can follow any more."""
        if self.carted_s is not None:
            return purchase_passed(now_s - self.carted_s) >= 1.0
        shortest_ms, spread_ms = FOLLOWED_CART_DELAY_MS if self.is_followed else (CART_DELAY_MS, LONGEST_CART_DELAY_MS)
        return now_s - self.view_s >= (shortest_ms + spread_ms) / 1000.0

    def silence(self, now_s: float, forecast: Forecast) -> Floats:
        """Returns the probability that nothing has followed since the view, or since the addition to the cart."""
        if self.carted_s is None:
            return np.maximum(1.0 - self.cart * (1.0 - self._cart_left(now_s, forecast)), RARELY)
        passed_s = now_s - self.carted_s
        removed = 0.0 if self.is_followed else REMOVAL_PROBABILITY
        kept = (1.0 - removed) * (1.0 - self.buy * purchase_passed(passed_s))
        return np.maximum(kept + removed * (1.0 - removal_passed(passed_s)), RARELY)

    def silence_and_cart(self, now_s: float, horizon_s: float, forecast: Forecast) -> Floats:
        """Returns the probability of silence until now and an addition to the cart within the horizon."""
        if self.carted_s is not None:
            return np.zeros_like(self.cart)
        return self.cart * (self._cart_left(now_s, forecast) - self._cart_left(now_s + horizon_s, forecast))

    def silence_and_purchase(self, now_s: float, horizon_s: float, forecast: Forecast) -> Floats:
        """Returns the probability of silence until now and a purchase within the horizon."""
        kept = 1.0 if self.is_followed else 1.0 - REMOVAL_PROBABILITY
        if self.carted_s is None:
            return self.cart * self._cart_left(now_s, forecast) * kept * self.buy * purchase_passed(horizon_s)
        passed_s = now_s - self.carted_s
        return kept * self.buy * (purchase_passed(passed_s + horizon_s) - purchase_passed(passed_s))

    def _cart_left(self, now_s: float, forecast: Forecast) -> Floats:
        """Returns the share of the additions to the cart that come later than now, ``(2, 1)``."""
        passed_s = now_s - self.view_s
        if self.is_followed:
            left = 1.0 - uniform_passed(passed_s, FOLLOWED_CART_DELAY_MS)
            return np.array([[left], [left]])
        return np.array([[1.0 - forecast.cart_passed(passed_s, intent)] for intent in INTENTS])


@dataclass(slots=True, eq=False)
class Slate:
    """A slate that is being looked at: clicks come one after the other, first slot first.

    Attributes:
        since_s: Time of the impression, or of the last click.
        probabilities: ``(2, n_particles, n_slots)``, of the slots that may still be clicked.
    """

    since_s: float
    slots: Slots
    probabilities: Floats
    n_clicks: int = 0

    def is_over(self, now_s: float) -> bool:
        """Returns whether there can be no further click."""
        return uniform_passed(now_s - self.since_s, CLICK_GAP_MS) >= 1.0

    def silence(self, now_s: float) -> Floats:
        """Returns the probability of no click until now."""
        passed = uniform_passed(now_s - self.since_s, CLICK_GAP_MS)
        return np.maximum(1.0 - passed * any_click(self.probabilities), RARELY)

    def click(self, position: int | None, now_s: float) -> Floats:
        """Takes in a click, and returns its probability."""
        place = next(place for place, (slot, _) in enumerate(self.slots) if slot == position)
        skipped = 1.0 - any_click(self.probabilities[:, :, :place])
        clicked: Floats = skipped * self.probabilities[:, :, place]
        self.slots = self.slots[place + 1 :]
        self.probabilities = self.probabilities[:, :, place + 1 :]
        self.since_s = now_s
        self.n_clicks += 1
        return clicked


def any_click(probabilities: Floats) -> Floats:
    """Returns the probability of a click on any slot, from those of the slots."""
    none: Floats = np.prod(1.0 - probabilities, axis=2)
    return 1.0 - none


def uniform_passed(passed_s: float, bounds_ms: tuple[int, int]) -> float:
    """Returns the share of a delay, its shortest time and a uniform one beyond it, that has passed."""
    shortest_ms, spread_ms = bounds_ms
    return min(1.0, max(0.0, (1000.0 * passed_s - shortest_ms) / spread_ms))
