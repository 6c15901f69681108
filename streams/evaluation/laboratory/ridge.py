"""Parallel ridge regressions: one for each world, in a disjoint world one for each arm."""

import numpy as np
from numpy.typing import NDArray

from streams.core.models.ridge import PENALTY
from streams.core.policies.policy import Estimates

Float64Array = NDArray[np.float64]
Int64Array = NDArray[np.int64]
BoolArray = NDArray[np.bool_]


class StackedRidge:
    """Regressions with the results of :class:`~streams.core.models.ridge.Ridge` for one slot, from updated inverses.

    Without a discount an example changes an inverse by a term of rank one (Sherman and Morrison 1950). The mean reward
    that the penalty pulls to is that of the whole world, so a model without examples estimates it.

    Args:
        n_blocks: Models of each world: one, or one for each arm.
        discount: Factor on the weight of all past examples of a model when it learns the next one.
    """

    def __init__(self, n_worlds: int, n_blocks: int, n_features: int, discount: float) -> None:
        self._discount = discount
        self._shared = n_blocks == 1
        identity = np.eye(n_features)
        self._penalty = PENALTY * identity
        self._precision = np.tile(self._penalty, (n_worlds, n_blocks, 1, 1))
        self._covariance = np.tile(identity / PENALTY, (n_worlds, n_blocks, 1, 1))
        self._moment = np.zeros((n_worlds, n_blocks, n_features))
        self._theta = np.zeros((n_worlds, n_blocks, n_features))
        self._weight = 0.0
        self._counted, self._earned = np.zeros(n_worlds), np.zeros(n_worlds)

    def estimate(self, features: Float64Array, *, deviations: bool) -> Estimates:
        """Estimates the rewards of all arms, ``(n_worlds, n_arms, n_features)``; the first feature must be 1."""
        mean = self._earned / np.where(self._counted > 0.0, self._counted, 1.0)
        theta = self._theta + (PENALTY * mean)[:, None, None] * self._covariance[:, :, 0]
        means = (features * theta).sum(axis=2)
        if not deviations:
            return Estimates(means, np.zeros(means.shape), self._weight)
        if self._shared:
            spread = features @ self._covariance[:, 0]
        else:
            spread = np.matmul(self._covariance, features[:, :, :, None])[:, :, :, 0]
        return Estimates(means, np.sqrt(np.maximum((spread * features).sum(axis=2), 0.0)), self._weight)

    def learn(self, vectors: Float64Array, arms: Int64Array, rewards: Float64Array, there: BoolArray) -> None:
        """Learns one example in each world that has a visitor.

        Args:
            vectors: Features of the shown arms, ``(n_worlds, n_features)``.
        """
        worlds = np.flatnonzero(there)
        blocks = np.zeros(len(worlds), np.int64) if self._shared else arms[worlds]
        x, at = vectors[worlds], (worlds, blocks)
        self._weight = self._weight * self._discount + len(worlds) / len(there)
        self._counted[worlds] = self._counted[worlds] * self._discount + 1.0
        self._earned[worlds] = self._earned[worlds] * self._discount + rewards[worlds]
        moment = self._moment[at] * self._discount + x * rewards[worlds, None]
        if self._discount < 1.0:
            old = self._precision[at] - self._penalty
            precision = old * self._discount + x[:, :, None] * x[:, None, :] + self._penalty
            covariance = np.linalg.inv(precision)
            self._precision[at] = precision
        else:
            covariance = self._covariance[at]
            direction = np.matmul(covariance, x[:, :, None])
            scale = 1.0 + (direction[:, :, 0] * x).sum(axis=1)
            covariance = covariance - direction * direction.transpose(0, 2, 1) / scale[:, None, None]
        self._covariance[at], self._moment[at] = covariance, moment
        self._theta[at] = np.matmul(covariance, moment[:, :, None])[:, :, 0]

    def forget(self, arm: int) -> None:
        """Resets the model of an arm that was replaced; a shared model stays."""
        if not self._shared:
            self._precision[:, arm] = self._penalty
            self._covariance[:, arm] = np.linalg.inv(self._penalty)
            self._moment[:, arm] = self._theta[:, arm] = 0.0
