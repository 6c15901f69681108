"""Predictions of the models one row at a time, from the weights in training instead of the exported arrays."""

from math import exp
from typing import Any

import numpy as np
from numpy.typing import NDArray

from streams.core.models.additive import AdditiveLearner, hinges_of
from streams.core.models.ftrl import crossed
from streams.core.models.ftrl_learner import FtrlLearner
from streams.core.models.hurdle import HurdleLearner
from streams.core.models.linear_learner import LinearLearner
from streams.core.models.logistic import probabilities
from streams.core.models.perceptron import PerceptronLearner
from streams.core.models.random_features import KernelLearner


def predict_one(learner: Any, scaled: NDArray[np.float64]) -> float:
    """Predicts a row, ``(n_features,)``; for the models of River, by River itself."""
    match learner:
        case LinearLearner():
            return _river(learner, scaled)
        case FtrlLearner():
            return _river(learner, crossed(scaled[None], learner._crosses)[0])
        case AdditiveLearner():
            hinges = hinges_of(scaled[None, learner._numbers])[0]
            return _logistic(np.concatenate([[1.0], scaled, hinges]), learner._newton.mean)
        case KernelLearner():
            row = scaled.astype(np.float32) @ learner._directions
            hidden = np.maximum(row.astype(np.float64) + learner._offsets, 0.0) - np.maximum(learner._offsets, 0.0)
            hinges = hinges_of(scaled[None, learner._numbers])[0]
            return _logistic(np.concatenate([[1.0], scaled, hinges, hidden]), learner._newton.mean)
        case PerceptronLearner():
            layers = learner._layers
            hidden_1 = np.maximum(scaled.astype(learner._dtype) @ layers["weights_1"] + layers["bias_1"], 0)
            hidden_2 = np.maximum(hidden_1 @ layers["weights_2"] + layers["bias_2"], 0)
            return float(probabilities((hidden_2 @ layers["weights_3"] + layers["bias_3"]).astype(np.float64))[0])
        case HurdleLearner():
            inputs = np.concatenate([[1.0], scaled])
            share = _logistic(inputs, learner._share.mean)
            return share * exp(float(np.dot(inputs, learner._amount.mean)) + learner._half_variance)
    raise AssertionError(f"no plain prediction of {learner}")


def _river(learner: Any, values: NDArray[np.float64]) -> float:
    return float(learner._model.predict_proba_one(dict(zip(learner._columns, values.tolist(), strict=True)))[True])


def _logistic(inputs: NDArray[np.float64], weights: NDArray[np.float64]) -> float:
    return 1.0 / (1.0 + exp(-float(np.dot(inputs, weights))))
