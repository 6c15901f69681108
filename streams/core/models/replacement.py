"""Replacement: a new model started at a drift alarm, which takes the place of a model if its predictions are better."""

from collections.abc import Callable
from typing import Final

import numpy as np

from streams.contract.arrays import Arrays, BoolArray, Float64Array
from streams.core.models.registry import OnlineModel

PATIENCE: Final = 5000
"""Examples after which a replacement that has not won is dropped."""


class Replacement:
    """A model that has learned only from examples after the alarm.

    Args:
        name: As :func:`~streams.core.models.registry.replacement_name` makes it.
        learner: A new model.
        skipped: Rows of the current batch that came before the alarm; it must not learn from them.
    """

    def __init__(self, name: str, learner: OnlineModel, skipped: int = 0) -> None:
        self.name = name
        self.learner = learner
        self.examples = 0
        self._skipped = skipped

    def learn_many(self, scaled: Float64Array, labels: Float64Array, weights: Float64Array, taken: BoolArray) -> None:
        """Learns from those of the ``taken`` rows that came after the alarm."""
        later = taken.copy()
        later[: self._skipped] = False
        self.learner.learn_many(scaled[later], labels[later], weights[later])
        self.examples += len(labels) - self._skipped
        self._skipped = 0

    @property
    def patience(self) -> int:
        """Examples left before it is dropped."""
        return max(PATIENCE - self.examples, 0)

    def arrays(self) -> Arrays:
        """Exports the whole state for :func:`restored_replacement`."""
        return self.learner.arrays() | {
            "replacement_name": np.frombuffer(self.name.encode(), np.uint8),
            "fresh_examples": np.array([self.examples], np.int64),
        }


def restored_replacement(arrays: Arrays, new: Callable[[str], OnlineModel]) -> Replacement:
    """Restores a replacement from :meth:`Replacement.arrays`."""
    name = arrays["replacement_name"].tobytes().decode()
    replacement = Replacement(name, new(name))
    replacement.learner.restore(arrays)
    replacement.examples = int(arrays["fresh_examples"][0])
    return replacement
