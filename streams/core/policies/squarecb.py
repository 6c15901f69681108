"""SquareCB: the further an item's score is behind the best, the less often it is drawn, in closed form.

References:
    Foster and Rakhlin (2020), "Beyond UCB: optimal and efficient contextual bandits with regression oracles", ICML,
    algorithm 1.
"""

from math import sqrt

import numpy as np
from numpy.typing import NDArray

from streams.core.policies.slates import BoolArray, Float64Array, Slates, draw_slates, items_that_are


def learning_gamma(exploration: float, examples: int) -> float:
    """Returns gamma, growing with the square root of what was learned: 0, hence uniform, before the first example."""
    return exploration * sqrt(examples)


def inverse_gap_weighting(scores: Float64Array, eligible: BoolArray, gamma: float) -> Float64Array:
    """Gives each of K eligible items ``1 / (K + gamma * gap)``, and the best one what is left.

    Args:
        scores: ``(n_decisions, n_items)``; the first of equally good items is the best.

    Returns:
        Rows that sum to 1, or to 0 where nothing is eligible; no eligible item has less than
        ``1 / (K + gamma * (highest - lowest score))``.
    """
    scores = np.where(eligible, scores, -np.inf)
    best = scores.argmax(axis=1)[:, None]
    gaps = np.where(eligible, np.take_along_axis(scores, best, axis=1), 0.0) - np.where(eligible, scores, 0.0)
    n_eligible = np.maximum(eligible.sum(axis=1), 1)[:, None]
    chances = np.where(eligible, 1.0 / (n_eligible + gamma * gaps), 0.0)
    np.put_along_axis(chances, best, 0.0, axis=1)
    left = np.where(eligible.any(axis=1), 1.0 - chances.sum(axis=1), 0.0)
    np.put_along_axis(chances, best, left[:, None], axis=1)
    return chances


def choose(
    scores: Float64Array,
    n_items: NDArray[np.int64],
    gamma: float,
    uniforms: Float64Array,
    preferred: BoolArray | None = None,
) -> Slates:
    """Draws a slate for each decision, the best of what remains being best for each slot.

    Args:
        scores: Estimated rewards, ``(n_decisions, n_items)``.
        n_items: Length of each shortlist, ``(n_decisions,)``.
        uniforms: In [0, 1), one a slot, ``(n_decisions, n_slots)``.
        preferred: Items that are drawn from first, same shape as ``scores``; all, where it is left out.
    """
    there = items_that_are(n_items, scores.shape[1])
    wanted = there if preferred is None else preferred
    return draw_slates(there, wanted, lambda eligible: inverse_gap_weighting(scores, eligible, gamma), uniforms)
