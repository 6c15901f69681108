"""Estimators for whole slates, whose slots were drawn one by one from the remaining items.

References:
    McInerney, Brost, Chandar, Mehrotra and Carterette (2020), "Counterfactual evaluation of slate recommendations with
    sequential reward interactions", KDD, section 4: reward-interaction inverse propensity.
    Li, Kim, Kveton et al. (2018), "Offline evaluation of ranking policies with click models", KDD: independent
    positions.
"""

from math import inf
from typing import NamedTuple

import numpy as np

from streams.contract.arrays import BoolArray
from streams.core.policies.slates import CategoryLimit, Probabilities, Remaining
from streams.evaluation.offpolicy.sums import Float64Array, Int64Array, RewardRange, Sums, Terms, weighted_reward_terms


class SlateLog(NamedTuple):
    """Logged slates with the evaluated policy's probabilities; beyond a slate's end probabilities are 1, rewards 0.

    Attributes:
        propensities: Logged probability of each slot given the slots before it, ``(n_decisions, n_slots)``.
        target: The same under the evaluated policy, given the same slots before, same shape.
        rewards: Reward of each slot, same shape.
    """

    propensities: Float64Array
    target: Float64Array
    rewards: Float64Array

    def prefix_weights(self, cap: float = inf) -> Float64Array:
        """Returns the weight of each slot with all before it, at most ``cap`` each, ``(n_decisions, n_slots)``."""
        return np.asarray(np.minimum((self.target / self.propensities).cumprod(axis=1), cap), np.float64)


def full_slate(log: SlateLog, cap: float = inf) -> Sums:
    """Weights the whole reward by the whole slate: unbiased for any interaction of slots, with the highest variance."""
    weights = log.prefix_weights(cap)[:, -1]
    return Sums(weights * log.rewards.sum(axis=1), np.ones(len(weights)), weights)


def reward_interaction(log: SlateLog, cap: float = inf) -> Sums:
    """Weights each slot's reward by the slots down to it: unbiased if no slot depends on the slots below."""
    weights = log.prefix_weights(cap)
    return Sums((weights * log.rewards).sum(axis=1), np.ones(len(weights)), weights[:, -1])


def independent_positions(log: SlateLog, cap: float = inf) -> Sums:
    """Weights each slot's reward by that slot alone.

    The probabilities must be marginal, over all contents of the other slots. With probabilities given the slots before,
    it is biased if the evaluated policy fills those slots differently.
    """
    weights = np.minimum(log.target / log.propensities, cap)
    return Sums((weights * log.rewards).sum(axis=1), np.ones(len(weights)), weights[:, -1])


def full_slate_terms(log: SlateLog, rewards: RewardRange, cap: float = inf) -> Terms:
    """Returns the terms of :func:`full_slate`.

    Args:
        rewards: Range of one slot's reward; it contains 0, the reward of a slot beyond a slate's end.
    """
    weights, capped = log.prefix_weights()[:, -1], log.prefix_weights(cap)[:, -1]
    whole, of_slate = log.rewards.sum(axis=1), rewards.times(log.rewards.shape[1])
    return weighted_reward_terms(
        capped * (whole - of_slate.low),
        capped * (of_slate.high - whole),
        weights[:, None],
        np.ones(len(whole)),
        of_slate.span * (weights - capped),
        of_slate,
    )


def reward_interaction_terms(log: SlateLog, rewards: RewardRange, cap: float = inf) -> Terms:
    """Returns the terms of :func:`reward_interaction`; see :func:`full_slate_terms`."""
    weights, capped = log.prefix_weights(), log.prefix_weights(cap)
    return weighted_reward_terms(
        (capped * (log.rewards - rewards.low)).sum(axis=1),
        (capped * (rewards.high - log.rewards)).sum(axis=1),
        weights,
        np.ones(len(weights)),
        rewards.span * (weights - capped).sum(axis=1),
        rewards.times(weights.shape[1]),
    )


def cap_bias(log: SlateLog, cap: float) -> float:
    """Estimates the bias of :func:`reward_interaction` with a cap: the reward that the cap removes."""
    excess = log.prefix_weights() - log.prefix_weights(cap)
    return -float((excess * log.rewards).sum(axis=1).mean())


def of_slates(
    slates: Int64Array, there: BoolArray, probabilities: Probabilities, limit: CategoryLimit | None = None
) -> Float64Array:
    """Returns the probability of each logged slot, given the logged slots before it.

    Args:
        slates: Places in the shortlist, -1 beyond a slate's end, ``(n_decisions, n_slots)``.
        there: Items of each shortlist, ``(n_decisions, n_items)``.
        probabilities: Probabilities of the policy's next draw.
        limit: Of items of one category; the logged slates were drawn under it.

    Returns:
        1 beyond a slate's end, ``(n_decisions, n_slots)``.
    """
    remaining = Remaining(there, limit)
    of_slots = np.ones(slates.shape)
    for slot in range(slates.shape[1]):
        shown = np.flatnonzero(slates[:, slot] >= 0)
        items = slates[shown, slot]
        of_slots[shown, slot] = probabilities(remaining.items)[shown, items]
        remaining.take(shown, items)
    return of_slots
