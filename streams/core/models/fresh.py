"""The fresh challenger: after an alarm one member is begun anew, and takes over if what it says turns out better."""

from collections.abc import Callable
from typing import Final

import numpy as np
from numpy.typing import NDArray

from streams.contract.arrays import Arrays
from streams.core.models.members import MemberLearner

Float64Array = NDArray[np.float64]

PATIENCE: Final = 5000
"""Examples it may learn from without becoming the champion."""


class Fresh:
    """A member that has seen nothing from before the alarm.

    Args:
        name: Of :func:`~streams.core.models.members.fresh_name`.
        learner: One that has learned nothing.
        skipped: Rows of the batch at hand that came before the alarm, which it must not learn from.
    """

    def __init__(self, name: str, learner: MemberLearner, skipped: int = 0) -> None:
        self.name = name
        self.learner = learner
        self.examples = 0
        self._skipped = skipped

    def learn_many(
        self, scaled: Float64Array, labels: Float64Array, weights: Float64Array, taken: NDArray[np.bool_]
    ) -> None:
        """Learns from the rows that came after the alarm, as far as they are taken."""
        later = taken.copy()
        later[: self._skipped] = False
        self.learner.learn_many(scaled[later], labels[later], weights[later])
        self.examples += len(labels) - self._skipped
        self._skipped = 0

    @property
    def patience(self) -> int:
        """Rows for which it may still compete."""
        return max(PATIENCE - self.examples, 0)

    def arrays(self) -> Arrays:
        """Everything it goes on from."""
        return self.learner.arrays() | {
            "fresh_name": np.frombuffer(self.name.encode(), np.uint8),
            "fresh_examples": np.array([self.examples], np.int64),
        }


def restored_fresh(arrays: Arrays, new: Callable[[str], MemberLearner]) -> Fresh:
    """Goes on from :meth:`Fresh.arrays`."""
    name = arrays["fresh_name"].tobytes().decode()
    fresh = Fresh(name, new(name))
    fresh.learner.restore(arrays)
    fresh.examples = int(arrays["fresh_examples"][0])
    return fresh
