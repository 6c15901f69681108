"""Learning before labels are final: a negative at once, corrected by a positive when the label comes."""

import numpy as np
from numpy.typing import NDArray

from streams.contract.arrays import Arrays
from streams.core.models.logistic import probabilities
from streams.core.models.members import KINDS, MemberLearner, kind_of

Float64Array = NDArray[np.float64]


class CorrectedLearner:
    """A member by fake-negative calibration.

    Every example arrives once as a negative, and a positive one once more when its label comes. So of all that arrives
    a share b = p / (1 + p) is positive, where p is the probability of a label, and the slope of b's log loss by p's
    log-odds is (1 - p)(b - y). That is the slope of the plain log loss, p - y, times (1 - p) / (1 + p) for a negative
    and 1 / (1 + p) for a positive: any member learns it by these weights, and serves p itself.

    Args:
        name: Of the member.
        learner: It, having learned nothing or restored.

    References:
        Ktena et al. (2019), "Addressing delayed feedback for continuous training with neural networks in CTR
        prediction", RecSys, section 3.3.
    """

    def __init__(self, name: str, learner: MemberLearner) -> None:
        self._logits = KINDS[kind_of(name)].logits
        self._learner = learner

    def learn_many(self, scaled: Float64Array, labels: Float64Array, weights: Float64Array) -> None:
        """Learns row by row, since each weight depends on what was learned before."""
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
