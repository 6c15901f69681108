"""A member for interactions: the additive model and random rectifiers, fitted together by online Newton steps."""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from streams.contract.arrays import Arrays
from streams.core.features.schema import FeatureSchema
from streams.core.models.additive import KNOTS, additive_contributions, additive_logits, hinges_of
from streams.core.models.logistic import log_odds
from streams.core.models.newton import OnlineNewton

Float64Array = NDArray[np.float64]

UNITS: Final = 150

_VARIANCE: Final = 0.05
_MEMORY: Final = 50_000.0


class KernelLearner:
    """Approximates a kernel machine: the rectifiers are drawn once, only what they count for is learned.

    Args:
        prior: Probability it starts with.
        seed: Of the rectifiers.

    References:
        Rahimi and Recht (2007), "Random features for large-scale kernel machines", NeurIPS; Cho and Saul (2009),
        "Kernel methods for deep learning", NeurIPS, section 2, for the kernel of random rectifiers.
    """

    def __init__(self, schema: FeatureSchema, prior: float, seed: int) -> None:
        random = np.random.default_rng(seed)
        self._numbers = np.flatnonzero(schema.scaled)
        n_features, n_hinges = len(schema.names), len(KNOTS) * len(self._numbers)
        self._ends = (1 + n_features, 1 + n_features + n_hinges)
        scattered = random.standard_normal((n_features, UNITS)) / np.sqrt(max(len(self._numbers), 1))
        self._directions = scattered.astype(np.float32)
        self._offsets = random.uniform(-1.0, 1.0, UNITS)
        n_inputs = self._ends[1] + UNITS
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
        hidden = _rectified(_inputs(scaled, self._directions, self._offsets), self._offsets)
        inputs = [np.ones((len(scaled), 1)), scaled, hinges_of(scaled[:, self._numbers]), hidden]
        self._newton.learn_many(np.hstack(inputs), labels, weights)

    def predict_one(self, scaled: Float64Array) -> float:
        """Asks the mean itself; what is served goes by :func:`kernel_logits`, from the exported arrays."""
        row = scaled.astype(np.float32) @ self._directions
        hidden = np.maximum(row.astype(np.float64) + self._offsets, 0.0) - np.maximum(self._offsets, 0.0)
        hinges = hinges_of(scaled[None, self._numbers])[0]
        score = float(np.dot(np.concatenate([[1.0], scaled, hinges, hidden]), self._newton.mean))
        return 1.0 / (1.0 + float(np.exp(-score)))

    def parameters(self) -> Arrays:
        """What scoring needs."""
        mean, (bends, units) = self._newton.mean, self._ends
        return {
            "intercept": mean[:1].copy(),
            "weights": mean[1:bends].copy(),
            "hinges": mean[bends:units].reshape(len(KNOTS), -1).copy(),
            "knots": KNOTS,
            "numbers": self._numbers,
            "units": mean[units:].copy(),
            "directions": self._directions,
            "offsets": self._offsets,
        }

    def arrays(self) -> Arrays:
        """Everything it learns from here on with."""
        return self._newton.arrays() | {"directions": self._directions, "offsets": self._offsets}

    def restore(self, arrays: Arrays) -> None:
        self._newton.restore(arrays)
        self._directions = arrays["directions"]
        self._offsets = arrays["offsets"]


def kernel_logits(scaled: Float64Array, parameters: Arrays) -> Float64Array:
    """Scores rows of ``(n, n_features)``, C order; a row's score has the same bits in any batch."""
    offsets = parameters["offsets"]
    hidden = _rectified(_inputs(scaled, parameters["directions"], offsets), offsets)
    bent = hidden * parameters["units"]
    logits: Float64Array = additive_logits(scaled, parameters) + bent.sum(axis=1)
    return logits


def kernel_contributions(scaled: Float64Array, parameters: Arrays) -> Float64Array:
    """What each feature adds to the log-odds of a row, ``(n, n_features)``.

    A rectifier passes on its rise above the zero row in the proportion in which its inputs moved it: see
    :func:`~streams.core.models.perceptron.perceptron_contributions`.
    """
    offsets = parameters["offsets"]
    inputs = _inputs(scaled, parameters["directions"], offsets)
    step = inputs - offsets
    apart = step != 0.0
    slopes = np.where(apart, _rectified(inputs, offsets) / np.where(apart, step, 1.0), inputs > 0.0)
    back = (slopes * parameters["units"])[:, None, :] @ parameters["directions"].T
    moved: Float64Array = additive_contributions(scaled, parameters) + scaled * back[:, 0]
    return moved


def _inputs(scaled: Float64Array, directions: NDArray[np.float32], offsets: Float64Array) -> Float64Array:
    """One row at a time, so that a row has the same bits in any batch."""
    rows = scaled.astype(directions.dtype)[:, None, :]
    inputs: Float64Array = (rows @ directions)[:, 0].astype(np.float64) + offsets
    return inputs


def _rectified(inputs: Float64Array, offsets: Float64Array) -> Float64Array:
    """Rectifies; a unit is lowered so that the zero row gives 0."""
    rectified: Float64Array = np.maximum(inputs, 0.0) - np.maximum(offsets, 0.0)
    return rectified
