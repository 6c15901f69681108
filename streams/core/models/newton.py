"""Regression by online Newton steps, with a covariance matrix of the weights."""

import math
from typing import Final

import numpy as np

from streams.contract.arrays import Arrays, Float64Array

REVIEW_EVERY: Final = 256
"""Examples between two additions of process noise to the variances."""

_MIN_CURVATURE: Final = 1e-6
_MAX_LOG_ODDS: Final = 700.0
"""Beyond it the exponential leaves the range of floats."""

_MAX_STEPS: Final = 50
_TOLERANCE: Final = 1e-12


class OnlineNewton:
    """Logistic regression: a Gaussian over the weights, moved with each example to the posterior's mode.

    One pass comes near to the result of many passes of a batch learner: the covariance sets the length of each step.
    Old examples are forgotten through process noise, which never raises a variance above its initial value.

    Args:
        mean: Initial weights, ``(n_inputs,)``.
        variance: Their initial variances, ``(n_inputs,)``.
        memory: Number of examples, of average curvature, after which the noise has replaced what was learned.

    References:
        Fahrmeir (1992), "Posterior mode estimation by extended Kalman filtering for multivariate dynamic generalized
        linear models", JASA 87(418); Hazan, Agarwal and Kale (2007), "Logarithmic regret algorithms for online convex
        optimization", Machine Learning 69, section 3.2, for the online Newton step; Kulis and Bartlett (2010),
        "Implicit online learning", ICML, for taking the slope where the step ends.
    """

    def __init__(self, mean: Float64Array, variance: Float64Array, memory: float) -> None:
        # Imported where a model learns: Behaviour, which scores by the same modules, starts without SciPy.
        from scipy.linalg import blas

        self._dsymv, self._dsyr = blas.dsymv, blas.dsyr
        self.mean = mean.copy()
        self._ceiling = variance.copy()
        self._noise = REVIEW_EVERY * 10.0 / memory**2
        # BLAS needs column order; only the lower triangle is kept up to date.
        self._covariance = np.asfortranarray(np.diag(variance))
        self._examples = 0

    def learn_many(self, inputs: Float64Array, labels: Float64Array, weights: Float64Array) -> None:
        """Learns example by example from ``(n, n_inputs)``, C order."""
        for values, label, weight in zip(inputs, labels.tolist(), weights.tolist(), strict=True):
            self._learn_one(values, label, weight)

    def _learn_one(self, values: Float64Array, label: float, weight: float) -> None:
        direction = self._dsymv(1.0, self._covariance, values, lower=1)
        spread = max(float(np.dot(values, direction)), 0.0)
        slope, curvature = self._slope_and_curvature(float(np.dot(values, self.mean)), spread * weight, label)
        self.mean += direction * (weight * slope)
        self._dsyr(-1.0 / (1.0 / (weight * curvature) + spread), direction, lower=1, a=self._covariance, overwrite_a=1)
        self._examples += 1
        if self._examples % REVIEW_EVERY == 0:
            variances = self._covariance.diagonal()
            widened = np.maximum(variances, np.minimum(variances + self._noise, self._ceiling))
            np.fill_diagonal(self._covariance, widened)

    def _slope_and_curvature(self, score: float, spread: float, label: float) -> tuple[float, float]:
        """Returns slope and curvature of an example's log likelihood by its score, at the end of the step."""
        probability = most_likely(score, spread, label)
        return label - probability, max(probability * (1.0 - probability), _MIN_CURVATURE)

    def arrays(self) -> Arrays:
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
    """Recursive least squares: the same steps for a number with Gaussian noise.

    Args:
        noise: Variance of the number around its score.
        widest: Limit of a number's distance from its score: one mistyped price must not outweigh all others.
    """

    def __init__(
        self, mean: Float64Array, variance: Float64Array, memory: float, *, noise: float, widest: float
    ) -> None:
        super().__init__(mean, variance, memory)
        self._precision = 1.0 / noise
        self._widest = widest

    def _slope_and_curvature(self, score: float, spread: float, label: float) -> tuple[float, float]:
        distance = min(max(label - score, -self._widest), self._widest)
        return distance * self._precision / (1.0 + spread * self._precision), self._precision


def most_likely(score: float, spread: float, label: float) -> float:
    """Finds an example's probability after it was learned, at the posterior's mode (implicit step).

    A step by the slope at ``score`` is many times too long where weights are uncertain and the label is unexpected.

    Args:
        score: Log-odds before.
        spread: Their variance times the example's weight.
        label: 0 or 1.

    >>> most_likely(-20.0, 100.0, 1.0) < 0.98  # a step by the slope would end at log-odds of 80
    True
    """
    low, high = (score, score + spread) if label > 0.5 else (score - spread, score)
    at = min(max(0.0, low), high)
    for _ in range(_MAX_STEPS):
        probability = _probability(at)
        excess = at - score - spread * (label - probability)
        low, high = (low, at) if excess > 0.0 else (at, high)
        step = excess / (1.0 + spread * probability * (1.0 - probability))
        if abs(step) <= _TOLERANCE * (1.0 + abs(at)):
            break
        # Newton's step, or bisection where that would leave the interval that encloses the root.
        at = at - step if low < at - step < high else (low + high) / 2.0
    return probability


def _probability(score: float) -> float:
    return 1.0 / (1.0 + math.exp(-score)) if score > -_MAX_LOG_ODDS else 0.0
