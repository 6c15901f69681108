"""Quality of all that a target has served, with intervals clustered by user, from sums that fit into a row."""

from collections.abc import Callable
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtrit

from streams.contract.arrays import Arrays, BoolArray, Float64Array
from streams.contract.metrics import AmountQuality, Estimate, ServedAmounts, ServedProbabilities
from streams.contract.records import N_GROUPS
from streams.core.models.measures import losses
from streams.core.models.quality import AmountEvaluation, Evaluation, deviances

WARM_UP_POSITIVES: Final = 500
"""Positives after which the intervals begin: they are about a model that has had something to learn from."""

_LEAST_GROUPS: Final = 8
_QUANTILE: Final = 0.975

Statistic = Callable[[Float64Array], Float64Array]


class ServedEvaluation:
    """Progressive validation of what was served, over every prediction, not over those learned from.

    Predictions from the prior are counted, and left out of every measure. Users are in groups by hash, and the
    uncertainty of a measure is that between groups: predictions for one user are not independent. All sums run in the
    order of the outcomes.

    Args:
        is_amount: Whether amounts are served, not probabilities.
    """

    def __init__(self, *, is_amount: bool) -> None:
        self._is_amount = is_amount
        self._evaluation: Evaluation | AmountEvaluation = AmountEvaluation() if is_amount else Evaluation()
        self._counts = np.zeros(2, np.int64)
        self._groups = np.zeros((N_GROUPS, 5))

    def update(
        self, served: Float64Array, labels: Float64Array, groups: NDArray[np.uint8], from_prior: BoolArray
    ) -> None:
        """Adds predictions with their final labels, ``(n,)`` each."""
        from_model = ~from_prior
        served, labels, groups = served[from_model], labels[from_model], groups[from_model]
        self._evaluation.update(served, labels, np.ones(len(labels)))
        positives = int(self._counts[1]) + np.cumsum(labels > 0.0)
        warm = positives - (labels > 0.0) >= WARM_UP_POSITIVES
        terms = self._terms(served[warm], labels[warm])
        np.add.at(self._groups, groups[warm], terms)
        self._counts += (int(from_prior.sum()), int((labels > 0.0).sum()))

    def _terms(self, served: Float64Array, labels: Float64Array) -> Float64Array:
        """Returns each prediction's terms: 1, label, served, loss, and the root of the label."""
        loss = deviances(served, labels) if self._is_amount else losses(served, labels)
        return np.column_stack([np.ones(len(labels)), labels, served, loss, np.sqrt(labels)])

    def quality(self) -> ServedProbabilities | ServedAmounts:
        """Computes the measures from the sums."""
        quality, from_prior = self._evaluation.quality(), int(self._counts[0])
        above_base = grouped_estimate(self._groups, deviance_above_base if self._is_amount else loss_above_base)
        calibration = grouped_estimate(self._groups, calibration_of)
        if isinstance(quality, AmountQuality):
            return ServedAmounts(quality, from_prior, above_base, calibration)
        reliability = self._evaluation.reliability() if isinstance(self._evaluation, Evaluation) else []
        return ServedProbabilities(quality, from_prior, above_base, calibration, reliability)

    def arrays(self) -> Arrays:
        return self._evaluation.arrays() | {"served_counts": self._counts, "groups": self._groups}

    def restore(self, arrays: Arrays) -> None:
        self._evaluation.restore(arrays)
        self._counts, self._groups = arrays["served_counts"], arrays["groups"]


def grouped_estimate(sums: Float64Array, statistic: Statistic) -> Estimate | None:
    """Estimates a function of sums over users, with its 95 % interval by the delete-a-group jackknife.

    Args:
        sums: Of each group of users, ``(n_groups, n_terms)``; the first term counts. Empty groups are left out.
        statistic: ``(..., n_terms)`` to ``(...)``; the same for sums and for their multiples.

    Returns:
        ``None`` if there are fewer than eight groups, or if the statistic is undefined without one of them.

    References:
        Kott (2001), "The delete-a-group jackknife", Journal of Official Statistics 17(4).
    """
    sums = sums[sums[:, 0] > 0.0]
    n = len(sums)
    if n < _LEAST_GROUPS:
        return None
    total = sums.sum(axis=0)
    with np.errstate(divide="ignore", invalid="ignore"):
        whole = float(statistic(total))
        without = statistic(total - sums)
    if not (np.isfinite(whole) and np.isfinite(without).all()):
        return None
    error = float(np.sqrt((n - 1) / n * ((without - without.mean()) ** 2).sum()))
    half = float(stdtrit(n - 1, _QUANTILE)) * error
    return Estimate(whole, whole - half, whole + half)


def loss_above_base(sums: Float64Array) -> Float64Array:
    """Returns the mean log loss less that of the rate of positives itself."""
    rate = sums[..., 1] / sums[..., 0]
    entropy = -(rate * np.log(rate) + (1.0 - rate) * np.log(1.0 - rate))
    above: Float64Array = sums[..., 3] / sums[..., 0] - entropy
    return above


def deviance_above_base(sums: Float64Array) -> Float64Array:
    """Returns the mean Tweedie deviance of power 1.5 less that of the mean amount itself."""
    n, amounts, roots = sums[..., 0], sums[..., 1], sums[..., 4]
    above: Float64Array = sums[..., 3] / n - 8.0 * (np.sqrt(amounts / n) - roots / n)
    return above


def calibration_of(sums: Float64Array) -> Float64Array:
    """Returns the sum of what was served by the sum of the labels; 1 is right."""
    ratio: Float64Array = sums[..., 2] / sums[..., 1]
    return ratio
