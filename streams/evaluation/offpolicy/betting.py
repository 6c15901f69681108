"""Intervals by betting, which hold in a log of any length and at every moment of it.

References:
    Waudby-Smith, Wu, Ramdas, Karampatziakis and Mineiro (2022), "Anytime-valid off-policy inference for contextual
    bandits", section 2: bets on weighted rewards, and on their mirror images for the upper bound.
    Waudby-Smith and Ramdas (2023), "Estimating means of bounded random variables by betting", JRSS B 86: predictable
    stakes.
"""

from math import log
from typing import Final

import numpy as np

from streams.evaluation.offpolicy.sums import Float64Array, Int64Array, Terms, by_user

_MISSED: Final = 0.05
_LARGEST_LOSS: Final = 0.5
"""Share of the capital that a bet may lose."""
_HALVINGS: Final = 50


def betting_interval(terms: Terms, users: Int64Array) -> list[float]:
    """Returns the 95 % interval, which bets on the users in the order of their first decision.

    The users must be drawn independently, and the rewards must be within the range of the log's. Nothing else is
    assumed: neither a large sample nor bounded weights.

    Args:
        users: Dense number of each decision's user, by first decision, ``(n_decisions,)``.
    """
    n_decisions = by_user(np.ones(len(users)), users)
    gain = _lower_bound(by_user(terms.gains, users), n_decisions)
    loss = _lower_bound(by_user(terms.losses, users), n_decisions)
    span = terms.largest - terms.smallest
    return [terms.smallest + min(gain, span), terms.largest - min(loss, span)]


def _lower_bound(gains: Float64Array, n_decisions: Float64Array) -> float:
    """Returns a lower bound of the mean gain of a decision; ``gains`` are sums by user, at least 0."""
    n_users = len(gains)
    # Each stake rests on the users before it; before the first gain there is none.
    means = gains.cumsum() / n_decisions.cumsum()
    variances = ((gains - means * n_decisions) ** 2).cumsum() / np.arange(1, n_users + 1)
    variances = np.append(0.0, variances[:-1])
    stakes = np.sqrt(2.0 * log(2.0 / _MISSED) / (n_users * np.where(variances > 0.0, variances, np.inf)))
    goal, most = log(2.0 / _MISSED), float(n_decisions.max())
    low, high = 0.0, float(gains.sum() / n_decisions.sum())
    for _ in range(_HALVINGS):
        value = 0.5 * (low + high)
        capital = np.log1p(np.minimum(stakes, _LARGEST_LOSS / (value * most)) * (gains - value * n_decisions)).cumsum()
        low, high = (value, high) if capital.max() >= goal else (low, value)
    return low
