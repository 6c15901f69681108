"""Estimators for single choices: replay, inverse propensity, self-normalised, direct method, doubly robust.

References:
    Li, Chu, Langford and Wang (2011), "Unbiased offline evaluation of contextual-bandit-based news article
    recommendation algorithms", WSDM: replay. Swaminathan and Joachims (2015), "The self-normalized estimator for
    counterfactual learning", NeurIPS. Dudik, Langford and Li (2011), "Doubly robust policy evaluation and learning",
    ICML.
"""

from math import inf
from typing import NamedTuple

import numpy as np

from streams.contract.arrays import BoolArray
from streams.evaluation.offpolicy.sums import Float64Array, Int64Array, RewardRange, Sums, Terms, weighted_reward_terms


class Choices(NamedTuple):
    """Logged choices, and the probabilities of the evaluated policy.

    Attributes:
        actions: Chosen actions, ``(n_decisions,)``.
        propensities: Logged probabilities of the chosen actions, ``(n_decisions,)``.
        rewards: ``(n_decisions,)``.
        target: The evaluated policy's probability of each action, 0 for an unavailable one,
            ``(n_decisions, n_actions)``.
    """

    actions: Int64Array
    propensities: Float64Array
    rewards: Float64Array
    target: Float64Array

    @property
    def target_of_chosen(self) -> Float64Array:
        """The evaluated policy's probability of the chosen action, ``(n_decisions,)``."""
        return self.target[np.arange(len(self.actions)), self.actions]

    def weights(self, cap: float = inf) -> Float64Array:
        """Returns the importance weights, at most ``cap`` each, ``(n_decisions,)``."""
        return np.minimum(self.target_of_chosen / self.propensities, cap)


def replay(choices: Choices) -> Sums:
    """Averages over the decisions where a deterministic policy agrees with the log, which must be uniform."""
    agrees = np.where(choices.target_of_chosen == 1.0, 1.0, 0.0)
    return Sums(agrees * choices.rewards, agrees, agrees)


def inverse_propensity(choices: Choices, cap: float = inf) -> Sums:
    """Weights each reward by the ratio of the policy's probability and the propensity; unbiased without a cap."""
    weights = choices.weights(cap)
    return Sums(weights * choices.rewards, np.ones(len(weights)), weights)


def self_normalised(choices: Choices, cap: float = inf) -> Sums:
    """Divides by the sum of the weights: less variance, and a bias that vanishes with the length of the log."""
    weights = choices.weights(cap)
    return Sums(weights * choices.rewards, weights, weights)


def direct_method(choices: Choices, expected: Float64Array) -> Sums:
    """Averages a reward model's estimates over the policy's choices; as biased as the model.

    Args:
        expected: Estimated reward of each action, ``(n_decisions, n_actions)``.
    """
    ones = np.ones(len(choices.actions))
    return Sums((choices.target * expected).sum(axis=1), ones, ones)


def doubly_robust(choices: Choices, expected: Float64Array, cap: float = inf) -> Sums:
    """Corrects the direct method with weighted residuals: unbiased if the propensities or the model are right."""
    weights = choices.weights(cap)
    residuals = choices.rewards - expected[np.arange(len(weights)), choices.actions]
    direct = direct_method(choices, expected)
    return Sums(direct.numerators + weights * residuals, direct.denominators, weights)


def cap_bias(choices: Choices, cap: float) -> float:
    """Estimates the bias of :func:`inverse_propensity` with a cap: the reward that the cap removes."""
    excess = choices.weights() - choices.weights(cap)
    return -float((excess * choices.rewards).mean())


def weighted_terms(choices: Choices, logged: BoolArray, rewards: RewardRange, cap: float = inf) -> Terms:
    """Returns the terms of :func:`inverse_propensity` and :func:`self_normalised`, whose expectations are the same.

    Args:
        logged: Actions that the log has, ``(n_decisions, n_actions)``.
    """
    weights, capped, missing = choices.weights(), choices.weights(cap), never_logged(choices, logged)
    return weighted_reward_terms(
        capped * (choices.rewards - rewards.low),
        capped * (rewards.high - choices.rewards),
        weights[:, None],
        1.0 - missing,
        rewards.span * (missing + weights - capped),
        rewards,
    )


def doubly_robust_terms(choices: Choices, expected: Float64Array, logged: BoolArray, rewards: RewardRange) -> Terms:
    """Returns the terms of :func:`doubly_robust` without a cap; see :func:`weighted_terms`."""
    values = doubly_robust(choices, expected).numerators
    missing = np.where(logged, 0.0, choices.target)
    mean = float(direct_method(choices, expected).value)
    return weighted_terms(choices, logged, rewards)._replace(
        below=values + (missing * (rewards.low - expected)).sum(axis=1),
        above=values + (missing * (rewards.high - expected)).sum(axis=1),
        base=mean,
        is_weighted_reward=False,
    )


def never_logged(choices: Choices, logged: BoolArray) -> Float64Array:
    """Returns the evaluated policy's probability of actions that the log does not have, ``(n_decisions,)``."""
    return np.asarray(np.where(logged, 0.0, choices.target).sum(axis=1), np.float64)
