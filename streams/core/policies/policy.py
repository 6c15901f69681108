"""What a policy is: the chances of each slot's draw, given what a model of rewards says of the items that remain."""

from abc import ABC, abstractmethod
from typing import NamedTuple

import numpy as np

from streams.core.policies.slates import BoolArray, Float64Array, Int64Array, Slates, draw_slates, items_that_are


class Estimates(NamedTuple):
    """What a model of rewards says of every item of every shortlist.

    Attributes:
        means: Estimated rewards, ``(n_decisions, n_items)``.
        deviations: Root of ``x' inverse(A) x``, which times the noise's deviation is the estimate's; same shape. Zero
            where the policy does not ask for it.
        examples: How many examples the model was learned from; where it forgets, what they weigh.
    """

    means: Float64Array
    deviations: Float64Array
    examples: float


class Policy(ABC):
    """A way to draw, slot by slot, from the items that remain.

    A policy never learns: what it knows is in the estimates that it is given.

    Attributes:
        floor: Share of each draw that is uniform over the items that remain.
        needs_deviations: Whether it reads them.
    """

    needs_deviations = False

    def __init__(self, floor: float) -> None:
        self.floor = floor

    @abstractmethod
    def own_chances(self, estimates: Estimates, eligible: BoolArray) -> Float64Array:
        """Returns the chances of one draw, before the floor.

        Args:
            eligible: ``(n_decisions, n_items)``.

        Returns:
            Rows that sum to 1, or to 0 where nothing is eligible; same shape.
        """

    def chances(self, estimates: Estimates, eligible: BoolArray) -> Float64Array:
        """Returns the chances that one slot is drawn with; see :meth:`own_chances`."""
        own = self.own_chances(estimates, eligible)
        return (1.0 - self.floor) * own + self.floor * equal_chances(eligible)

    def choose(
        self, estimates: Estimates, n_items: Int64Array, uniforms: Float64Array, preferred: BoolArray | None = None
    ) -> Slates:
        """Draws a slate for each decision; one is drawn alike, to the bit, in any batch.

        Args:
            n_items: Length of each shortlist, ``(n_decisions,)``.
            uniforms: In [0, 1), one a slot, ``(n_decisions, n_slots)``.
            preferred: Items that are drawn from first, ``(n_decisions, n_items)``; all, where it is left out.
        """
        there = items_that_are(n_items, estimates.means.shape[1])
        wanted = there if preferred is None else preferred
        return draw_slates(there, wanted, lambda eligible: self.chances(estimates, eligible), uniforms)


def equal_chances(eligible: BoolArray) -> Float64Array:
    """Gives each eligible item the same chance; rows as :meth:`Policy.own_chances` returns them."""
    return np.asarray(eligible / np.maximum(eligible.sum(axis=1), 1)[:, None], np.float64)


def all_on_the_highest(values: Float64Array, eligible: BoolArray) -> Float64Array:
    """Gives the eligible item of the highest value the whole chance, the first of equal ones."""
    chances = np.zeros(values.shape)
    highest = np.where(eligible, values, -np.inf).argmax(axis=1)
    np.put_along_axis(chances, highest[:, None], 1.0, axis=1)
    return np.where(eligible, chances, 0.0)
