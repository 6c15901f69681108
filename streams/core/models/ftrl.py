"""Scoring by a linear model of the features and of products of some of them."""

import numpy as np

from streams.contract.arrays import Arrays, Float64Array, Int64Array


def crossed(scaled: Float64Array, crosses: Int64Array) -> Float64Array:
    """Appends the products of the crossed features, ``(n, n_features + n_crosses)``."""
    return np.hstack([scaled, scaled[:, crosses[:, 0]] * scaled[:, crosses[:, 1]]])


def ftrl_logits(scaled: Float64Array, parameters: Arrays) -> Float64Array:
    """Scores rows of ``(n, n_features)``, C order; a row's score has the same bits in any batch."""
    products = crossed(scaled, parameters["crosses"]) * parameters["weights"]
    logits: Float64Array = products.sum(axis=1) + parameters["intercept"][0]
    return logits


def ftrl_contributions(scaled: Float64Array, parameters: Arrays) -> Float64Array:
    """Returns what each feature adds to a row's log-odds, ``(n, n_features)``; a cross is split between its two."""
    crosses, n_features = parameters["crosses"], scaled.shape[1]
    products = crossed(scaled, crosses) * parameters["weights"]
    moved: Float64Array = products[:, :n_features].copy()
    for place, pair in enumerate(crosses.tolist(), start=n_features):
        for feature in pair:
            moved[:, feature] += products[:, place] / 2.0
    return moved
