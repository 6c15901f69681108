"""Conversion between log-odds and probabilities, shared by all models."""

import math

import numpy as np

from streams.contract.arrays import Float64Array

_BOUND = 30.0
"""River's own limit for log-odds; a probability of exactly 0 or 1 would make the log loss infinite."""


def log_odds(probability: float) -> float:
    """Returns the log-odds of a probability in (0, 1).

    >>> log_odds(0.5)
    0.0
    """
    return math.log(probability / (1.0 - probability))


def probabilities(logits: Float64Array) -> Float64Array:
    """Turns log-odds into probabilities, strictly between 0 and 1."""
    negated: Float64Array = np.clip(-logits, -_BOUND, _BOUND)
    return 1.0 / (1.0 + np.exp(negated))
