"""How likely a shopper looks at each slot of a slate."""

from typing import Final

import numpy as np
from numpy.typing import NDArray

N_POSITIONS: Final = 20

_PRIOR_IMPRESSIONS: Final = 200.0
_PRIOR_EXAMINATION: Final = 1.0 / (1.0 + 0.1 * np.arange(N_POSITIONS))
_PRIOR_CLICK_RATE: Final = 0.05
_PRIOR_FIRST_SLOT: Final = 20.0
_LEAST_EXAMINATION: Final = 0.05


def examination(shown: NDArray[np.float64], clicked: NDArray[np.float64]) -> NDArray[np.float64]:
    """Estimates how often each slot is looked at, by the first one, from impressions and clicks on the control.

    Args:
        shown: ``(n_positions,)``.
        clicked: ``(n_positions,)``.

    Returns:
        ``(n_positions,)`` between 0.05 and 1, the first exactly 1. A slot that was seldom shown stays near its prior,
        which is worth 200 impressions.

    References:
        Richardson, Dominowska and Ragno (2007), "Predicting clicks", WWW, on examination by position.

    >>> examination(np.zeros(20), np.zeros(20))[:2].round(3).tolist()
    [1.0, 0.909]
    """
    first_rate = (clicked[0] + _PRIOR_FIRST_SLOT * _PRIOR_CLICK_RATE) / (shown[0] + _PRIOR_FIRST_SLOT)
    looked = clicked / first_rate + _PRIOR_IMPRESSIONS * _PRIOR_EXAMINATION
    estimate: NDArray[np.float64] = np.clip(looked / (shown + _PRIOR_IMPRESSIONS), _LEAST_EXAMINATION, 1.0)
    estimate[0] = 1.0
    return estimate
