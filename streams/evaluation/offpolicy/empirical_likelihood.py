"""Intervals by empirical likelihood, with the knowledge that importance weights have mean 1.

References:
    Karampatziakis, Langford and Mineiro (2020), "Empirical likelihood for contextual bandits", NeurIPS.
    Owen (2001), "Empirical Likelihood", sections 3.4 (estimating equations) and 12.4 (the dual by Newton's method).
    Chen, Variyath and Abraham (2008), "Adjusted empirical likelihood and its properties", JCGS 17: one more
    observation makes up for what a short sample has not seen yet.
"""

from math import inf, sqrt
from typing import Final, NamedTuple

import numpy as np

from streams.evaluation.offpolicy.sums import Float64Array

_MAX_NEWTON: Final = 60
_MAX_STEPS: Final = 60
_TOLERANCE: Final = 1e-6
"""Of a bound, in standard errors."""
_LIKELIHOOD_TOLERANCE: Final = 1e-10
_SLACK: Final = 1e-3
"""Standard deviation of an expectation from 0, since logged propensities are rounded.

Without it, propensities of 0.333 for one in three leave no likelihood at all.
"""
_HOPELESS: Final = 1e3
"""Log likelihood ratio above which a value is outside of every interval that is asked for."""


class Moments(NamedTuple):
    """Sums over the decisions of each user.

    Attributes:
        numerators: ``(n_users,)``; the value is the ratio of the sums of numerators and denominators.
        denominators: ``(n_users,)``.
        excess: What has the expectation 0 but for rounding, such as importance weights less 1,
            ``(n_users, n_constraints)``.
    """

    numerators: Float64Array
    denominators: Float64Array
    excess: Float64Array

    def with_user(self, numerator: float, denominator: float, excess: Float64Array) -> "Moments":
        """Returns the moments with one more user."""
        return Moments(
            np.append(self.numerators, numerator),
            np.append(self.denominators, denominator),
            np.vstack([self.excess, excess]),
        )


def upper_bound(moments: Moments, threshold: float) -> float:
    """Returns the largest value whose log likelihood ratio, doubled, is at most ``threshold``."""
    return _bound(moments, threshold, 1.0)


def lower_bound(moments: Moments, threshold: float) -> float:
    """Returns the smallest value whose log likelihood ratio, doubled, is at most ``threshold``."""
    return _bound(moments, threshold, -1.0)


def residual_influence(moments: Moments) -> Float64Array:
    """Returns each user's influence on the value that remains once the constraints are known, ``(n_users,)``."""
    return _residuals(moments, float(moments.numerators.sum()) / float(moments.denominators.sum()))


def _residuals(moments: Moments, value: float) -> Float64Array:
    influence = moments.numerators - value * moments.denominators
    if not moments.excess.shape[1]:
        return influence
    projected = moments.excess @ np.linalg.lstsq(moments.excess.T @ moments.excess, moments.excess.T @ influence)[0]
    return np.asarray(influence - projected, np.float64)


def _bound(moments: Moments, threshold: float, side: float) -> float:
    numerators, denominators, excess = moments
    # The value itself is an equation without slack.
    slack = np.full(excess.shape[1], _SLACK * float(denominators.sum()))
    free, multipliers, likelihoods = _maximum(excess, np.zeros(len(slack)), slack)
    centre = float(likelihoods @ numerators) / float(likelihoods @ denominators)
    influence = _residuals(moments, centre)
    error = sqrt(float((influence * influence).sum())) / float(denominators.sum())
    if error <= _TOLERANCE**2 * max(abs(centre), 1.0):
        return centre
    goal = sqrt(threshold)
    inside, outside = centre, side * inf
    start = np.append(multipliers, 0.0)
    value = centre + side * goal * error
    for _ in range(_MAX_STEPS):
        equations = np.column_stack([excess, numerators - value * denominators])
        ratio, found, likelihoods = _maximum(equations, start, np.append(slack, 0.0))
        distance = sqrt(max(2.0 * (ratio - free), 0.0))
        if distance <= goal:
            inside, start = value, found
        else:
            outside = value
        # The derivative of the ratio by the value is that of its terms, since the multipliers are optimal.
        slope = -float(found[-1]) * float(likelihoods @ denominators)
        following = inf
        if ratio < _HOPELESS and slope * side > 0.0:
            following = value + (goal - distance) * distance / slope
        if min(abs(following - value), abs(outside - inside)) <= _TOLERANCE * error:
            break
        if outside == side * inf:
            value = following if (following - value) * side > 0.0 and following < inf else value + side * goal * error
        elif min(inside, outside) < following < max(inside, outside):
            value = following
        else:
            value = 0.5 * (inside + outside)
    return value


def _maximum(
    equations: Float64Array, start: Float64Array, slack: Float64Array
) -> tuple[float, Float64Array, Float64Array]:
    """Maximises the dual of the empirical likelihood, the sum of log(1 + multipliers · equations).

    Args:
        slack: Standard deviation of each equation's sum.

    Returns:
        The maximum, which is minus the log likelihood ratio, the multipliers, and the likelihood of each user times
        their number.
    """
    n, k = equations.shape
    multipliers = start
    if not k:
        return 0.0, multipliers, np.ones(n)
    # Below 1 / n the logarithm goes on as a parabola, so that every step is possible.
    least = 1.0 / n
    penalty = slack * slack
    total, inverse = _terms(1.0 + equations @ multipliers, least)
    total -= 0.5 * float(penalty @ (multipliers * multipliers))
    for _ in range(_MAX_NEWTON):
        weighted = equations * inverse[:, None]
        gradient = weighted.sum(axis=0) - penalty * multipliers
        step = np.linalg.lstsq(weighted.T @ weighted + np.diag(penalty), gradient, rcond=1e-12)[0]
        gain = float(gradient @ step)
        if gain <= _LIKELIHOOD_TOLERANCE or total > _HOPELESS:
            break
        size = 1.0
        while size > 1e-6:
            tried = multipliers + size * step
            new_total, new_inverse = _terms(1.0 + equations @ tried, least)
            new_total -= 0.5 * float(penalty @ (tried * tried))
            if new_total >= total + 1e-4 * size * gain:
                break
            size *= 0.5
        else:
            break
        multipliers, total, inverse = tried, new_total, new_inverse
    return total, multipliers, inverse


def _terms(arguments: Float64Array, least: float) -> tuple[float, Float64Array]:
    inside = np.maximum(arguments, least)
    short = (arguments - inside) / least
    total = float((np.log(inside) + short - 0.5 * short * short).sum())
    return total, (1.0 - short) / inside
