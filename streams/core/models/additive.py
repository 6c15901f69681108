"""Additive model: a curve for each number and an effect for each indicator, fitted by online Newton steps."""

from typing import Final

import numpy as np

from streams.contract.arrays import Arrays, Float64Array
from streams.core.features.schema import FeatureSchema
from streams.core.models.logistic import log_odds
from streams.core.models.newton import OnlineNewton

KNOTS: Final = np.array([-1.0, -0.3, 0.5, 1.5])
"""Points where a curve may bend, in standard deviations from the mean."""

_VARIANCE: Final = 0.01
_MEMORY: Final = 50_000.0


class AdditiveLearner:
    """A generalised additive model: each number is an input, and so is one hinge of it for each of :data:`KNOTS`.

    Args:
        prior: Initial probability.

    References:
        Hastie and Tibshirani (1986), "Generalized additive models", Statistical Science 1(3).
    """

    def __init__(self, schema: FeatureSchema, prior: float) -> None:
        self._numbers = np.flatnonzero(schema.scaled)
        self._n_features = len(schema.names)
        n_inputs = 1 + self._n_features + len(KNOTS) * len(self._numbers)
        mean, variance = np.zeros(n_inputs), np.full(n_inputs, _VARIANCE)
        mean[0], variance[0] = log_odds(prior), 1.0
        self._newton = OnlineNewton(mean, variance, _MEMORY)

    def learn_many(self, scaled: Float64Array, labels: Float64Array, weights: Float64Array) -> None:
        hinges = hinges_of(scaled[:, self._numbers])
        self._newton.learn_many(np.hstack([np.ones((len(scaled), 1)), scaled, hinges]), labels, weights)

    def parameters(self) -> Arrays:
        mean = self._newton.mean
        return {
            "intercept": mean[:1].copy(),
            "weights": mean[1 : 1 + self._n_features].copy(),
            "hinges": mean[1 + self._n_features :].reshape(len(KNOTS), -1).copy(),
            "knots": KNOTS,
            "numbers": self._numbers,
        }

    def arrays(self) -> Arrays:
        return self._newton.arrays()

    def restore(self, arrays: Arrays) -> None:
        self._newton.restore(arrays)


def additive_logits(scaled: Float64Array, parameters: Arrays) -> Float64Array:
    """Scores rows of ``(n, n_features)``, C order; a row's score has the same bits in any batch."""
    logits: Float64Array = additive_contributions(scaled, parameters).sum(axis=1) + parameters["intercept"][0]
    return logits


def additive_contributions(scaled: Float64Array, parameters: Arrays) -> Float64Array:
    """Returns what each feature adds to a row's log-odds, ``(n, n_features)``: its curve's height, 0 at the mean."""
    moved: Float64Array = scaled * parameters["weights"]
    numbers = parameters["numbers"]
    curves = moved[:, numbers]
    for knot, slopes in zip(parameters["knots"], parameters["hinges"], strict=True):
        curves += _hinge(scaled[:, numbers], knot) * slopes
    moved[:, numbers] = curves
    return moved


def hinges_of(numbers: Float64Array) -> Float64Array:
    """Returns the hinges of scaled numbers, ``(n, n_knots * n_numbers)``."""
    return np.hstack([_hinge(numbers, knot) for knot in KNOTS])


def _hinge(numbers: Float64Array, knot: float) -> Float64Array:
    """Returns a hinge that rises from the knot on, shifted so that 0, the mean, contributes nothing."""
    return np.maximum(numbers - knot, 0.0) - max(-knot, 0.0)
