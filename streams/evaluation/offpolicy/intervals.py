"""Intervals of a policy's value, of its mean weight, and of the difference of two policies' values.

References:
    Chernozhukov, Chetverikov and Kato (2013), "Gaussian approximations and multiplier bootstrap for maxima of sums of
    high-dimensional random vectors", Annals of Statistics 41: the critical value of several intervals at once.
    DiCiccio and Romano (1989), "On adjustments based on the signed root of the empirical likelihood ratio statistic",
    Biometrika 76.
"""

from math import sqrt
from typing import Final, NamedTuple

import numpy as np
from scipy.stats import chi2
from scipy.stats import f as f_distribution

from streams.evaluation.offpolicy.empirical_likelihood import Moments, lower_bound, residual_influence, upper_bound
from streams.evaluation.offpolicy.sums import Float64Array, Int64Array, Sums, Terms, by_user

_MISSED: Final = 0.05
_SHORT_LOGS: Final = 9.0
"""The critical value is larger by this number over the root of the effective size: 1.4 times at 500 decisions.

The likelihood ratio is distributed as chi squared in long logs; in shorter ones its tails differ by the order of the
inverse root (DiCiccio and Romano 1989). Without it, intervals at an effective size of 500 miss the truth in up to 8 %
of logs. Chosen on worlds and seeds other than those of ``benchmarks/offpolicy_coverage.py``.
"""
_MISSED_WEIGHTS: Final = 0.01


class Pseudo(NamedTuple):
    """A decision that is added to a log before a bound is computed.

    The likeliest flaw of a short log is a large weight, or a rare reward, that it has not seen yet. So the upper bound
    is that of the log with one more decision of the typical weight and the largest reward, the lower one with the
    smallest reward. It counts as one decision among the effective number of them.
    """

    value: float
    excess: Float64Array


class Comparison(NamedTuple):
    """Terms of a difference of two values.

    Attributes:
        below: As in :class:`Terms`; ``above`` and ``excess`` likewise.
        fewest: Decision that is added to the log for the lower bound, ``most`` that for the upper one.
        repeats_below: How often the same user makes that decision; ``repeats_above`` likewise.
        importance: Weight of each decision, ``(n_decisions,)``.
        range: Smallest and largest difference that is possible.
    """

    below: Float64Array
    above: Float64Array
    excess: Float64Array
    fewest: Pseudo
    most: Pseudo
    repeats_below: float
    repeats_above: float
    importance: Float64Array
    range: tuple[float, float]


def value_comparison(terms: Terms, users: Int64Array) -> Comparison:
    """Returns a policy's value as a difference from 0."""
    weights = _typical(terms.weights)
    weight, excess = float(weights[-1]), weights - float(terms.supported.mean())
    scale = weight * (terms.largest - terms.smallest)
    return Comparison(
        terms.below,
        terms.above,
        terms.excess,
        Pseudo(_decision(terms.base, weight, terms.smallest), excess),
        Pseudo(_decision(terms.base, weight, terms.largest), excess),
        _repeats(terms.losses, users, scale),
        _repeats(terms.gains, users, scale),
        terms.weights[:, -1],
        (terms.smallest, terms.largest),
    )


def difference_comparison(terms: Terms, other: Terms, users: Int64Array) -> Comparison:
    """Returns the value of one policy less that of another, on the same decisions."""
    apart = np.abs(terms.weights - other.weights)
    # What two policies share cancels. The rest is carried by fewer decisions, so that a larger weight may be unseen.
    weights = np.sqrt(_typical(apart) * _typical(apart, 2))
    weight, high = float(weights[-1]), terms.largest
    mine, theirs = float(terms.supported.mean()), float(other.supported.mean())
    repeats = _repeats(np.abs(terms.gains - other.gains), users, weight * (high - terms.smallest))
    # Only one of the two policies would have chosen what was rewarded most.
    lost = terms.base - _decision(other.base, weight, high)
    won = _decision(terms.base, weight, high) - other.base
    return Comparison(
        terms.below - other.above,
        terms.above - other.below,
        np.hstack([terms.excess, other.excess]),
        Pseudo(lost, np.append(np.zeros(len(weights)) - mine, weights - theirs)),
        Pseudo(won, np.append(weights - mine, np.zeros(len(weights)) - theirs)),
        repeats,
        repeats,
        apart[:, -1],
        (terms.smallest - high, high - terms.smallest),
    )


def likelihood_interval(comparison: Comparison, users: Int64Array, critical: float = 1.0) -> list[float]:
    """Returns the 95 % interval by empirical likelihood, clustered by user.

    Args:
        users: Dense number of each decision's user, ``(n_decisions,)``.
        critical: Factor on the interval's critical value; above 1 where several intervals must hold at once.
    """
    size, n_users = _effective_size(comparison.importance), _effective_size(by_user(comparison.importance, users))
    threshold = float(f_distribution.isf(_MISSED, 1, max(n_users - 1.0, 1.0))) * (1.0 + _SHORT_LOGS / sqrt(size))
    below = _moments(comparison.below, comparison.excess, users)
    above = _moments(comparison.above, comparison.excess, users)
    few, many = comparison.repeats_below, comparison.repeats_above
    below = below.with_user(few * comparison.fewest.value, few, few * comparison.fewest.excess)
    above = above.with_user(many * comparison.most.value, many, many * comparison.most.excess)
    least, greatest = comparison.range
    threshold *= critical * critical
    # The slack of the constraints may lead beyond what is possible.
    return [max(lower_bound(below, threshold), least), min(upper_bound(above, threshold), greatest)]


def weight_interval(terms: Terms, users: Int64Array) -> list[float]:
    """Returns the 99 % interval of the mean importance weight, by empirical likelihood, clustered by user."""
    weights = terms.weights[:, -1]
    moments = _moments(weights, np.zeros((len(users), 0)), users)
    threshold = float(chi2.isf(_MISSED_WEIGHTS, 1))
    typical, nothing = float(_typical(weights[:, None])[0]), np.zeros(0)
    repeats = _repeats(weights, users, typical)
    return [
        lower_bound(moments.with_user(0.0, repeats, nothing), threshold),
        upper_bound(moments.with_user(repeats * typical, repeats, nothing), threshold),
    ]


def simultaneous_critical(comparisons: list[Comparison], users: Int64Array, resamples: int, seed: int) -> float:
    """Returns the factor on the critical value with which all intervals hold at once in 95 % of logs (max-t)."""
    if len(comparisons) < 2:
        return 1.0
    influences = np.column_stack([residual_influence(_moments(each.below, each.excess, users)) for each in comparisons])
    spread = np.sqrt((influences**2).sum(axis=0))
    # Of two equal policies every difference is 0: no interval depends on it.
    influences = influences[:, spread > 0.0] / spread[spread > 0.0]
    if influences.shape[1] < 2:
        return 1.0
    covariance = influences.T @ influences
    drawn = np.random.default_rng(seed).multivariate_normal(np.zeros(len(covariance)), covariance, resamples)
    quantile = float(np.quantile(np.abs(drawn).max(axis=1), 1.0 - _MISSED))
    return max(quantile / float(np.sqrt(chi2.isf(_MISSED, 1))), 1.0)


def _decision(base: float, weight: float, reward: float) -> float:
    return base + weight * (reward - base)


def _moments(numerators: Float64Array, excess: Float64Array, users: Int64Array) -> Moments:
    numerators, denominators = by_user(numerators, users), by_user(np.ones(len(users)), users)
    constraints = np.zeros((len(numerators), excess.shape[1]))
    for place, column in enumerate(excess.T):
        constraints[:, place] = by_user(column, users)
    return Moments(numerators, denominators, constraints)


def _effective_size(weights: Float64Array) -> float:
    return max(Sums(weights, weights, weights).effective_size, 1.0)


def _typical(weights: Float64Array, power: int = 1) -> Float64Array:
    """Returns the mean weight where decisions count by their weight, ``(n_constraints,)``; 0 if there are no weights.

    Args:
        power: Decisions count by this power of their weight.
    """
    counts = weights**power
    total = counts.sum(axis=0)
    return np.asarray(np.divide((weights * counts).sum(axis=0), total, out=np.zeros_like(total), where=total > 0.0))


def _repeats(contributions: Float64Array, users: Int64Array, scale: float) -> float:
    """Returns how many decisions of one user add up to a typical user's contribution; at least 1."""
    of_users = by_user(contributions, users)
    total = float(of_users.sum())
    return max(float(of_users @ of_users) / (total * scale), 1.0) if total > 0.0 and scale > 0.0 else 1.0
