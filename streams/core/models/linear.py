"""Scoring by the linear model."""

from streams.contract.arrays import Arrays, Float64Array


def linear_logits(scaled: Float64Array, parameters: Arrays) -> Float64Array:
    """Scores rows of ``(n, n_features)``, C order; a row's score has the same bits in any batch."""
    logits: Float64Array = contributions(scaled, parameters).sum(axis=1) + parameters["intercept"][0]
    return logits


def contributions(scaled: Float64Array, parameters: Arrays) -> Float64Array:
    """Returns what each feature adds to a row's log-odds, ``(n, n_features)``, relative to an average shopper."""
    return scaled * parameters["weights"]
