"""Quality of an observer's predictions, from what was given and the labels."""

from typing import Final

import msgspec
import numpy as np

from producers.simulator.population import Floats

_LEAST: Final = 1e-6
"""No prediction is taken for certain."""


class AttainableProbability(msgspec.Struct, frozen=True, kw_only=True):
    """Best attainable quality of a target with labels 0 and 1; the fields are those of the workers' metrics."""

    examples: int
    positives: int
    auc: float | None
    log_loss: float | None
    base_log_loss: float | None
    calibration: float | None


class AttainableAmount(msgspec.Struct, frozen=True, kw_only=True):
    """Best attainable quality of a target whose labels are amounts.

    Attributes:
        deviance: Mean Tweedie deviance of power 1.5; ``base_deviance`` is that of the mean amount.
    """

    examples: int
    positives: int
    rmse: float | None
    base_rmse: float | None
    deviance: float | None
    base_deviance: float | None
    calibration: float | None


def probability_quality(given: Floats, labels: Floats) -> AttainableProbability:
    """Measures probabilities of label 1."""
    given = np.clip(given, _LEAST, 1.0 - _LEAST)
    rate = float(labels.mean())
    is_both = 0.0 < rate < 1.0
    return AttainableProbability(
        examples=len(labels),
        positives=int(labels.sum()),
        auc=auc(given, labels) if is_both else None,
        log_loss=_log_loss(given, labels),
        base_log_loss=_log_loss(np.full(len(labels), rate), labels) if is_both else None,
        calibration=float(given.sum() / labels.sum()) if rate else None,
    )


def amount_quality(given: Floats, labels: Floats) -> AttainableAmount:
    """Measures expected amounts."""
    given = np.maximum(given, _LEAST)
    mean = np.full(len(labels), labels.mean())
    is_spent = bool(labels.any())
    return AttainableAmount(
        examples=len(labels),
        positives=int((labels > 0.0).sum()),
        rmse=float(np.sqrt(np.mean((given - labels) ** 2))),
        base_rmse=float(np.sqrt(np.mean((mean - labels) ** 2))),
        deviance=_deviance(given, labels),
        base_deviance=_deviance(mean, labels) if is_spent else None,
        calibration=float(given.sum() / labels.sum()) if is_spent else None,
    )


def auc(given: Floats, labels: Floats) -> float:
    """Returns the probability that a positive was scored above a negative; ties count half.

    >>> auc(np.array([0.1, 0.4, 0.4, 0.8]), np.array([0.0, 0.0, 1.0, 1.0]))
    0.875
    """
    positives, negatives = np.sort(given[labels > 0.5]), np.sort(given[labels <= 0.5])
    below = np.searchsorted(negatives, positives, "left") + np.searchsorted(negatives, positives, "right")
    return float(below.sum() / 2.0 / (len(positives) * len(negatives)))


def _log_loss(given: Floats, labels: Floats) -> float:
    return float(-np.mean(np.log(np.where(labels > 0.5, given, 1.0 - given))))


def _deviance(given: Floats, labels: Floats) -> float:
    return float(np.mean(4.0 * (np.sqrt(given) - np.sqrt(labels)) ** 2 / np.sqrt(given)))
