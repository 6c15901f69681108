"""An estimate as a ratio of sums over decisions, with its interval by the bootstrap over users."""

from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

Float64Array = NDArray[np.float64]
Int64Array = NDArray[np.int64]

_PERCENTILES: Final = (97.5, 2.5)
_N_MOMENTS: Final = 5
_RESAMPLED_AT_ONCE: Final = 2_000_000


class Sums(NamedTuple):
    """What each decision adds to an estimate.

    Attributes:
        numerators: ``(n_decisions,)``.
        denominators: Ones for a mean, the weights where they normalise themselves, same shape.
        weights: Importance weights that the estimate stands on, same shape; of several slots, those of the last.
    """

    numerators: Float64Array
    denominators: Float64Array
    weights: Float64Array

    @property
    def value(self) -> float:
        """The estimate; NaN where nothing counts."""
        total = float(self.denominators.sum())
        return float(self.numerators.sum()) / total if total else float("nan")

    @property
    def effective_size(self) -> float:
        """How many equally weighted decisions would be as good.

        References:
            Kong (1992), "A note on importance sampling using standardized weights".
        """
        squares = float((self.weights * self.weights).sum())
        return float(self.weights.sum()) ** 2 / squares if squares else 0.0


def intervals(estimates: dict[str, Sums], users: Int64Array, resamples: int, seed: int) -> dict[str, list[float]]:
    """Bootstraps the 95 % intervals of several estimates, all on the same resamples of users.

    What is bootstrapped is the estimate's distance from the truth in its own standard errors: importance weights are
    skewed, and the plain percentiles of estimates hold the truth too seldom.

    Args:
        users: Dense number of each decision's user, ``(n_decisions,)``.

    Returns:
        By estimate, its bounds; NaN where too few users count.

    References:
        Hall (1988), "Theoretical comparison of bootstrap confidence intervals", Annals of Statistics 16: bootstrap-t.
        Field and Welsh (2007), "Bootstrapping clustered data", JRSS B 69: clusters are drawn whole.
    """
    n_users = int(users.max()) + 1
    by_user = np.concatenate([_moments(sums, users, n_users) for sums in estimates.values()], axis=1)
    random = np.random.default_rng(seed)
    at_once = max(_RESAMPLED_AT_ONCE // n_users, 1)
    totals = np.concatenate(
        [
            random.multinomial(n_users, np.full(n_users, 1.0 / n_users), min(at_once, resamples - begin)) @ by_user
            for begin in range(0, resamples, at_once)
        ]
    )
    found: dict[str, list[float]] = {}
    for place, name in enumerate(estimates):
        columns = slice(_N_MOMENTS * place, _N_MOMENTS * (place + 1))
        value, error = _ratio(by_user[:, columns].sum(axis=0)[None, :])
        values, errors = _ratio(totals[:, columns])
        counts = errors > 0.0
        if not counts.any():
            found[name] = [float("nan")] * 2
            continue
        above, below = np.percentile((values[counts] - value) / errors[counts], _PERCENTILES)
        found[name] = [float((value - above * error)[0]), float((value - below * error)[0])]
    return found


def _moments(sums: Sums, users: Int64Array, n_users: int) -> Float64Array:
    """Returns what estimate and standard error are made of, ``(n_users, _N_MOMENTS)``."""
    numerators = np.bincount(users, weights=sums.numerators, minlength=n_users)
    denominators = np.bincount(users, weights=sums.denominators, minlength=n_users)
    products = (numerators * numerators, numerators * denominators, denominators * denominators)
    return np.stack([numerators, denominators, *products], axis=1)


def _ratio(totals: Float64Array) -> tuple[Float64Array, Float64Array]:
    """Returns ratios and their linearised standard errors, 0 where there is none, from sums of the moments."""
    numerators, denominators, nn, nd, dd = totals.T
    there = denominators > 0.0
    below = np.where(there, denominators, 1.0)
    ratios = numerators / below
    spread = np.maximum(nn - 2.0 * ratios * nd + ratios * ratios * dd, 0.0)
    return ratios, np.where(there, np.sqrt(spread) / below, 0.0)
