"""Slates: slots are filled one by one, each with an item drawn from the rest of the shortlist."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from streams.contract.arrays import BoolArray, Float64Array, Int64Array

Probabilities = Callable[[BoolArray], Float64Array]
"""Function from eligible items to probabilities, 0 for all others; both ``(n_decisions, n_items)``."""


class Slates(NamedTuple):
    """Drawn slates.

    Attributes:
        slates: Places in the shortlist, first slot first, -1 where nothing was left, ``(n_decisions, n_slots)``.
        propensities: Probability of each slot given the slots before it, NaN for none, same shape.
    """

    slates: Int64Array
    propensities: Float64Array


def draw_slates(
    remaining: BoolArray, preferred: BoolArray, probabilities_of: Probabilities, uniforms: Float64Array
) -> Slates:
    """Fills the slots; a decision is drawn the same in any batch.

    Args:
        remaining: Items of the shortlist, ``(n_decisions, n_items)``.
        preferred: Items to draw first; others are drawn only when none of these remains; same shape.
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
        probabilities = probabilities_of(eligible)
        drawn = _draw(probabilities, uniforms[:, slot])
        filled = remaining.any(axis=1)
        slates[filled, slot] = drawn[filled]
        propensities[filled, slot] = probabilities[filled, drawn[filled]]
        remaining[places[filled], drawn[filled]] = False
    return Slates(slates, propensities)


def items_that_are(n_items: Int64Array, width: int) -> BoolArray:
    """Returns the mask of each shortlist's items, without its padding, ``(n_decisions, width)``."""
    return np.arange(width) < n_items[:, None]


def _draw(probabilities: Float64Array, uniforms: Float64Array) -> Int64Array:
    drawn = (probabilities.cumsum(axis=1) <= uniforms[:, None]).sum(axis=1)
    # Rounding may leave the sum below 1: a uniform above it draws the last item.
    last = probabilities.shape[1] - 1 - (probabilities[:, ::-1] > 0.0).argmax(axis=1)
    within: Int64Array = np.minimum(drawn, last)
    return within
