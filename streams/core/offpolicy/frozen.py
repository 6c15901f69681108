"""Frozen policies on logged shortlists: how likely each would have drawn what was shown."""

import numpy as np

from streams.core.policies.slates import BoolArray, Chances, Float64Array, Int64Array


def of_slates(slates: Int64Array, there: BoolArray, chances: Chances) -> Float64Array:
    """Returns the probability of each logged slot, given the logged slots before it.

    Args:
        slates: Places in the shortlist, -1 beyond a slate's end, ``(n_decisions, n_slots)``.
        there: Items of each shortlist, ``(n_decisions, n_items)``.
        chances: The policy's.

    Returns:
        1 beyond a slate's end, ``(n_decisions, n_slots)``.
    """
    remaining = there.copy()
    rows = np.arange(len(slates))
    found = np.ones(slates.shape)
    for slot in range(slates.shape[1]):
        shown = slates[:, slot] >= 0
        item = np.maximum(slates[:, slot], 0)
        found[shown, slot] = chances(remaining)[rows, item][shown]
        remaining[rows[shown], item[shown]] = False
    return found
