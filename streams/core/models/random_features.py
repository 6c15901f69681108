"""Kernel model for interactions: the additive model and random rectifiers, fitted together by online Newton steps."""

from typing import Final

import numpy as np

from streams.contract.arrays import Arrays, Float32Array, Float64Array
from streams.core.features.schema import FeatureSchema
from streams.core.models.additive import KNOTS, additive_contributions, additive_logits, hinges_of
from streams.core.models.logistic import log_odds
from streams.core.models.newton import OnlineNewton

UNITS: Final = 150

_VARIANCE: Final = 0.05
_MEMORY: Final = 50_000.0


class KernelLearner:
    """An approximate kernel machine: the rectifiers are drawn once, only their output weights are learned.

    Args:
        prior: Initial probability.
        seed: Seed of the rectifiers.

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
        hidden = _rectified(_inputs(scaled, self._directions, self._offsets), self._offsets)
        inputs = [np.ones((len(scaled), 1)), scaled, hinges_of(scaled[:, self._numbers]), hidden]
        self._newton.learn_many(np.hstack(inputs), labels, weights)

    def parameters(self) -> Arrays:
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
    """Returns what each feature adds to a row's log-odds, ``(n, n_features)``.

    A rectifier's slope is taken between its inputs for the row and for the zero row: see
    :func:`~streams.core.models.perceptron.perceptron_contributions`.
    """
    offsets = parameters["offsets"]
    inputs = _inputs(scaled, parameters["directions"], offsets)
    step = inputs - offsets
    differs = step != 0.0
    slopes = np.where(differs, _rectified(inputs, offsets) / np.where(differs, step, 1.0), inputs > 0.0)
    back = (slopes * parameters["units"])[:, None, :] @ parameters["directions"].T
    moved: Float64Array = additive_contributions(scaled, parameters) + scaled * back[:, 0]
    return moved


def _inputs(scaled: Float64Array, directions: Float32Array, offsets: Float64Array) -> Float64Array:
    """Projects one row at a time, so that a row has the same bits in any batch."""
    rows = scaled.astype(directions.dtype)[:, None, :]
    return (rows @ directions)[:, 0].astype(np.float64) + offsets


def _rectified(inputs: Float64Array, offsets: Float64Array) -> Float64Array:
    """Rectifies, and shifts each unit so that the zero row gives 0."""
    return np.maximum(inputs, 0.0) - np.maximum(offsets, 0.0)
