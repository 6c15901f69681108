"""How good the served probabilities of one member have been so far: all of it from sums that fit into a row."""

from typing import Any, Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from streams.contract.arrays import Arrays
from streams.core.models.logistic import probabilities as probabilities_of

Float64Array = NDArray[np.float64]

_BINS: Final = 1024
_STEP: Final = 1.0 / 32.0
_LOWEST_LOGIT: Final = -_BINS * _STEP / 2.0
_CERTAIN: Final = 1e-15
_AT_THRESHOLD: Final = ("accuracy", "precision", "recall", "f1", "threshold")


class Quality(msgspec.Struct, frozen=True):
    """What the sums say; ``None`` where nothing can be said yet.

    Attributes:
        examples: Probabilities that were measured.
        auc: Probability that a positive was scored above a negative.
        log_loss: Weighted mean, nats.
        base_log_loss: Of the observed rate of positives, given to everything: what a useful model is below.
        calibration: Sum of the probabilities by the sum of the labels; 1 is right, 2 says everything twice too often.
        threshold: Probability from which on predicting a positive has had the best F1; the four before are at it.
    """

    examples: int
    positives: int
    auc: float | None
    log_loss: float | None
    base_log_loss: float | None
    calibration: float | None
    accuracy: float | None
    precision: float | None
    recall: float | None
    f1: float | None
    threshold: float | None


class Evaluation:
    """Progressive validation: probabilities that were made before their labels existed.

    Scores are counted on a grid of log-odds, a thirty-second apart. A grid of probabilities would put all scores of a
    rare target into its first cells; in log-odds a change of the base rate moves the scores along and keeps them apart.
    All sums run in the order of the examples, so that no partition into batches changes a bit.

    References:
        Gama, Sebastião and Rodrigues (2013), "On evaluating stream learning algorithms", Machine Learning 90(3).
    """

    def __init__(self) -> None:
        self._positives = np.zeros(_BINS)
        self._negatives = np.zeros(_BINS)
        self._sums = np.zeros(4)
        self._counts = np.zeros(2, np.int64)

    def update(self, probabilities: Float64Array, labels: Float64Array, weights: Float64Array) -> None:
        """Counts a batch.

        Args:
            probabilities: ``(n,)``, as served; NaN where the member did not exist, which leaves the example out.
            labels: 0 or 1, ``(n,)``.
            weights: ``(n,)``.
        """
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

    def quality(self) -> Quality:
        """Reads the sums."""
        weight, positive_weight, probability, loss = self._sums.tolist()
        examples, positives = self._counts.tolist()
        rate = positive_weight / weight if weight else 0.0
        best = self._best() if positive_weight else dict.fromkeys(_AT_THRESHOLD)
        return Quality(
            examples=examples,
            positives=positives,
            auc=self._auc() if 0.0 < rate < 1.0 else None,
            log_loss=loss / weight if weight else None,
            base_log_loss=_entropy(rate) if weight else None,
            calibration=probability / positive_weight if positive_weight else None,
            **best,
        )

    def arrays(self) -> Arrays:
        return {
            "positives": self._positives,
            "negatives": self._negatives,
            "sums": self._sums,
            "counts": self._counts,
        }

    def restore(self, arrays: Arrays) -> None:
        self._positives = arrays["positives"]
        self._negatives = arrays["negatives"]
        self._sums = arrays["sums"]
        self._counts = arrays["counts"]

    def _auc(self) -> float:
        """Counts pairs of a positive and a negative by cells; two of one cell count half."""
        below = np.cumsum(self._negatives) - self._negatives
        won = float((self._positives * (below + self._negatives / 2.0)).sum())
        return won / float(self._positives.sum() * self._negatives.sum())

    def _best(self) -> dict[str, Any]:
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
    return float(-sum(share * np.log(share) for share in (rate, 1.0 - rate) if share > 0.0))
