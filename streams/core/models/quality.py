"""Quality of the probabilities or amounts that one model has served so far, from sums that fit into a row."""

from typing import Any, Final

import numpy as np

from streams.contract.arrays import Arrays, Float64Array
from streams.contract.metrics import AmountQuality, ProbabilityQuality, ReliabilityBin
from streams.core.models.logistic import probabilities as probabilities_of
from streams.core.sums import float_sum

_BINS: Final = 1024
_STEP: Final = 1.0 / 32.0
_LOWEST_LOGIT: Final = -_BINS * _STEP / 2.0
_CERTAIN: Final = 1e-15
_RELIABILITY_BINS: Final = 10
_SMALLEST_AMOUNT: Final = 1e-9
_AT_THRESHOLD: Final = ("accuracy", "precision", "recall", "f1", "threshold")


class Evaluation:
    """Progressive validation of probabilities that were predicted before their labels existed.

    Scores are counted on a grid of log-odds with steps of 1/32. A grid of probabilities would put all scores of a
    rare target into its first cells; on log-odds a change of the base rate only shifts the scores.
    All sums run in the order of the examples, so that no cut into batches changes a bit.

    References:
        Gama, Sebastião and Rodrigues (2013), "On evaluating stream learning algorithms", Machine Learning 90(3).
    """

    def __init__(self) -> None:
        self._positives = np.zeros(_BINS)
        self._negatives = np.zeros(_BINS)
        self._sums = np.zeros(4)
        self._counts = np.zeros(2, np.int64)

    def update(self, probabilities: Float64Array, labels: Float64Array, weights: Float64Array) -> None:
        """Adds a batch as served, with NaN where the model did not exist: such an example is left out."""
        served = ~np.isnan(probabilities)
        given = np.clip(probabilities[served], _CERTAIN, 1.0 - _CERTAIN)
        labels, weights = labels[served], weights[served]
        positive = labels > 0.5
        losses = -np.log(np.where(positive, given, 1.0 - given))
        cells = np.clip((np.log(given / (1.0 - given)) - _LOWEST_LOGIT) / _STEP, 0, _BINS - 1).astype(np.int64)
        np.add.at(self._positives, cells[positive], weights[positive])
        np.add.at(self._negatives, cells[~positive], weights[~positive])
        terms = np.column_stack([weights, weights * positive, weights * given, weights * losses])
        self._sums = np.cumsum(np.concatenate([self._sums[None], terms]), axis=0)[-1].copy()
        self._counts += (len(given), int(positive.sum()))

    def quality(self) -> ProbabilityQuality:
        """Computes the measures from the sums."""
        weight, positive_weight, probability, loss = self._sums.tolist()
        examples, positives = self._counts.tolist()
        rate = positive_weight / weight if weight else 0.0
        best = self._at_best_threshold() if positive_weight else dict.fromkeys(_AT_THRESHOLD)
        return ProbabilityQuality(
            examples=examples,
            positives=positives,
            auc=self._auc() if 0.0 < rate < 1.0 else None,
            log_loss=loss / weight if weight else None,
            base_log_loss=_entropy(rate) if weight else None,
            calibration=probability / positive_weight if positive_weight else None,
            **best,
        )

    def reliability(self) -> list[ReliabilityBin]:
        """Compares what was served with what came of it, in bins of about equally many predictions.

        A score counts as the middle of its cell of the grid.

        References:
            Bröcker and Smith (2007), "Increasing the reliability of reliability diagrams", Weather and Forecasting 22.
        """
        weights = self._positives + self._negatives
        total = float(weights.sum())
        if not total:
            return []
        middles = probabilities_of(_LOWEST_LOGIT + _STEP * np.arange(0.5, _BINS, dtype=np.float64))
        places = np.minimum((np.cumsum(weights) - weights / 2.0) / total * _RELIABILITY_BINS, _RELIABILITY_BINS - 1)
        columns = np.column_stack([weights, weights * middles, self._positives])
        sums = np.zeros((_RELIABILITY_BINS, 3))
        np.add.at(sums, places.astype(np.int64), columns)
        return [ReliabilityBin(served / n, hits / n, n) for n, served, hits in sums.tolist() if n]

    def arrays(self) -> Arrays:
        return {"positives": self._positives, "negatives": self._negatives, "sums": self._sums, "counts": self._counts}

    def restore(self, arrays: Arrays) -> None:
        self._positives = arrays["positives"]
        self._negatives = arrays["negatives"]
        self._sums = arrays["sums"]
        self._counts = arrays["counts"]

    def _auc(self) -> float:
        """Counts pairs of a positive and a negative by cells; a pair within one cell counts half."""
        below = np.cumsum(self._negatives) - self._negatives
        won = float((self._positives * (below + self._negatives / 2.0)).sum())
        return won / float(self._positives.sum() * self._negatives.sum())

    def _at_best_threshold(self) -> dict[str, Any]:
        """Tries every cell's lower end as the threshold."""
        hits = np.cumsum(self._positives[::-1])[::-1]
        alarms = np.cumsum(self._negatives[::-1])[::-1]
        n_positives, n_negatives = hits[0], alarms[0]
        f1 = 2.0 * hits / (hits + alarms + n_positives)
        cell = int(np.argmax(f1))
        right = hits[cell] + n_negatives - alarms[cell]
        return {
            "accuracy": float(right / (n_positives + n_negatives)),
            "precision": float(hits[cell] / (hits[cell] + alarms[cell])),
            "recall": float(hits[cell] / n_positives),
            "f1": float(f1[cell]),
            "threshold": float(probabilities_of(np.array([_LOWEST_LOGIT + cell * _STEP]))[0]),
        }


def _entropy(rate: float) -> float:
    return float(-float_sum(share * np.log(share) for share in (rate, 1.0 - rate) if share > 0.0))


class AmountEvaluation:
    """Progressive validation of amounts that were served before their labels existed, and of the mean as a baseline.

    The first example has no earlier mean; the served amount stands in for it. All sums run in the order of the
    examples.
    """

    def __init__(self) -> None:
        self._sums = np.zeros(7)
        self._counts = np.zeros(2, np.int64)

    def update(self, given: Float64Array, labels: Float64Array, weights: Float64Array) -> None:
        """Adds a batch as served, with NaN where the model did not exist: such an example is left out."""
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
        """Computes the measures from the sums."""
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


def deviances(given: Float64Array, labels: Float64Array) -> Float64Array:
    """Returns each example's Tweedie deviance of power 1.5; the mean minimises it, also for amounts often zero.

    References:
        Jørgensen (1987), "Exponential dispersion models", JRSS B 49(2), section 4; Gneiting (2011), "Making and
        evaluating point forecasts", JASA 106(494), section 3.1, for losses that the mean minimises.

    >>> deviances(np.array([4.0, 4.0]), np.array([4.0, 0.0])).tolist()
    [0.0, 8.0]
    """
    roots = np.sqrt(np.maximum(given, _SMALLEST_AMOUNT))
    return 4.0 * (np.sqrt(labels) - roots) ** 2 / roots
