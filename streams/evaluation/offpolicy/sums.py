"""Estimates as ratios of sums over decisions, with intervals by the bootstrap over users."""

from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

Float64Array = NDArray[np.float64]
Int64Array = NDArray[np.int64]

_PERCENTILES: Final = (97.5, 2.5)
_N_MOMENTS: Final = 5
_CHUNK_COUNTS: Final = 2_000_000
"""Counts of users drawn at once, which bounds memory."""


class Sums(NamedTuple):
    """Terms of an estimate, one for each decision.

    Attributes:
        numerators: ``(n_decisions,)``.
        denominators: Ones for a mean, the weights for a self-normalised estimate, same shape.
        weights: Importance weights behind the estimate, same shape; for several slots, those of the last.
    """

    numerators: Float64Array
    denominators: Float64Array
    weights: Float64Array

    @property
    def value(self) -> float:
        """The estimate; NaN if the denominators sum to 0."""
        total = float(self.denominators.sum())
        return float(self.numerators.sum()) / total if total else float("nan")

    @property
    def effective_size(self) -> float:
        """Effective sample size: the number of equally weighted decisions with the same precision.

        References:
            Kong (1992), "A note on importance sampling using standardized weights".
        """
        if not self.weights.any():
            return 0.0
        # Brought near 1 by a power of two, which is exact: the squares of very small weights would be 0.
        weights = np.ldexp(self.weights, -int(np.frexp(self.weights.max())[1]))
        return float(weights.sum()) ** 2 / float((weights * weights).sum())


def intervals(estimates: dict[str, Sums], users: Int64Array, resamples: int, seed: int) -> dict[str, list[float]]:
    """Bootstraps the 95 % intervals of several estimates, all on the same resamples of users.

    It bootstraps the estimate's error in units of its standard error: importance weights are skewed, and intervals from
    the plain percentiles of estimates contain the true value too rarely.

    Args:
        users: Dense number of each decision's user, ``(n_decisions,)``.

    Returns:
        Estimate to its bounds; NaN if too few users contribute.

    References:
        Hall (1988), "Theoretical comparison of bootstrap confidence intervals", Annals of Statistics 16: bootstrap-t.
        Field and Welsh (2007), "Bootstrapping clustered data", JRSS B 69: clusters are drawn whole.
    """
    n_users = int(users.max()) + 1
    by_user = np.concatenate([_moments(sums, users, n_users) for sums in estimates.values()], axis=1)
    random = np.random.default_rng(seed)
    chunk = max(_CHUNK_COUNTS // n_users, 1)
    totals = np.concatenate(
        [
            random.multinomial(n_users, np.full(n_users, 1.0 / n_users), min(chunk, resamples - begin)) @ by_user
            for begin in range(0, resamples, chunk)
        ]
    )
    bounds: dict[str, list[float]] = {}
    for place, name in enumerate(estimates):
        columns = slice(_N_MOMENTS * place, _N_MOMENTS * (place + 1))
        value, error = _ratio(by_user[:, columns].sum(axis=0)[None, :])
        values, errors = _ratio(totals[:, columns])
        counts = errors > 0.0
        if not counts.any():
            bounds[name] = [float("nan")] * 2
            continue
        above, below = np.percentile((values[counts] - value) / errors[counts], _PERCENTILES)
        bounds[name] = [float((value - above * error)[0]), float((value - below * error)[0])]
    return bounds


def _moments(sums: Sums, users: Int64Array, n_users: int) -> Float64Array:
    """Returns the moments for estimate and standard error, ``(n_users, _N_MOMENTS)``."""
    numerators = np.bincount(users, weights=sums.numerators, minlength=n_users)
    denominators = np.bincount(users, weights=sums.denominators, minlength=n_users)
    products = (numerators * numerators, numerators * denominators, denominators * denominators)
    return np.stack([numerators, denominators, *products], axis=1)


def _ratio(totals: Float64Array) -> tuple[Float64Array, Float64Array]:
    """Returns ratios and their linearised standard errors from sums of the moments; the error is 0 for no ratio."""
    numerators, denominators, nn, nd, dd = totals.T
    is_defined = denominators > 0.0
    divisors = np.where(is_defined, denominators, 1.0)
    ratios = numerators / divisors
    spread = np.maximum(nn - 2.0 * ratios * nd + ratios * ratios * dd, 0.0)
    return ratios, np.where(is_defined, np.sqrt(spread) / divisors, 0.0)
