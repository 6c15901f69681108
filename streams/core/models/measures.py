"""Exact measures of a whole run's probabilities; :mod:`.quality` approximates them by sums that fit into a row."""

import numpy as np

from streams.contract.arrays import Float64Array

_CERTAIN = 1e-15


def auc(given: Float64Array, labels: Float64Array) -> float:
    """Returns the probability that a positive was scored above a negative; ties count half.

    >>> auc(np.array([0.1, 0.4, 0.4, 0.8]), np.array([0.0, 0.0, 1.0, 1.0]))
    0.875
    """
    _, cells, counts = np.unique(given, return_inverse=True, return_counts=True)
    ranks = np.cumsum(counts) - (counts - 1) / 2.0
    positive = labels > 0.5
    n_positives, n_negatives = int(positive.sum()), int((~positive).sum())
    return float((ranks[cells[positive]].sum() - n_positives * (n_positives + 1) / 2.0) / (n_positives * n_negatives))


def average_precision(given: Float64Array, labels: Float64Array) -> float:
    """Returns the mean, over the positives, of the precision at their score; tied scores share one threshold.

    >>> average_precision(np.array([0.9, 0.8, 0.7]), np.array([1.0, 0.0, 1.0])).__round__(4)
    0.8333
    """
    order = np.argsort(-given, kind="stable")
    sorted_labels, sorted_given = labels[order], given[order]
    last = np.append(np.flatnonzero(np.diff(sorted_given)), len(given) - 1)
    hits = np.cumsum(sorted_labels)[last]
    precision = hits / (last + 1.0)
    return float((np.diff(hits, prepend=0.0) * precision).sum() / labels.sum())


def losses(given: Float64Array, labels: Float64Array) -> Float64Array:
    """Returns each example's log loss, nats."""
    kept = np.clip(given, _CERTAIN, 1.0 - _CERTAIN)
    return -np.log(np.where(labels > 0.5, kept, 1.0 - kept))


def brier(given: Float64Array, labels: Float64Array) -> float:
    """Returns the mean squared difference of probability and label."""
    return float(((given - labels) ** 2).mean())


def calibration(given: Float64Array, labels: Float64Array) -> float:
    """Returns the sum of the probabilities divided by the number of positives; 1 is right."""
    return float(given.sum() / labels.sum())
