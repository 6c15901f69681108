"""Distributions of the times between a shopper's steps, as a function of the time that has passed.

Times are in seconds. Pairs are of sessions for browsing and of those for buying, as in :mod:`producers.simulator.plan`.
"""

from bisect import bisect_right
from math import erf, exp, log, sqrt
from typing import Final

import numpy as np

from producers.simulator.plan import (
    CART_DELAY_MS,
    DIRECT_MEAN_MS,
    END_PROBABILITIES,
    GAP_DEVIATION,
    GAP_MEDIANS_S,
    LEAST_VIEWS,
    LONGEST_CART_DELAY_MS,
    MOST_VIEWS,
    PURCHASE_BOUNDS_S,
    PURCHASE_DEVIATION,
    PURCHASE_MEDIAN_S,
    REACTION_DELAY_MS,
    REMOVAL_MEAN_MS,
    SHORTEST_GAP_MS,
)
from producers.simulator.population import Floats

INTENTS: Final = (0, 1)
"""Browsing and buying, as indices into pairs."""
_DRAWS: Final = 1000
_PASSED_S: Final = (0.0, 3.0, 6.0, 12.0, 20.0, 30.0, 45.0, 60.0, 90.0, 120.0, 180.0, 300.0, 600.0)


def gap_density(gap_s: float, intent: int) -> float:
    """Returns the density of the time between two views."""
    beyond_s = gap_s - SHORTEST_GAP_MS / 1000.0
    if beyond_s <= 0.0:
        return 0.0
    deviation = log(beyond_s / GAP_MEDIANS_S[intent]) / GAP_DEVIATION
    return exp(-0.5 * deviation * deviation) / beyond_s


def gap_passed(passed_s: float, intent: int) -> float:
    """Returns the probability that the time between two views is at most ``passed_s``."""
    return _lognormal(passed_s - SHORTEST_GAP_MS / 1000.0, GAP_MEDIANS_S[intent], GAP_DEVIATION)


def purchase_passed(passed_s: float) -> float:
    """Returns the probability that an item that will be bought is bought so long after it came into the cart."""
    shortest_s, longest_s = PURCHASE_BOUNDS_S
    if passed_s < shortest_s:
        return 0.0
    return 1.0 if passed_s >= longest_s else _lognormal(passed_s, PURCHASE_MEDIAN_S, PURCHASE_DEVIATION)


def removal_passed(passed_s: float) -> float:
    """Returns the probability that an item that will be removed is removed so long after it came into the cart."""
    return _exponential(passed_s - REACTION_DELAY_MS / 1000.0, REMOVAL_MEAN_MS / 1000.0)


def direct_passed(passed_s: float) -> float:
    """Returns the probability that a purchase without a cart follows so long after the view."""
    return _exponential(passed_s - REACTION_DELAY_MS / 1000.0, DIRECT_MEAN_MS / 1000.0)


def next_view_probability(n_views: int, intent: int) -> float:
    """Returns the probability that a session with so many views has another one."""
    if n_views < LEAST_VIEWS:
        return 1.0
    return 1.0 - END_PROBABILITIES[intent] if n_views < MOST_VIEWS else 0.0


class Forecast:
    """Probabilities that steps which follow from later views come within a horizon, by simulation.

    Args:
        horizon_s: From now on.
        is_purchase: Whether the step is a purchase; otherwise it is an addition to the cart.

    Attributes:
        horizon_s: From now on.
    """

    def __init__(self, horizon_s: float, *, is_purchase: bool) -> None:
        rng = np.random.default_rng(0)
        self.horizon_s = horizon_s
        self._within: list[list[list[float]]] = []
        self._announced: list[list[float]] = []
        self._cart_delays: list[list[float]] = []
        for intent in INTENTS:
            gaps_s = draw_gaps_s(rng, intent, (_DRAWS, MOST_VIEWS + 1))
            delays_s = draw_cart_delays_s(rng, gaps_s)
            self._cart_delays.append(sorted(delays_s.ravel()[:_DRAWS].tolist()))
            if is_purchase:
                medians_s = rng.lognormal(log(PURCHASE_MEDIAN_S), PURCHASE_DEVIATION, delays_s.shape)
                delays_s = delays_s + np.clip(medians_s, *PURCHASE_BOUNDS_S)
            # View m + 1 comes after the rest of the present gap and m further ones.
            later_s = np.cumsum(gaps_s[:, 1:], axis=1) - gaps_s[:, 1:] + delays_s[:, 1:]
            within = [_within(later_s, gaps_s[:, 0], passed_s, horizon_s) for passed_s in _PASSED_S]
            self._within.append(within)
            self._announced.append((later_s <= horizon_s).mean(axis=0).tolist())

    def within(self, intent: int, passed_s: float, *, is_announced: bool) -> list[float]:
        """Returns the probability that the step comes in time, if it follows from the next view, the one after, ...

        Args:
            intent: Of the session.
            passed_s: Since the last view.
            is_announced: Whether a search has announced the next view.
        """
        if is_announced:
            return self._announced[intent]
        return self._within[intent][bisect_right(_PASSED_S, passed_s) - 1]

    def cart_passed(self, passed_s: float, intent: int) -> float:
        """Returns the probability that an item that will be added to the cart was added so long after its view."""
        return bisect_right(self._cart_delays[intent], passed_s) / _DRAWS


def draw_gaps_s(rng: np.random.Generator, intent: int, shape: tuple[int, ...]) -> Floats:
    """Draws times between views."""
    beyond_s = rng.lognormal(log(GAP_MEDIANS_S[intent]), GAP_DEVIATION, shape)
    return SHORTEST_GAP_MS / 1000.0 + beyond_s


def draw_cart_delays_s(rng: np.random.Generator, gaps_s: Floats) -> Floats:
    """Draws times from a view, which the gap follows, to the addition to the cart."""
    longest_s = np.minimum(0.5 * gaps_s, LONGEST_CART_DELAY_MS / 1000.0)
    return CART_DELAY_MS / 1000.0 + rng.random(gaps_s.shape) * longest_s


def _within(later_s: Floats, first_gaps_s: Floats, passed_s: float, horizon_s: float) -> list[float]:
    is_open = first_gaps_s > passed_s
    if not is_open.any():
        # Longer than any gap that was drawn: as if the view came now.
        return (later_s <= horizon_s).mean(axis=0).tolist()  # type: ignore[no-any-return]
    left_s = (first_gaps_s - passed_s)[is_open, None]
    return (left_s + later_s[is_open] <= horizon_s).mean(axis=0).tolist()  # type: ignore[no-any-return]


def _lognormal(value: float, median: float, deviation: float) -> float:
    return 0.5 * (1.0 + erf(log(value / median) / (deviation * sqrt(2.0)))) if value > 0.0 else 0.0


def _exponential(value: float, mean: float) -> float:
    return 1.0 - exp(-value / mean) if value > 0.0 else 0.0
