"""Learner of the linear model: River's logistic regression with AdaGrad, one example at a time."""

from collections import defaultdict
from collections.abc import Mapping
from typing import Any, Final

import numpy as np
from river import linear_model, optim
from river.optim.base import DictLike
from river.utils import VectorDict

from streams.contract.arrays import Arrays, Float64Array
from streams.core.models.logistic import log_odds

LEARNING_RATE: Final = 0.03
FIRST_SQUARES: Final = 32.0
"""Initial sum of squared slopes: it shortens AdaGrad's first steps, when the model has seen few examples."""


class SteadyAdaGrad(optim.AdaGrad):
    """River's AdaGrad with the same bits, faster: it reads the learning rate once an example, not once a feature."""

    def _step_with_dict(self, w: DictLike, g: DictLike) -> DictLike:
        learning_rate, eps, g2 = self.learning_rate, self.eps, self.g2
        for column, slope in g.items():
            if not slope:
                continue
            g2[column] = squares = g2[column] + slope**2
            w[column] -= learning_rate / (squares + eps) ** 0.5 * slope
        return w


class LinearLearner:
    """River's model with a state that can be exported to arrays; features are named by column number.

    Every vector has every column, zeros included, in the same order: River's sums run in the order of its dictionaries,
    and a restored model must have the same order.

    Args:
        n_features: Columns of a vector.
        prior: Initial probability.

    References:
        Duchi, Hazan and Singer (2011), "Adaptive subgradient methods for online learning", JMLR 12, section 1.3.
    """

    def __init__(self, n_features: int, prior: float) -> None:
        self._columns = tuple(range(n_features))
        self._optimizer = SteadyAdaGrad(LEARNING_RATE)
        self._optimizer.g2 = defaultdict(float, dict.fromkeys(self._columns, FIRST_SQUARES))
        self._model = linear_model.LogisticRegression(self._optimizer, intercept_init=log_odds(prior))
        self._model._weights = VectorDict(dict.fromkeys(self._columns, 0.0))

    def learn_many(self, scaled: Float64Array, labels: Float64Array, weights: Float64Array) -> None:
        """Learns example by example; River's own ``learn_many`` gives worse models."""
        learn_one = self._model.learn_one
        for values, label, weight in zip(scaled.tolist(), labels.tolist(), weights.tolist(), strict=True):
            learn_one(dict(zip(self._columns, values, strict=True)), label, weight)

    def parameters(self) -> Arrays:
        return {"weights": self._in_order(self._model.weights), "intercept": np.array([self._model.intercept])}

    def arrays(self) -> Arrays:
        return self.parameters() | {
            "g2": self._in_order(self._optimizer.g2),
            "n_iterations": np.array([self._optimizer.n_iterations], np.int64),
        }

    def restore(self, arrays: Arrays) -> None:
        self._model._weights = VectorDict(dict(zip(self._columns, arrays["weights"].tolist(), strict=True)))
        self._model.intercept = float(arrays["intercept"][0])
        self._optimizer.g2 = defaultdict(float, zip(self._columns, arrays["g2"].tolist(), strict=True))
        self._optimizer.n_iterations = int(arrays["n_iterations"][0])

    def _in_order(self, values: Mapping[Any, float]) -> Float64Array:
        return np.array([values.get(column, 0.0) for column in self._columns])
