"""Slates: slots are filled one after the other, each drawn from what remains of the shortlist."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Float64Array = NDArray[np.float64]
Int64Array = NDArray[np.int64]
BoolArray = NDArray[np.bool_]

Chances = Callable[[BoolArray], Float64Array]
"""Probabilities of the items that may be drawn next, 0 for all others; both ``(n_decisions, n_items)``."""


class Slates(NamedTuple):
    """What was drawn.

    Attributes:
        slates: Places in the shortlist, first slot first, -1 where nothing was left, ``(n_decisions, n_slots)``.
        propensities: Of each slot given the slots before it, NaN where there is none, same shape.
    """

    slates: Int64Array
    propensities: Float64Array


def draw_slates(remaining: BoolArray, preferred: BoolArray, chances: Chances, uniforms: Float64Array) -> Slates:
    """Fills the slots; the same decision is drawn alike in any batch.

    Args:
        remaining: Items that there are, ``(n_decisions, n_items)``.
        preferred: Items that come first: the others are drawn from when none of these remains; same shape.
        uniforms: In [0, 1), one a slot, ``(n_decisions, n_slots)``.
    """
    n_decisions, n_slots = uniforms.shape
    places = np.arange(n_decisions)
    remaining = remaining.copy()
    slates = np.full((n_decisions, n_slots), -1)
    propensities = np.full((n_decisions, n_slots), np.nan)
    for slot in range(n_slots):
        wanted = remaining & preferred
        eligible = np.where(wanted.any(axis=1, keepdims=True), wanted, remaining)
        probabilities = chances(eligible)
        drawn = _draw(probabilities, uniforms[:, slot])
        filled = remaining.any(axis=1)
        slates[filled, slot] = drawn[filled]
        propensities[filled, slot] = probabilities[filled, drawn[filled]]
        remaining[places[filled], drawn[filled]] = False
    return Slates(slates, propensities)


def items_that_are(n_items: Int64Array, width: int) -> BoolArray:
    """Tells the items of each shortlist from its padding, ``(n_decisions, width)``."""
    there: BoolArray = np.arange(width) < n_items[:, None]
    return there


def _draw(probabilities: Float64Array, uniforms: Float64Array) -> Int64Array:
    drawn = (probabilities.cumsum(axis=1) <= uniforms[:, None]).sum(axis=1)
    # A sum that rounding leaves below 1 must not let a uniform fall behind the last item.
    last = probabilities.shape[1] - 1 - (probabilities[:, ::-1] > 0.0).argmax(axis=1)
    within: Int64Array = np.minimum(drawn, last)
    return within
