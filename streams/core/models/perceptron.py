"""Perceptron with two hidden layers, trained by Adam on mini-batches of consecutive examples."""

from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import DTypeLike, NDArray

from streams.contract.arrays import Arrays, Float64Array
from streams.core.models.logistic import log_odds, probabilities
from streams.core.sums import int_sum

HIDDEN: Final = (128, 64)
MINI_BATCH: Final = 32

_LEARNING_RATE: Final = 0.003
_WEIGHT_DECAY: Final = 0.01
"""Share by which a step shrinks the three matrices, times the learning rate."""

_DROPOUT: Final = 0.1
"""Share of a hidden layer's units that are left out of a mini-batch."""

_DECAY_1: Final = 0.9
_DECAY_2: Final = 0.999
_EPSILON: Final = 1e-8

FloatArray = NDArray[Any]


class Masks(NamedTuple):
    """Dropout masks of the hidden layers, ``(n, n_units)``: 0 for a unit left out, else 1 / (1 - dropout)."""

    first: FloatArray
    second: FloatArray


class PerceptronLearner:
    """ReLU, ReLU, sigmoid; cross-entropy, dropout, decoupled weight decay.

    Examples are buffered until there are :data:`MINI_BATCH` of them. The buffer is part of the state, so that the
    weights depend on the examples and their order, never on how they are cut into batches.

    Args:
        n_features: Columns of a vector.
        prior: Probability that the untrained network predicts for every row: its last weights start at zero.
        seed: Seed of the hidden layers' first weights and, with the number of the step, of the dropout masks.
        dtype: float32 in use; float64 lets a test compare gradients with differences.

    References:
        He et al. (2015), "Delving deep into rectifiers", section 2.2 (initialisation); Kingma and Ba (2015), "Adam",
        algorithm 1 with the order of section 2's last paragraph; Srivastava et al. (2014), "Dropout", JMLR 15;
        Loshchilov and Hutter (2019), "Decoupled weight decay regularization", ICLR, algorithm 2.
    """

    def __init__(self, n_features: int, prior: float, seed: int, dtype: DTypeLike = np.float32) -> None:
        self._dtype = np.dtype(dtype)
        first, second = HIDDEN
        self._shapes: dict[str, tuple[int, ...]] = {
            "weights_1": (n_features, first),
            "bias_1": (first,),
            "weights_2": (first, second),
            "bias_2": (second,),
            "weights_3": (second, 1),
            "bias_3": (1,),
        }
        n_parameters = int_sum(int(np.prod(shape)) for shape in self._shapes.values())
        self._flat = np.zeros(n_parameters, self._dtype)
        self._moment_1 = np.zeros(n_parameters, self._dtype)
        self._moment_2 = np.zeros(n_parameters, self._dtype)
        self._gradient = np.zeros(n_parameters, self._dtype)
        self._steps = 0
        self._seed = seed
        self._layers = self._views(self._flat)
        self._slopes = self._views(self._gradient)
        random = np.random.default_rng(seed)
        for name in ("weights_1", "weights_2"):
            shape = self._shapes[name]
            self._layers[name][:] = random.standard_normal(shape) * np.sqrt(2.0 / shape[0])
        self._layers["bias_3"][:] = log_odds(prior)
        self._waiting = np.zeros((0, n_features + 2), self._dtype)
        decayed = self._views(decay := np.ones(n_parameters, self._dtype))
        for name in ("weights_1", "weights_2", "weights_3"):
            decayed[name][:] = 1.0 - _LEARNING_RATE * _WEIGHT_DECAY
        self._decay = decay

    def learn_many(self, scaled: Float64Array, labels: Float64Array, weights: Float64Array) -> None:
        """Learns from every complete mini-batch and buffers the rest."""
        arrived = np.column_stack([scaled, labels, weights]).astype(self._dtype)
        examples = np.concatenate([self._waiting, arrived])
        complete = len(examples) - len(examples) % MINI_BATCH
        for start in range(0, complete, MINI_BATCH):
            batch = examples[start : start + MINI_BATCH]
            self.gradient(np.ascontiguousarray(batch[:, :-2]), batch[:, -2], batch[:, -1], self.masks())
            self._step()
        self._waiting = examples[complete:]

    def masks(self) -> Masks:
        """Draws the next step's dropout masks; repeated calls return the same."""
        random = np.random.default_rng((self._seed, self._steps))
        drawn = random.random((MINI_BATCH, int_sum(HIDDEN)), np.float32) >= _DROPOUT
        kept = drawn.astype(self._dtype) / np.asarray(1.0 - _DROPOUT, self._dtype)
        return Masks(kept[:, : HIDDEN[0]], kept[:, HIDDEN[0] :])

    def gradient(self, scaled: FloatArray, labels: FloatArray, weights: FloatArray, masks: Masks) -> Arrays:
        """Computes the gradient of a batch's weighted mean cross-entropy, as views valid until the next call."""
        layers, slopes = self._layers, self._slopes
        hidden_1 = np.maximum(scaled @ layers["weights_1"] + layers["bias_1"], 0) * masks.first
        hidden_2 = np.maximum(hidden_1 @ layers["weights_2"] + layers["bias_2"], 0) * masks.second
        logits = (hidden_2 @ layers["weights_3"] + layers["bias_3"])[:, 0].astype(np.float64)
        errors = ((probabilities(logits) - labels) * weights / len(labels)).astype(self._dtype)[:, None]
        np.matmul(hidden_2.T, errors, out=slopes["weights_3"])
        np.sum(errors, axis=0, out=slopes["bias_3"])
        errors_2 = (errors * layers["weights_3"][:, 0]) * (hidden_2 > 0) * masks.second
        np.matmul(hidden_1.T, errors_2, out=slopes["weights_2"])
        np.sum(errors_2, axis=0, out=slopes["bias_2"])
        errors_1 = (errors_2 @ layers["weights_2"].T) * (hidden_1 > 0) * masks.first
        np.matmul(scaled.T, errors_1, out=slopes["weights_1"])
        np.sum(errors_1, axis=0, out=slopes["bias_1"])
        return slopes

    def _step(self) -> None:
        self._steps += 1
        gradient = self._gradient
        self._moment_1 *= _DECAY_1
        self._moment_1 += gradient * (1.0 - _DECAY_1)
        self._moment_2 *= _DECAY_2
        gradient *= gradient
        gradient *= 1.0 - _DECAY_2
        self._moment_2 += gradient
        rate = _LEARNING_RATE * (1.0 - _DECAY_2**self._steps) ** 0.5 / (1.0 - _DECAY_1**self._steps)
        change = np.sqrt(self._moment_2)
        change += _EPSILON
        np.divide(self._moment_1, change, out=change)
        change *= rate
        self._flat *= self._decay
        self._flat -= change

    def parameters(self) -> Arrays:
        return {name: layer.copy() for name, layer in self._layers.items()}

    def arrays(self) -> Arrays:
        return {
            "flat": self._flat,
            "moment_1": self._moment_1,
            "moment_2": self._moment_2,
            "steps": np.array([self._steps], np.int64),
            "seed": np.array([self._seed], np.int64),
            "waiting": self._waiting,
        }

    def restore(self, arrays: Arrays) -> None:
        self._flat[:] = arrays["flat"]
        self._moment_1[:] = arrays["moment_1"]
        self._moment_2[:] = arrays["moment_2"]
        self._steps = int(arrays["steps"][0])
        self._seed = int(arrays["seed"][0])
        self._waiting = arrays["waiting"]

    def _views(self, flat: FloatArray) -> Arrays:
        views: Arrays = {}
        start = 0
        for name, shape in self._shapes.items():
            size = int(np.prod(shape))
            views[name] = flat[start : start + size].reshape(shape)
            start += size
        return views


def perceptron_logits(scaled: Float64Array, parameters: Arrays) -> Float64Array:
    """Scores rows of ``(n, n_features)``; a row's score has the same bits in any batch.

    The stacked product takes one row at a time, always in the same shape: for a product of whole matrices BLAS chooses
    its kernel, and with it the order of the sums, by the number of rows.
    """
    rows = scaled.astype(parameters["weights_1"].dtype)[:, None, :]
    hidden_1 = np.maximum(rows @ parameters["weights_1"] + parameters["bias_1"], 0)
    hidden_2 = np.maximum(hidden_1 @ parameters["weights_2"] + parameters["bias_2"], 0)
    logits = hidden_2 @ parameters["weights_3"] + parameters["bias_3"]
    flat: Float64Array = logits[:, 0, 0].astype(np.float64)
    return flat


def perceptron_contributions(scaled: Float64Array, parameters: Arrays) -> Float64Array:
    """Returns what each feature adds to a row's log-odds, ``(n, n_features)``, relative to the zero row.

    A rectifier's slope is taken between its input for the row and its input for the zero row. So the contributions sum
    exactly to the difference in log-odds; a gradient at the row would miss what a rectifier has cut off.

    References:
        Shrikumar, Greenside and Kundaje (2017), "Learning important features through propagating activation
        differences", ICML, section 3.5.1 (the rescale rule).
    """
    rows = scaled.astype(parameters["weights_1"].dtype)[:, None, :]
    base_1 = parameters["bias_1"]
    base_2 = np.maximum(base_1, 0) @ parameters["weights_2"] + parameters["bias_2"]
    inputs_1 = rows @ parameters["weights_1"] + base_1
    inputs_2 = np.maximum(inputs_1, 0) @ parameters["weights_2"] + parameters["bias_2"]
    slopes = _slopes(inputs_2, base_2) * parameters["weights_3"][:, 0]
    slopes = (slopes @ parameters["weights_2"].T) * _slopes(inputs_1, base_1)
    moved: Float64Array = ((slopes @ parameters["weights_1"].T) * rows)[:, 0].astype(np.float64)
    return moved


def _slopes(inputs: FloatArray, base: FloatArray) -> FloatArray:
    """Returns a rectifier's slopes between two inputs; where the inputs are equal, the derivative."""
    step = inputs - base
    differs = step != 0
    rise = np.maximum(inputs, 0) - np.maximum(base, 0)
    return np.where(differs, rise / np.where(differs, step, 1), inputs > 0).astype(inputs.dtype)
