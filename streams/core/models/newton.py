"""Regression by online Newton steps: every weight knows how certain it is, and with which others it goes."""

import math
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import blas

from streams.contract.arrays import Arrays

Float64Array = NDArray[np.float64]

REVIEW_EVERY: Final = 256
"""Examples after which the weights become a little less certain again."""

_LEAST_CURVATURE: Final = 1e-6
_FARTHEST: Final = 700.0
"""Of log-odds, before the exponential leaves the range of floats."""

_MOST_STEPS: Final = 50
_NEAR: Final = 1e-12


class OnlineNewton:
    """Logistic regression: a Gaussian over the weights, moved with each example to the posterior's mode.

    One pass comes near to what many passes of a batch learner reach, since a step is as long as the examples so far
    leave room for. Memory is limited by a process noise that never lifts a variance above where it started.

    Args:
        mean: Where the weights start, ``(n_inputs,)``.
        variance: How far they may lie from there, ``(n_inputs,)``.
        memory: Examples, of average curvature, after which the noise has replaced what was known.

    References:
        Fahrmeir (1992), "Posterior mode estimation by extended Kalman filtering for multivariate dynamic generalized
        linear models", JASA 87(418); Hazan, Agarwal and Kale (2007), "Logarithmic regret algorithms for online convex
        optimization", Machine Learning 69, section 3.2, for the online Newton step; Kulis and Bartlett (2010),
        "Implicit online learning", ICML, for taking the slope where the step ends.
    """

    def __init__(self, mean: Float64Array, variance: Float64Array, memory: float) -> None:
        self.mean = mean.copy()
        self._ceiling = variance.copy()
        self._noise = REVIEW_EVERY * 10.0 / memory**2
        # BLAS wants columns; only the lower triangle is kept up to date.
        self._covariance = np.asfortranarray(np.diag(variance))
        self._examples = 0

    def learn_many(self, inputs: Float64Array, labels: Float64Array, weights: Float64Array) -> None:
        """Learns example by example from ``(n, n_inputs)``, C order."""
        for values, label, weight in zip(inputs, labels.tolist(), weights.tolist(), strict=True):
            self._learn_one(values, label, weight)

    def _learn_one(self, values: Float64Array, label: float, weight: float) -> None:
        direction = blas.dsymv(1.0, self._covariance, values, lower=1)
        spread = max(float(np.dot(values, direction)), 0.0)
        slope, curvature = self._learned(float(np.dot(values, self.mean)), spread * weight, label)
        self.mean += direction * (weight * slope)
        blas.dsyr(-1.0 / (1.0 / (weight * curvature) + spread), direction, lower=1, a=self._covariance, overwrite_a=1)
        self._examples += 1
        if self._examples % REVIEW_EVERY == 0:
            variances = self._covariance.diagonal()
            widened = np.maximum(variances, np.minimum(variances + self._noise, self._ceiling))
            np.fill_diagonal(self._covariance, widened)

    def _learned(self, score: float, spread: float, label: float) -> tuple[float, float]:
        """Returns the slope of an example's log likelihood by its score, and the curvature, once it was learned."""
        probability = most_likely(score, spread, label)
        return label - probability, max(probability * (1.0 - probability), _LEAST_CURVATURE)

    def arrays(self) -> Arrays:
        """Everything it learns from here on with."""
        return {
            "mean": self.mean,
            "covariance": self._covariance[np.tril_indices(len(self.mean))],
            "examples": np.array([self._examples], np.int64),
        }

    def restore(self, arrays: Arrays) -> None:
        self.mean = arrays["mean"]
        self._covariance[np.tril_indices(len(self.mean))] = arrays["covariance"]
        self._examples = int(arrays["examples"][0])


class OnlineLeastSquares(OnlineNewton):
    """The same of a number with Gaussian noise: recursive least squares.

    Args:
        noise: Variance of the number around its score.
        widest: A number further from its score counts as this far: one mistyped price must not outweigh all others.
    """

    def __init__(
        self, mean: Float64Array, variance: Float64Array, memory: float, *, noise: float, widest: float
    ) -> None:
        super().__init__(mean, variance, memory)
        self._precision = 1.0 / noise
        self._widest = widest

    def _learned(self, score: float, spread: float, label: float) -> tuple[float, float]:
        distance = min(max(label - score, -self._widest), self._widest)
        return distance * self._precision / (1.0 + spread * self._precision), self._precision


def most_likely(score: float, spread: float, label: float) -> float:
    """Finds the probability that an example has once it was learned: where what the prior and the label pull balances.

    A step by the slope at ``score`` goes many times too far where weights are uncertain and a label surprises.

    Args:
        score: Log-odds before.
        spread: Their variance, by the example's weight.
        label: 0 or 1.

    >>> most_likely(-20.0, 100.0, 1.0) < 0.98  # a step by the slope would end at log-odds of 80
    True
    """
    low, high = (score, score + spread) if label > 0.5 else (score - spread, score)
    at = min(max(0.0, low), high)
    for _ in range(_MOST_STEPS):
        probability = _probability(at)
        excess = at - score - spread * (label - probability)
        low, high = (low, at) if excess > 0.0 else (at, high)
        step = excess / (1.0 + spread * probability * (1.0 - probability))
        if abs(step) <= _NEAR * (1.0 + abs(at)):
            break
        # Newton's step, or half the way where that would leave what encloses the root.
        at = at - step if low < at - step < high else (low + high) / 2.0
    return probability


def _probability(score: float) -> float:
    return 1.0 / (1.0 + math.exp(-score)) if score > -_FARTHEST else 0.0
