"""Estimators of whole slates, whose slots were drawn one after the other from what remained.

References:
    McInerney, Brost, Chandar, Mehrotra and Carterette (2020), "Counterfactual evaluation of slate recommendations with
    sequential reward interactions", KDD, section 4: reward-interaction inverse propensity.
    Li, Kim, Kveton et al. (2018), "Offline evaluation of ranking policies with click models", KDD: independent
    positions.
"""

from math import inf
from typing import NamedTuple

import numpy as np

from streams.core.offpolicy.sums import Float64Array, Sums


class SlateLog(NamedTuple):
    """Logged slates, and the policy that is evaluated on them; beyond a slate's end probabilities are 1, rewards 0.

    Attributes:
        propensities: Of each slot given the slots before it, as logged, ``(n_decisions, n_slots)``.
        target: Of the same items under the evaluated policy, given the same slots before, same shape.
        rewards: Of each slot, same shape.
    """

    propensities: Float64Array
    target: Float64Array
    rewards: Float64Array

    def prefix_weights(self, cap: float = inf) -> Float64Array:
        """Importance weight of each slot and all before it, none above ``cap``, ``(n_decisions, n_slots)``."""
        return np.asarray(np.minimum((self.target / self.propensities).cumprod(axis=1), cap), np.float64)


def full_slate(log: SlateLog, cap: float = inf) -> Sums:
    """Weights the whole reward by the whole slate: right whatever slots do to each other, of the highest variance."""
    weights = log.prefix_weights(cap)[:, -1]
    return Sums(weights * log.rewards.sum(axis=1), np.ones(len(weights)), weights)


def reward_interaction(log: SlateLog, cap: float = inf) -> Sums:
    """Weights each slot's reward by the slots down to it: unbiased if no slot depends on those below."""
    weights = log.prefix_weights(cap)
    return Sums((weights * log.rewards).sum(axis=1), np.ones(len(weights)), weights[:, -1])


def independent_positions(log: SlateLog, cap: float = inf) -> Sums:
    """Weights each slot's reward by that slot alone.

    The probabilities must be marginal ones, whatever stood in the other slots. With those given the slots before it is
    biased whenever the evaluated policy fills these differently.
    """
    weights = np.minimum(log.target / log.propensities, cap)
    return Sums((weights * log.rewards).sum(axis=1), np.ones(len(weights)), weights[:, -1])


def cap_bias(log: SlateLog, cap: float) -> float:
    """Estimates the bias that a cap brings to :func:`reward_interaction`: the reward that it takes away."""
    excess = log.prefix_weights() - log.prefix_weights(cap)
    return -float((excess * log.rewards).sum(axis=1).mean())
