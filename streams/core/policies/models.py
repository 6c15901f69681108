"""What the policies have learned, from the models feed."""

from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from streams.contract.arrays import Arrays, unpack_arrays
from streams.contract.records import Parameters
from streams.contract.settings import Decisions
from streams.contract.topics import Q_AGENT
from streams.core.policies.features import FINGERPRINT, N_FEATURES
from streams.core.policies.policy import Estimates
from streams.core.policies.q_agent import N_ACTIONS, N_STATES

Float64Array = NDArray[np.float64]


class RewardModel(NamedTuple):
    """A linear model of rewards, and how sure it is.

    Attributes:
        theta: Its weights, ``(n_features,)``.
        factor: ``inverse(L)`` of its precision ``A = L L'``, so that ``x' inverse(A) x`` is the squared length of
            ``factor @ x``; ``(n_features, n_features)``.
        examples: What the examples that it was learned from weigh.
    """

    theta: Float64Array
    factor: Float64Array
    examples: float

    def estimate(self, features: Float64Array, *, deviations: bool) -> Estimates:
        """Estimates the rewards of items; those of one decision have the same bits in any batch.

        Args:
            features: ``(n_decisions, n_items, n_features)``.
            deviations: Whether the policy reads them.
        """
        # One product for each decision, of a size that does not depend on the batch; one for all would have other bits.
        means = features @ self.theta
        if not deviations:
            return Estimates(means, np.zeros(means.shape), self.examples)
        spread = features @ self.factor.T
        return Estimates(means, np.sqrt((spread * spread).sum(axis=-1)), self.examples)


UNTRAINED = RewardModel(np.zeros(N_FEATURES), np.eye(N_FEATURES), 0.0)
"""All is equally good, and nothing is known."""
_REWARD_MODEL: Final[Arrays] = {"theta": UNTRAINED.theta, "factor": UNTRAINED.factor, "examples": np.zeros(1)}


class PolicyModels:
    """The latest of each learner.

    Attributes:
        rewards: Learner to its model; :data:`UNTRAINED` before anything came.
        table: The Q agent's values, ``(N_STATES, N_ACTIONS)``.
        versions: Learner to the version that is used, 0 before any.
    """

    def __init__(self, decisions: Decisions) -> None:
        self.rewards = dict.fromkeys((name for name in decisions.learners if name != Q_AGENT), UNTRAINED)
        self.table = np.zeros((N_STATES, N_ACTIONS))
        self.versions = dict.fromkeys(decisions.learners, 0)

    def apply(self, parameters: Parameters) -> bool:
        """Takes a record of the models feed; returns whether it was a policy's, and learned on what is used here."""
        try:
            arrays = unpack_arrays(parameters.arrays)
        except (TypeError, ValueError):
            return False
        learner = parameters.learner
        if learner in self.rewards and parameters.schema == FINGERPRINT and _fit(arrays, _REWARD_MODEL):
            self.rewards[learner] = RewardModel(arrays["theta"], arrays["factor"], float(arrays["examples"][0]))
        elif learner == Q_AGENT and _fit(arrays, {"table": self.table}):
            self.table = arrays["table"]
        else:
            return False
        # A new dictionary, since decisions keep the one they were made by.
        self.versions = {**self.versions, learner: parameters.version}
        return True


def _fit(sent: Arrays, used: Arrays) -> bool:
    """Tells whether all arrays are there, in the shapes and types of those in use, and finite."""
    return all(
        name in sent
        and sent[name].shape == own.shape
        and sent[name].dtype == own.dtype
        and bool(np.isfinite(sent[name]).all())
        for name, own in used.items()
    )
