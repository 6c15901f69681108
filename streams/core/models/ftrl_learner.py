"""Learner of the crosses: River's logistic regression with FTRL-Proximal, which crosses the strongest features."""

from collections import defaultdict
from collections.abc import Mapping
from itertools import combinations_with_replacement
from math import sqrt
from typing import Any, Final

import numpy as np
from river import linear_model, optim
from river.optim.base import DictLike
from river.utils import VectorDict

from streams.contract.arrays import Arrays, Float64Array, Int64Array
from streams.core.models.ftrl import crossed
from streams.core.models.logistic import log_odds

CHOSEN_AFTER: Final = 512
"""Examples before the strongest features are selected and crossed."""

STRONGEST: Final = 4

_ALPHA: Final = 0.1
_BETA: Final = 1.0
_L1: Final = 0.1
_L2: Final = 0.1


class SteadyFtrl(optim.FTRLProximal):
    """A faster FTRL-Proximal than River's, with the same results but for the last bits: fewer roots and look-ups.

    Attributes:
        roots: Square roots of the values of ``n``.
    """

    def __init__(self, alpha: float, beta: float, l1: float, l2: float) -> None:
        super().__init__(alpha, beta, l1, l2)
        self.roots: dict[Any, float] = defaultdict(float)

    def _step_with_dict(self, w: DictLike, g: DictLike) -> DictLike:
        l1, l2, z, n, roots = self.l1, self.l2, self.z, self.n, self.roots
        pace, start = 1.0 / self.alpha, self.beta / self.alpha + l2
        for column, slope in g.items():
            offset, root = z[column], roots[column]
            if offset > l1:
                w[column] = weight = (l1 - offset) / (root * pace + start)
            elif offset < -l1:
                w[column] = weight = (-l1 - offset) / (root * pace + start)
            else:
                weight = w[column]
            n[column] = squares = n[column] + slope * slope
            roots[column] = grown = sqrt(squares)
            z[column] = offset + (slope - (grown - root) * pace * weight)
        return w


class FtrlLearner:
    """River's model with a state that can be exported to arrays; features, then crosses, are named by column number.

    After :data:`CHOSEN_AFTER` examples the features that have influenced the scores most are crossed with each other
    and with themselves. The crosses do not change afterwards.

    Args:
        prior: Initial probability.

    References:
        McMahan et al. (2013), "Ad click prediction: a view from the trenches", KDD, algorithm 1.
    """

    def __init__(self, n_features: int, prior: float) -> None:
        self._n_features = n_features
        self._optimizer = SteadyFtrl(_ALPHA, _BETA, _L1, _L2)
        self._model = linear_model.LogisticRegression(self._optimizer, intercept_init=log_odds(prior))
        self._cross(np.zeros((0, 2), np.int64))

    def learn_many(self, scaled: Float64Array, labels: Float64Array, weights: Float64Array) -> None:
        before = max(CHOSEN_AFTER - self._optimizer.n_iterations, 0) if not len(self._crosses) else 0
        self._learn(scaled[:before], labels[:before], weights[:before])
        if not len(self._crosses) and self._optimizer.n_iterations >= CHOSEN_AFTER:
            self._cross(self._strongest_pairs())
        self._learn(scaled[before:], labels[before:], weights[before:])

    def parameters(self) -> Arrays:
        return {
            "weights": self._in_order(self._model.weights),
            "intercept": np.array([self._model.intercept]),
            "crosses": self._crosses,
        }

    def arrays(self) -> Arrays:
        return self.parameters() | {
            "z": self._in_order(self._optimizer.z),
            "n": self._in_order(self._optimizer.n),
            "n_iterations": np.array([self._optimizer.n_iterations], np.int64),
        }

    def restore(self, arrays: Arrays) -> None:
        self._cross(arrays["crosses"])
        self._model._weights = VectorDict(dict(zip(self._columns, arrays["weights"].tolist(), strict=True)))
        self._model.intercept = float(arrays["intercept"][0])
        self._optimizer.z = defaultdict(float, zip(self._columns, arrays["z"].tolist(), strict=True))
        self._optimizer.n = defaultdict(float, zip(self._columns, arrays["n"].tolist(), strict=True))
        self._optimizer.roots = defaultdict(float, {column: sqrt(of) for column, of in self._optimizer.n.items()})
        self._optimizer.n_iterations = int(arrays["n_iterations"][0])

    def _learn(self, scaled: Float64Array, labels: Float64Array, weights: Float64Array) -> None:
        learn_one, columns = self._model.learn_one, self._columns
        inputs = crossed(scaled, self._crosses)
        for values, label, weight in zip(inputs.tolist(), labels.tolist(), weights.tolist(), strict=True):
            learn_one(dict(zip(columns, values, strict=True)), label, weight)

    def _cross(self, crosses: Int64Array) -> None:
        weights = self._model.weights
        self._crosses = crosses
        self._columns = tuple(range(self._n_features + len(crosses)))
        self._model._weights = VectorDict({column: weights.get(column, 0.0) for column in self._columns})

    def _strongest_pairs(self) -> Int64Array:
        """Pairs the strongest features, by weight and gradient seen: a rare indicator may have a large weight."""
        strength = np.abs(self._in_order(self._model.weights)) * np.sqrt(self._in_order(self._optimizer.n))
        strongest = np.sort(np.argsort(-strength, kind="stable")[:STRONGEST])
        return np.array(list(combinations_with_replacement(strongest.tolist(), 2)), np.int64)

    def _in_order(self, values: Mapping[Any, float]) -> Float64Array:
        return np.array([values.get(column, 0.0) for column in self._columns])
