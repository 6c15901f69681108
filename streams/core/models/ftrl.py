"""River's logistic regression with FTRL-Proximal, on the features and on products of the strongest of them."""

from collections import defaultdict
from collections.abc import Mapping
from itertools import combinations_with_replacement
from math import sqrt
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from river import linear_model, optim
from river.optim.base import DictLike
from river.utils import VectorDict

from streams.contract.arrays import Arrays
from streams.core.models.logistic import log_odds

Float64Array = NDArray[np.float64]

CHOSEN_AFTER: Final = 512
"""Examples after which the strongest features are known well enough to be crossed."""

STRONGEST: Final = 4

_ALPHA: Final = 0.1
_BETA: Final = 1.0
_L1: Final = 0.1
_L2: Final = 0.1


class SteadyFtrl(optim.FTRLProximal):
    """River's FTRL-Proximal, to the last bits; it takes each root once, and looks each number up once.

    Attributes:
        roots: Square root of each of ``n``.
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
    """Wraps the model so that it goes in and out of arrays; features, then crosses, are named by their column.

    After :data:`CHOSEN_AFTER` examples the features whose weights have moved the scores most are crossed with each
    other and with themselves, once and for good.

    Args:
        prior: Probability it starts with.

    References:
        McMahan et al. (2013), "Ad click prediction: a view from the trenches", KDD, algorithm 1.
    """

    def __init__(self, n_features: int, prior: float) -> None:
        self._n_features = n_features
        self._optimizer = SteadyFtrl(_ALPHA, _BETA, _L1, _L2)
        self._model = linear_model.LogisticRegression(self._optimizer, intercept_init=log_odds(prior))
        self._cross(np.zeros((0, 2), np.int64))

    def learn_many(self, scaled: Float64Array, labels: Float64Array, weights: Float64Array) -> None:
        """Learns example by example.

        Args:
            scaled: ``(n, n_features)``.
            labels: 0 or 1, ``(n,)``.
            weights: ``(n,)``.
        """
        before = max(CHOSEN_AFTER - self._optimizer.n_iterations, 0) if not len(self._crosses) else 0
        self._learn(scaled[:before], labels[:before], weights[:before])
        if not len(self._crosses) and self._optimizer.n_iterations >= CHOSEN_AFTER:
            self._cross(self._strongest_pairs())
        self._learn(scaled[before:], labels[before:], weights[before:])

    def predict_one(self, scaled: Float64Array) -> float:
        """Asks River itself; what is served goes by :func:`ftrl_logits`, from the exported arrays."""
        values = crossed(scaled[None], self._crosses)[0].tolist()
        vector = dict(zip(self._columns, values, strict=True))
        return float(self._model.predict_proba_one(vector)[True])  # type: ignore[no-untyped-call] # River types a part

    def parameters(self) -> Arrays:
        """What scoring needs."""
        return {
            "weights": self._in_order(self._model.weights),
            "intercept": np.array([self._model.intercept]),
            "crosses": self._crosses,
        }

    def arrays(self) -> Arrays:
        """Everything it learns from here on with."""
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

    def _cross(self, crosses: NDArray[np.int64]) -> None:
        weights = self._model.weights
        self._crosses = crosses
        self._columns = tuple(range(self._n_features + len(crosses)))
        self._model._weights = VectorDict({column: weights.get(column, 0.0) for column in self._columns})

    def _strongest_pairs(self) -> NDArray[np.int64]:
        """Ranks by weight and by how much gradient a feature has seen: a rare indicator may have a large weight."""
        strength = np.abs(self._in_order(self._model.weights)) * np.sqrt(self._in_order(self._optimizer.n))
        strongest = np.sort(np.argsort(-strength, kind="stable")[:STRONGEST])
        return np.array(list(combinations_with_replacement(strongest.tolist(), 2)), np.int64)

    def _in_order(self, values: Mapping[Any, float]) -> Float64Array:
        return np.array([values.get(column, 0.0) for column in self._columns])


def crossed(scaled: Float64Array, crosses: NDArray[np.int64]) -> Float64Array:
    """Appends the products, ``(n, n_features + n_crosses)``."""
    return np.hstack([scaled, scaled[:, crosses[:, 0]] * scaled[:, crosses[:, 1]]])


def ftrl_logits(scaled: Float64Array, parameters: Arrays) -> Float64Array:
    """Scores rows of ``(n, n_features)``, C order; a row's score has the same bits in any batch."""
    products = crossed(scaled, parameters["crosses"]) * parameters["weights"]
    logits: Float64Array = products.sum(axis=1) + parameters["intercept"][0]
    return logits


def ftrl_contributions(scaled: Float64Array, parameters: Arrays) -> Float64Array:
    """What each feature adds to the log-odds of a row, ``(n, n_features)``; both of a cross get half of it."""
    crosses, n_features = parameters["crosses"], scaled.shape[1]
    products = crossed(scaled, crosses) * parameters["weights"]
    moved: Float64Array = products[:, :n_features].copy()
    for place, pair in enumerate(crosses.tolist(), start=n_features):
        for feature in pair:
            moved[:, feature] += products[:, place] / 2.0
    return moved
