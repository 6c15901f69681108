"""The second-order member: a curve for each number, an effect for each indicator, fitted by online Newton steps."""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from streams.contract.arrays import Arrays
from streams.core.features.schema import FeatureSchema
from streams.core.models.logistic import log_odds
from streams.core.models.newton import OnlineNewton

Float64Array = NDArray[np.float64]

KNOTS: Final = np.array([-1.0, -0.3, 0.5, 1.5])
"""Where a curve may bend, in standard deviations from the mean."""

_VARIANCE: Final = 0.01
_MEMORY: Final = 50_000.0


class AdditiveLearner:
    """A generalised additive model: each number enters as itself and as one hinge for each of :data:`KNOTS`.

    Args:
        prior: Probability it starts with.

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
        """Learns example by example.

        Args:
            scaled: ``(n, n_features)``.
            labels: 0 or 1, ``(n,)``.
            weights: ``(n,)``.
        """
        hinges = hinges_of(scaled[:, self._numbers])
        self._newton.learn_many(np.hstack([np.ones((len(scaled), 1)), scaled, hinges]), labels, weights)

    def predict_one(self, scaled: Float64Array) -> float:
        """Asks the mean itself; what is served goes by :func:`additive_logits`, from the exported arrays."""
        hinges = hinges_of(scaled[None, self._numbers])[0]
        score = float(np.dot(np.concatenate([[1.0], scaled, hinges]), self._newton.mean))
        return 1.0 / (1.0 + float(np.exp(-score)))

    def parameters(self) -> Arrays:
        """What scoring needs."""
        mean = self._newton.mean
        return {
            "intercept": mean[:1].copy(),
            "weights": mean[1 : 1 + self._n_features].copy(),
            "hinges": mean[1 + self._n_features :].reshape(len(KNOTS), -1).copy(),
            "knots": KNOTS,
            "numbers": self._numbers,
        }

    def arrays(self) -> Arrays:
        """Everything it learns from here on with."""
        return self._newton.arrays()

    def restore(self, arrays: Arrays) -> None:
        self._newton.restore(arrays)


def additive_logits(scaled: Float64Array, parameters: Arrays) -> Float64Array:
    """Scores rows of ``(n, n_features)``, C order; a row's score has the same bits in any batch."""
    logits: Float64Array = additive_contributions(scaled, parameters).sum(axis=1) + parameters["intercept"][0]
    return logits


def additive_contributions(scaled: Float64Array, parameters: Arrays) -> Float64Array:
    """What each feature adds to the log-odds of a row, ``(n, n_features)``: the height of its curve, 0 at the mean."""
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
    """Rises from the knot on; it is lifted so that 0, the mean, adds nothing."""
    hinge: Float64Array = np.maximum(numbers - knot, 0.0) - max(-knot, 0.0)
    return hinge
