"""Linear Thompson sampling: an item is drawn as often as it would be the best under rewards drawn from the posterior.

Every item's reward is drawn on its own, and anew for every slot. The chance that one is the highest then is an integral
in one dimension, which is computed first and drawn from after: so the propensity is exactly that of the draw.

References:
    Agrawal and Goyal (2013), "Thompson sampling for contextual bandits with linear payoffs", ICML; Abeille and Lazaric
    (2017), "Linear Thompson sampling revisited", EJS 11, for the scale.
"""

from typing import Final

import numpy as np
from scipy.special import ndtr

from streams.core.policies.policy import Estimates, Policy
from streams.core.policies.slates import BoolArray, Float64Array

_UNIT_GRID: Final = np.linspace(0.0, 1.0, 33)
_REACH: Final = 4.0
"""Deviations above the highest item that the integral spans, and below the surest of being high."""
_RESOLVED: Final = 0.8
"""Steps of the grid; a variable that is narrower is taken to be so wide, or it could fall between two nodes."""
_LEAST_DEVIATION: Final = 1e-12
_LEAST_CHANCE: Final = 1e-300


class ThompsonPolicy(Policy):
    """Rewards are normal with the estimate as their mean and ``scale`` times its deviation as theirs."""

    needs_deviations = True

    def __init__(self, scale: float, floor: float) -> None:
        super().__init__(floor)
        self._scale = scale

    def own_chances(self, estimates: Estimates, eligible: BoolArray) -> Float64Array:
        return chances_of_being_highest(estimates.means, self._scale * estimates.deviations, eligible)


def chances_of_being_highest(means: Float64Array, deviations: Float64Array, eligible: BoolArray) -> Float64Array:
    """Integrates, for each of some independent normal variables, the chance that it is the highest.

    The trapezoidal rule, on a grid over the values that the highest one may have: its error falls faster than any power
    of the step, and is below 0.001 where deviations are within a factor of ten of each other.

    Args:
        means: ``(n_decisions, n_items)``.
        deviations: Same shape, 0 for what is certain.

    Returns:
        Rows that sum to 1, or to 0 where nothing is eligible.
    """
    reach = _REACH * deviations
    top = np.where(eligible, means + reach, -np.inf).max(axis=1)
    bottom = np.where(eligible, means - reach, -np.inf).max(axis=1)
    bottom[~np.isfinite(bottom)] = top[~np.isfinite(top)] = 0.0
    span = (top - bottom)[:, None]
    nodes = bottom[:, None] + span * _UNIT_GRID
    widths = np.maximum(deviations, np.maximum(span * (_RESOLVED * _UNIT_GRID[1]), _LEAST_DEVIATION))[:, :, None]
    z = (nodes[:, None, :] - means[:, :, None]) / widths
    below = ndtr(z)
    below[~eligible] = 1.0
    np.maximum(below, _LEAST_CHANCE, out=below)
    z *= z
    z *= -0.5
    density = np.exp(z, out=z)
    density /= widths
    density *= below.prod(axis=1)[:, None, :] / below
    chances = np.where(eligible, density.sum(axis=2), 0.0)
    total = chances.sum(axis=1)
    return np.asarray(chances / np.where(total > 0.0, total, 1.0)[:, None], np.float64)
