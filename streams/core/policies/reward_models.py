"""Reward models of the policies, and the Q agent's table, from the models global table."""

from typing import Final, NamedTuple

import numpy as np

from streams.contract.arrays import Arrays, Float64Array, are_moderate, unpack_arrays
from streams.contract.records import Parameters
from streams.contract.settings import Decisions
from streams.contract.topics import Q_AGENT
from streams.core.policies.policy import Estimates
from streams.core.policies.q_agent import N_ACTIONS, N_STATES
from streams.core.policies.slate_features import FINGERPRINT, N_FEATURES


class RewardModel(NamedTuple):
    """A linear model of rewards with its uncertainty.

    Attributes:
        theta: Weights, ``(n_features,)``.
        factor: ``inverse(L)`` of the precision ``A = L L'``, so that ``x' inverse(A) x`` is the squared length of
            ``factor @ x``; ``(n_features, n_features)``.
        examples: Summed weight of the examples learned from.
    """

    theta: Float64Array
    factor: Float64Array
    examples: float

    def estimate(self, features: Float64Array, *, deviations: bool) -> Estimates:
        """Estimates the rewards of items; a decision's estimates have the same bits in any batch.

        Args:
            features: ``(n_decisions, n_items, n_features)``.
            deviations: Whether to compute the deviations.
        """
        # One product for each decision, of a size that does not depend on the batch: it keeps the bits the same.
        means = features @ self.theta
        if not deviations:
            return Estimates(means, np.zeros(means.shape), self.examples)
        spread = features @ self.factor.T
        return Estimates(means, np.sqrt((spread * spread).sum(axis=-1)), self.examples)


UNTRAINED = RewardModel(np.zeros(N_FEATURES), np.eye(N_FEATURES), 0.0)
"""Model without examples: every item has the same estimate."""
_REWARD_MODEL: Final[Arrays] = {"theta": UNTRAINED.theta, "factor": UNTRAINED.factor, "examples": np.zeros(1)}


class PolicyModels:
    """The latest model of each learner.

    Attributes:
        rewards: Learner to its model; :data:`UNTRAINED` before its first record.
        table: The Q agent's values, ``(N_STATES, N_ACTIONS)``.
        versions: Learner to the version in use, 0 before its first record.
    """

    def __init__(self, decisions: Decisions) -> None:
        self.rewards = dict.fromkeys((name for name in decisions.learners if name != Q_AGENT), UNTRAINED)
        self.table = np.zeros((N_STATES, N_ACTIONS))
        self.versions = dict.fromkeys(decisions.learners, 0)

    def apply(self, parameters: Parameters) -> bool:
        """Applies a record of the models table, if it is a policy's with the features used here; returns whether."""
        try:
            arrays = unpack_arrays(parameters.arrays)
        except (TypeError, ValueError):
            return False
        learner = parameters.learner
        if learner in self.rewards and parameters.schema == FINGERPRINT and _fit(arrays, _REWARD_MODEL):
            if arrays["examples"][0] < 0.0:
                return False
            self.rewards[learner] = RewardModel(arrays["theta"], arrays["factor"], float(arrays["examples"][0]))
        elif learner == Q_AGENT and _fit(arrays, {"table": self.table}):
            self.table = arrays["table"]
        else:
            return False
        # A new dictionary: decisions keep a reference to the one in use when they were made.
        self.versions = {**self.versions, learner: parameters.version}
        return True


def _fit(received: Arrays, used: Arrays) -> bool:
    """Returns whether all arrays are there and moderate, with the shapes and types of those in use."""
    return are_moderate(received) and all(
        name in received and received[name].shape == own.shape and received[name].dtype == own.dtype
        for name, own in used.items()
    )
