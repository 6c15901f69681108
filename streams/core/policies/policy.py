"""Policies: probabilities of each slot's draw, given the estimated rewards of the remaining items."""

from abc import ABC, abstractmethod
from typing import NamedTuple

import numpy as np

from streams.contract.arrays import BoolArray, Float64Array, Int64Array
from streams.core.policies.slates import CategoryLimit, Slates, draw_slates, items_that_are


class Estimates(NamedTuple):
    """A reward model's estimates for every item of every shortlist.

    Attributes:
        means: Estimated rewards, ``(n_decisions, n_items)``.
        deviations: Root of ``x' inverse(A) x``, same shape; times the noise's standard deviation it is the estimate's.
            Zero if the policy does not need it.
        examples: Number of examples learned from; their summed weight for a model that discounts them.
    """

    means: Float64Array
    deviations: Float64Array
    examples: float


class Policy(ABC):
    """A rule for drawing items slot by slot from those that remain; it has no state.

    Attributes:
        floor: Share of each draw that is uniform over the remaining items.
        needs_deviations: Whether it reads the deviations of the estimates.
    """

    needs_deviations = False

    def __init__(self, floor: float) -> None:
        self.floor = floor

    @abstractmethod
    def base_probabilities(self, estimates: Estimates, eligible: BoolArray) -> Float64Array:
        """Returns the probabilities of one draw, before the floor.

        Args:
            eligible: ``(n_decisions, n_items)``.

        Returns:
            Rows that sum to 1, or to 0 where nothing is eligible; same shape.
        """

    def probabilities(self, estimates: Estimates, eligible: BoolArray) -> Float64Array:
        """Returns the probabilities of one draw, with the floor; see :meth:`base_probabilities`."""
        own = self.base_probabilities(estimates, eligible)
        return (1.0 - self.floor) * own + self.floor * equal_probabilities(eligible)

    def choose(
        self,
        estimates: Estimates,
        n_items: Int64Array,
        uniforms: Float64Array,
        preferred: BoolArray | None = None,
        limit: CategoryLimit | None = None,
    ) -> Slates:
        """Draws a slate for each decision, with the same bits in any batch.

        Args:
            n_items: Length of each shortlist, ``(n_decisions,)``.
            uniforms: In [0, 1), one a slot, ``(n_decisions, n_slots)``.
            preferred: Items to draw first, ``(n_decisions, n_items)``; by default all.
            limit: Of items of one category.
        """
        there = items_that_are(n_items, estimates.means.shape[1])
        wanted = there if preferred is None else preferred
        return draw_slates(there, wanted, lambda eligible: self.probabilities(estimates, eligible), uniforms, limit)


class UniformPolicy(Policy):
    """Uniform policy: equal probabilities for all remaining items."""

    def base_probabilities(self, estimates: Estimates, eligible: BoolArray) -> Float64Array:
        return equal_probabilities(eligible)

    def probabilities(self, estimates: Estimates, eligible: BoolArray) -> Float64Array:
        return equal_probabilities(eligible)


class RankedPolicy(Policy):
    """Ranked policy: the first remaining item of the shortlist. Only the floor makes it random."""

    def base_probabilities(self, estimates: Estimates, eligible: BoolArray) -> Float64Array:
        return all_on_the_highest(np.zeros(eligible.shape), eligible)


class EpsilonGreedyPolicy(Policy):
    """Epsilon-greedy policy: any item with probability ``epsilon``, otherwise the one with the highest estimate."""

    def __init__(self, epsilon: float, floor: float) -> None:
        super().__init__(floor)
        self._epsilon = epsilon

    def base_probabilities(self, estimates: Estimates, eligible: BoolArray) -> Float64Array:
        greedy = all_on_the_highest(estimates.means, eligible)
        return (1.0 - self._epsilon) * greedy + self._epsilon * equal_probabilities(eligible)


class LinUCBPolicy(Policy):
    """LinUCB: the item with the highest estimate plus ``alpha`` deviations of it. Only the floor makes it random.

    References:
        Li, Chu, Langford and Schapire (2010), "A contextual-bandit approach to personalized news article
        recommendation", WWW, algorithm 1.
    """

    needs_deviations = True

    def __init__(self, alpha: float, floor: float) -> None:
        super().__init__(floor)
        self._alpha = alpha

    def base_probabilities(self, estimates: Estimates, eligible: BoolArray) -> Float64Array:
        return all_on_the_highest(estimates.means + self._alpha * estimates.deviations, eligible)


def equal_probabilities(eligible: BoolArray) -> Float64Array:
    """Gives each eligible item the same probability; a row sums to 1, or to 0 where nothing is eligible."""
    return np.asarray(eligible / np.maximum(eligible.sum(axis=1), 1)[:, None], np.float64)


def all_on_the_highest(values: Float64Array, eligible: BoolArray) -> Float64Array:
    """Gives the eligible item with the highest value probability 1, the first one on a tie."""
    probabilities = np.zeros(values.shape)
    highest = np.where(eligible, values, -np.inf).argmax(axis=1)
    np.put_along_axis(probabilities, highest[:, None], 1.0, axis=1)
    return np.where(eligible, probabilities, 0.0)
