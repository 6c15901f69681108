"""How good served amounts have been, beside the mean of the amounts so far; and the loss that members compete by."""

from typing import Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from streams.contract.arrays import Arrays

Float64Array = NDArray[np.float64]

_SMALLEST: Final = 1e-9


def deviances(given: Float64Array, labels: Float64Array) -> Float64Array:
    """Returns each example's Tweedie deviance of power 1.5: of amounts that are often zero the mean minimises it.

    References:
        Jørgensen (1987), "Exponential dispersion models", JRSS B 49(2), section 4; Gneiting (2011), "Making and
        evaluating point forecasts", JASA 106(494), section 3.1, for losses that the mean minimises.

    >>> deviances(np.array([4.0, 4.0]), np.array([4.0, 0.0])).tolist()
    [0.0, 8.0]
    """
    roots = np.sqrt(np.maximum(given, _SMALLEST))
    each: Float64Array = 4.0 * (np.sqrt(labels) - roots) ** 2 / roots
    return each


class AmountQuality(msgspec.Struct, frozen=True):
    """What the sums say; ``None`` where nothing can be said yet. Errors are in the currency of the amounts.

    Attributes:
        examples: Amounts that were measured.
        positives: Of them, those above zero.
        mean: Weighted mean of the amounts themselves.
        mae: Mean absolute error of what was served.
        base_mae: The same of the mean of all amounts before, whoever it is of.
        rmse: Root of the mean squared error, which an expectation makes small; the median makes the other small.
        calibration: Sum of what was served by the sum of the amounts; 1 is right.
    """

    examples: int
    positives: int
    mean: float | None
    mae: float | None
    base_mae: float | None
    rmse: float | None
    base_rmse: float | None
    calibration: float | None


class AmountEvaluation:
    """Progressive validation of amounts that were served before their labels existed, and of the mean before them.

    The first example has no mean before it, and is compared with what was served. All sums run in the order of the
    examples.
    """

    def __init__(self) -> None:
        self._sums = np.zeros(7)
        self._counts = np.zeros(2, np.int64)

    def update(self, given: Float64Array, labels: Float64Array, weights: Float64Array) -> None:
        """Counts a batch.

        Args:
            given: ``(n,)``, as served; NaN where the member did not exist, which leaves the example out.
            labels: 0 or more, ``(n,)``.
            weights: ``(n,)``.
        """
        served = ~np.isnan(given)
        given, labels, weights = given[served], labels[served], weights[served]
        sums = np.column_stack([weights, weights * labels])
        before = np.cumsum(np.concatenate([self._sums[None, :2], sums]), axis=0)[:-1]
        mean = np.where(before[:, 0] > 0.0, before[:, 1] / np.where(before[:, 0] > 0.0, before[:, 0], 1.0), given)
        own, base = given - labels, mean - labels
        errors = [weights * given, *(weights * each for error in (own, base) for each in (np.abs(error), error**2))]
        terms = np.column_stack([sums, *errors])
        self._sums = np.cumsum(np.concatenate([self._sums[None], terms]), axis=0)[-1].copy()
        self._counts += (len(given), int((labels > 0.0).sum()))

    def quality(self) -> AmountQuality:
        """Reads the sums."""
        weight, label, given, *errors = self._sums.tolist()
        examples, positives = self._counts.tolist()
        mae, mse, base_mae, base_mse = (error / weight if weight else None for error in errors)
        return AmountQuality(
            examples=examples,
            positives=positives,
            mean=label / weight if weight else None,
            mae=mae,
            base_mae=base_mae,
            rmse=None if mse is None else float(np.sqrt(mse)),
            base_rmse=None if base_mse is None else float(np.sqrt(base_mse)),
            calibration=given / label if label else None,
        )

    def arrays(self) -> Arrays:
        return {"errors": self._sums, "counts": self._counts}

    def restore(self, arrays: Arrays) -> None:
        self._sums = arrays["errors"]
        self._counts = arrays["counts"]
