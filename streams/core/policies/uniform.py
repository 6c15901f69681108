"""The control: uniform over the same shortlist, without replacement."""

import numpy as np
from numpy.typing import NDArray

from streams.core.policies.slates import Slates, draw_slates, items_that_are


def choose(n_items: NDArray[np.int64], uniforms: NDArray[np.float64], width: int) -> Slates:
    """Draws a slate for each decision.

    Args:
        n_items: Length of each shortlist, ``(n_decisions,)``.
        uniforms: In [0, 1), one a slot, ``(n_decisions, n_slots)``.
        width: Of the shortlists, padding included.
    """
    there = items_that_are(n_items, width)
    return draw_slates(there, there, _equal_chances, uniforms)


def _equal_chances(eligible: NDArray[np.bool_]) -> NDArray[np.float64]:
    chances: NDArray[np.float64] = eligible / np.maximum(eligible.sum(axis=1), 1)[:, None]
    return chances
