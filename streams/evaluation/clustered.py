"""Intervals for ratios over predictions that are independent between users, not within."""

from math import sqrt
from typing import Final

import numpy as np

from streams.contract.arrays import Float64Array, Int64Array
from streams.contract.metrics import Estimate

_Z95: Final = 1.959963984540054


def ratio_estimate(above: Float64Array, below: Float64Array, users: Int64Array) -> Estimate | None:
    """Estimates Σ above / Σ below with its 95 % interval, clustered by user; ``None`` without two users or for 0.

    References:
        Deng, Knoblich and Lu (2018), "Applying the delta method in metric analytics", KDD, section 3.
    """
    total = float(below.sum())
    n = len(np.unique(users))
    if total <= 0.0 or n < 2:
        return None
    ratio = float(above.sum()) / total
    influence = np.bincount(np.unique(users, return_inverse=True)[1], above - ratio * below)
    half = _Z95 * sqrt(float((influence**2).sum()) * n / (n - 1)) / total
    return Estimate(ratio, ratio - half, ratio + half)


def above_base_estimate(loss: Float64Array, base_loss: Float64Array, users: Int64Array) -> Estimate | None:
    """Estimates the mean of ``loss`` less that of ``base_loss``, the losses of the mean label itself.

    That the base is estimated from the same labels changes its loss in second order only: the mean label minimises it.
    """
    return ratio_estimate(loss - base_loss, np.ones(len(loss)), users)
