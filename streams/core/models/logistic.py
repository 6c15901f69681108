"""Log-odds and probabilities: the one link function of all members."""

import math

import numpy as np
from numpy.typing import NDArray

_BOUND = 30.0
"""River takes log-odds beyond it for certain; a probability of exactly 0 or 1 would make the log loss infinite."""


def log_odds(probability: float) -> float:
    """Returns the log-odds of a probability in (0, 1).

    >>> log_odds(0.5)
    0.0
    """
    return math.log(probability / (1.0 - probability))


def probabilities(logits: NDArray[np.float64]) -> NDArray[np.float64]:
    """Turns log-odds into probabilities, strictly between 0 and 1."""
    negated: NDArray[np.float64] = np.clip(-logits, -_BOUND, _BOUND)
    return 1.0 / (1.0 + np.exp(negated))
