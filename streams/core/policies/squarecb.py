"""SquareCB: the larger the gap between an item's score and the best, the less often it is drawn, in closed form.

References:
    Foster and Rakhlin (2020), "Beyond UCB: optimal and efficient contextual bandits with regression oracles", ICML,
    algorithm 1.
"""

from bisect import bisect_right
from collections import Counter
from itertools import accumulate, repeat
from math import sqrt
from typing import Final

import numpy as np

from streams.contract.arrays import BoolArray, Float64Array, Int64Array
from streams.core.policies.policy import Estimates, Policy
from streams.core.policies.slates import CategoryLimit, Slates, items_that_are
from streams.core.retrieval.item_table import NO_CATEGORY

FEW: Final = 8
"""Up to so many decisions are drawn faster by plain Python than by numpy."""


class SquareCBPolicy(Policy):
    """Inverse gap weighting; gamma grows with the examples, from 0, which is uniform."""

    def __init__(self, exploration: float, floor: float) -> None:
        super().__init__(floor)
        self._exploration = exploration

    def base_probabilities(self, estimates: Estimates, eligible: BoolArray) -> Float64Array:
        gamma = learning_gamma(self._exploration, estimates.examples)
        return inverse_gap_weighting(estimates.means, eligible, gamma)

    def choose(
        self,
        estimates: Estimates,
        n_items: Int64Array,
        uniforms: Float64Array,
        preferred: BoolArray | None = None,
        limit: CategoryLimit | None = None,
    ) -> Slates:
        if len(n_items) > FEW:
            return super().choose(estimates, n_items, uniforms, preferred, limit)
        gamma = learning_gamma(self._exploration, estimates.examples)
        slates = np.full(uniforms.shape, -1)
        propensities = np.full(uniforms.shape, np.nan)
        wanted = items_that_are(n_items, estimates.means.shape[1]) if preferred is None else preferred
        rows = zip(estimates.means.tolist(), n_items.tolist(), uniforms.tolist(), wanted.tolist(), strict=True)
        limits = repeat(None) if limit is None else zip(limit.categories.tolist(), limit.most.tolist(), strict=True)
        for place, ((scores, length, draws, first), limited) in enumerate(zip(rows, limits, strict=False)):
            slate, probabilities = _draw_one(scores[:length], gamma, self.floor, draws, first, limited)
            slates[place, : len(slate)] = slate
            propensities[place, : len(slate)] = probabilities
        return Slates(slates, propensities)


def learning_gamma(exploration: float, examples: float) -> float:
    """Returns gamma, which grows with the square root of the examples: 0, hence uniform, before the first."""
    return exploration * sqrt(examples)


def inverse_gap_weighting(scores: Float64Array, eligible: BoolArray, gamma: float) -> Float64Array:
    """Gives each of K eligible items ``1 / (K + gamma * gap)``, and the best one the rest.

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
    probabilities = np.where(eligible, 1.0 / (n_eligible + gamma * gaps), 0.0)
    np.put_along_axis(probabilities, best, 0.0, axis=1)
    # Summed in the order of the items, as in `_draw_one`, for the same bits.
    left = np.where(eligible.any(axis=1), 1.0 - probabilities.cumsum(axis=1)[:, -1], 0.0)
    np.put_along_axis(probabilities, best, left[:, None], axis=1)
    return probabilities


def _draw_one(
    scores: list[float],
    gamma: float,
    floor: float,
    uniforms: list[float],
    preferred: list[bool],
    limited: tuple[list[int], int] | None,
) -> tuple[list[int], list[float]]:
    """Draws the slate of one decision, with the same bits as :func:`inverse_gap_weighting`.

    Args:
        limited: Category of each item, and the most items of one, see :class:`CategoryLimit`.
    """
    slate: list[int] = []
    propensities: list[float] = []
    n_of_category = Counter[int]()
    items = [item for item in range(len(scores)) if preferred[item]]
    others = [item for item in range(len(scores)) if not preferred[item]]
    for uniform in uniforms:
        if not items:
            items, others = others, []
            if not items:
                break
        n_items = len(items)
        remaining = [scores[item] for item in items]
        best = remaining.index(highest := max(remaining))
        probabilities = [1.0 / (n_items + gamma * (highest - score)) for score in remaining]
        probabilities[best] = 0.0
        probabilities[best] = 1.0 - _sum_in_order(probabilities)
        probabilities = [(1.0 - floor) * probability + floor * (1.0 / n_items) for probability in probabilities]
        drawn = min(bisect_right(list(accumulate(probabilities)), uniform), n_items - 1)
        slate.append(item := items.pop(drawn))
        propensities.append(probabilities[drawn])
        if limited is not None and (category := limited[0][item]) != NO_CATEGORY:
            n_of_category[category] += 1
            if n_of_category[category] >= limited[1]:
                items = [other for other in items if limited[0][other] != category]
                others = [other for other in others if limited[0][other] != category]
    return slate, propensities


def _sum_in_order(values: list[float]) -> float:
    """Adds one by one: Python's own ``sum`` compensates rounding errors from 3.12 on."""
    total = 0.0
    for value in values:
        total += value
    return total
