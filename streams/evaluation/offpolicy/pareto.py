"""Heaviness of the tail of importance weights.

References:
    Vehtari, Simpson, Gelman, Yao and Gabry (2024), "Pareto smoothed importance sampling", JMLR 25: above 0.7 an
    importance sampling estimate does not converge in any practical number of decisions.
    Zhang and Stephens (2009), "A new and efficient estimation method for the generalized Pareto distribution",
    Technometrics 51.
"""

from math import sqrt
from typing import Final

import numpy as np

from streams.evaluation.offpolicy.sums import Float64Array

LARGEST_SHAPE: Final = 0.7
_FEWEST: Final = 5
_ROUNDING: Final = 1e-9
_PRIOR_SIZE: Final = 10.0
_PRIOR_SHAPE: Final = 0.5


def pareto_shape(weights: Float64Array) -> float | None:
    """Fits a generalised Pareto distribution to the largest weights and returns its shape.

    Args:
        weights: ``(n_decisions,)``.

    Returns:
        ``None`` without a tail: there are too few weights, or the largest one recurs, so that the end of the tail is in
        the log. Such are the weights of policies without context.
    """
    ordered = np.sort(weights)
    size = int(min(len(ordered) / 5.0, 3.0 * sqrt(len(ordered))))
    if size < _FEWEST or ordered[-_FEWEST] >= ordered[-1] * (1.0 - _ROUNDING):
        return None
    threshold = ordered[-size - 1]
    tail = ordered[ordered > threshold] - threshold
    n = len(tail)
    if n < _FEWEST:
        return None
    grid = 30 + int(sqrt(n))
    rates = 1.0 - np.sqrt(grid / (np.arange(1, grid + 1) - 0.5))
    rates = rates / (3.0 * tail[int(n / 4.0 + 0.5) - 1]) + 1.0 / tail[-1]
    shapes = np.log1p(-rates[:, None] * tail).mean(axis=1)
    fits = n * (np.log(-rates / shapes) - shapes - 1.0)
    posterior = np.exp(fits - fits.max())
    rate = float((rates * posterior).sum() / posterior.sum())
    shape = float(np.log1p(-rate * tail).mean())
    return (shape * n + _PRIOR_SHAPE * _PRIOR_SIZE) / (n + _PRIOR_SIZE)
