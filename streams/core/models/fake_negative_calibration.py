"""Learning before labels are final: each example counts as a negative at once, a positive label corrects it later."""

import numpy as np

from streams.contract.arrays import Arrays, Float64Array
from streams.core.models.logistic import probabilities
from streams.core.models.registry import MODEL_TYPES, OnlineModel, type_of


class FakeNegativeCalibration:
    """A model that learns by fake-negative calibration.

    Every example arrives once as a negative, and a positive one again when its label comes. Of all arrivals a share
    b = p / (1 + p) is positive, where p is the probability of a positive label. The slope of b's log loss by p's
    log-odds is (1 - p)(b - y): the slope of the plain log loss, p - y, times (1 - p) / (1 + p) for a negative and
    1 / (1 + p) for a positive. So any model that learns with these weights predicts p itself.

    Args:
        name: Name of the model.
        learner: The model, new or restored.

    References:
        Ktena et al. (2019), "Addressing delayed feedback for continuous training with neural networks in CTR
        prediction", RecSys, section 3.3.
    """

    def __init__(self, name: str, learner: OnlineModel) -> None:
        self._logits = MODEL_TYPES[type_of(name)].logits
        self._learner = learner

    def learn_many(self, scaled: Float64Array, labels: Float64Array, weights: Float64Array) -> None:
        """Learns row by row: each weight depends on the model after the row before."""
        for row in range(len(labels)):
            one = slice(row, row + 1)
            given = probabilities(self._logits(scaled[one], self._learner.parameters()))
            factor = np.where(labels[one] > 0.5, 1.0, 1.0 - given) / (1.0 + given)
            self._learner.learn_many(scaled[one], labels[one], weights[one] * factor)

    def parameters(self) -> Arrays:
        return self._learner.parameters()

    def arrays(self) -> Arrays:
        return self._learner.arrays()

    def restore(self, arrays: Arrays) -> None:
        self._learner.restore(arrays)
