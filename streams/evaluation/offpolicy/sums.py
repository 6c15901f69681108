"""Estimates as ratios of sums over decisions, and what their intervals need."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Float64Array = NDArray[np.float64]
Int64Array = NDArray[np.int64]


def by_user(values: Float64Array, users: Int64Array) -> Float64Array:
    """Sums over the decisions of each user, ``(n_users,)``; ``users`` are dense numbers, ``(n_decisions,)``."""
    return np.asarray(np.bincount(users, values), np.float64)


class Sums(NamedTuple):
    """Terms of an estimate, one for each decision.

    Attributes:
        numerators: ``(n_decisions,)``.
        denominators: Ones for a mean, the weights for a self-normalised estimate, same shape.
        weights: Importance weights behind the estimate, same shape; for several slots, those of the last.
    """

    numerators: Float64Array
    denominators: Float64Array
    weights: Float64Array

    @property
    def value(self) -> float:
        """The estimate; NaN if the denominators sum to 0."""
        total = float(self.denominators.sum())
        return float(self.numerators.sum()) / total if total else float("nan")

    @property
    def effective_size(self) -> float:
        """Effective sample size: the number of equally weighted decisions with the same precision.

        References:
            Kong (1992), "A note on importance sampling using standardized weights".
        """
        if not self.weights.any():
            return 0.0
        # Brought near 1 by a power of two, which is exact: the squares of very small weights would be 0.
        weights = np.ldexp(self.weights, -int(np.frexp(self.weights.max())[1]))
        return float(weights.sum()) ** 2 / float((weights * weights).sum())


class Terms(NamedTuple):
    """Terms of a lower and of an upper bound of a policy's value, one for each decision.

    Both have the value as their expectation if no weight is capped and every choice of the policy is in the log. A cap,
    or choices that were never logged, are replaced by the smallest and by the largest reward.

    Attributes:
        below: Its expectation is at most the value, ``(n_decisions,)``.
        above: Its expectation is at least the value, same shape.
        gains: Weighted rewards above the smallest one, at least 0, same shape.
        losses: Weighted rewards below the largest one, at least 0, same shape.
        weights: Importance weights without a cap; for slates, those of each slot with all before it,
            ``(n_decisions, n_constraints)``.
        supported: Expectation of each weight: the policy's share of choices that the log has, ``(n_decisions,)``.
        smallest: Smallest reward of a decision.
        largest: Largest reward of a decision.
        base: A decision adds the base plus its weighted reward above the base.
        is_weighted_reward: Whether the terms are weighted rewards and nothing else, on which bets are possible.
    """

    below: Float64Array
    above: Float64Array
    gains: Float64Array
    losses: Float64Array
    weights: Float64Array
    supported: Float64Array
    smallest: float
    largest: float
    base: float
    is_weighted_reward: bool = True

    @property
    def excess(self) -> Float64Array:
        """Weights less their expectations, ``(n_decisions, n_constraints)``."""
        return self.weights - self.supported[:, None]


def weighted_reward_terms(
    gains: Float64Array,
    losses: Float64Array,
    weights: Float64Array,
    supported: Float64Array,
    unseen: Float64Array,
    rewards: "RewardRange",
) -> Terms:
    """Returns the terms of an estimate that is a sum of weighted rewards; see :class:`Terms` for the arguments.

    Args:
        unseen: Largest reward above the smallest one that a cap took away or that the log does not have,
            ``(n_decisions,)``.
    """
    below = rewards.low + gains
    return Terms(below, below + unseen, gains, losses, weights, supported, rewards.low, rewards.high, rewards.low)


class RewardRange(NamedTuple):
    """Smallest and largest reward of a decision."""

    low: float
    high: float

    @property
    def span(self) -> float:
        """Largest less smallest reward."""
        return self.high - self.low

    def times(self, factor: float) -> "RewardRange":
        """Returns the range of a sum of so many rewards."""
        return RewardRange(factor * self.low, factor * self.high)
