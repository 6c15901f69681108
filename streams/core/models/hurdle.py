"""Hurdle model of an amount: the probability of an amount above zero, times the expected size of such an amount."""

from math import log
from typing import Final

import numpy as np

from streams.contract.arrays import Arrays, Float64Array
from streams.core.models.logistic import log_odds, probabilities
from streams.core.models.newton import OnlineLeastSquares, OnlineNewton

FIRST_SHARE: Final = 0.1
"""Initial share of examples with an amount above zero; the prior is this share times the initial amount."""

_SHARE_VARIANCE: Final = 0.01
_AMOUNT_VARIANCE: Final = 0.003
_FIRST_AMOUNT_VARIANCE: Final = 4.0
_NOISE: Final = 0.4
"""Initial variance of the logarithm of an amount around its prediction."""

_WIDEST: Final = 3.0
_MEMORY: Final = 50_000.0
_BOUND: Final = 30.0
_MIN_SCORE: Final = 1e-9
"""Below this score the slope is used: the quotient of two tiny differences would be rounding noise."""


class HurdleLearner:
    """Logistic regression of "above zero", and least squares of the logarithm of amounts above zero.

    Both take online Newton steps on the same vectors. The expected amount is the exponential of the expected logarithm
    plus half its variance, as of a lognormal. Squared error of the logarithm gives the same model in any currency, and
    one purchase of a hundred times the usual size does not move it far. A gamma regression with a log link is moved
    far by it, and measured worse, too.

    Args:
        prior: Initial amount.

    References:
        Cragg (1971), "Some statistical models for limited dependent variables with application to the demand for
        durable goods", Econometrica 39(5); Duan, Manning, Morris and Newhouse (1983), "A comparison of alternative
        models for the demand for medical care", Journal of Business & Economic Statistics 1(2), sections 3 and 4.
    """

    def __init__(self, n_features: int, prior: float) -> None:
        n_inputs = 1 + n_features
        mean, variance = np.zeros(n_inputs), np.full(n_inputs, _SHARE_VARIANCE)
        mean[0], variance[0] = log_odds(FIRST_SHARE), 1.0
        self._share = OnlineNewton(mean, variance, _MEMORY)
        mean, variance = np.zeros(n_inputs), np.full(n_inputs, _AMOUNT_VARIANCE)
        mean[0], variance[0] = log(prior / FIRST_SHARE) - _NOISE / 2.0, _FIRST_AMOUNT_VARIANCE
        self._amount = OnlineLeastSquares(mean, variance, _MEMORY, noise=_NOISE, widest=_WIDEST)
        self._spread = np.array([1.0, _NOISE])

    def learn_many(self, scaled: Float64Array, labels: Float64Array, weights: Float64Array) -> None:
        """Learns example by example.

        Args:
            scaled: ``(n, n_features)``.
            labels: Amounts, 0 or more, ``(n,)``.
            weights: ``(n,)``.
        """
        inputs = np.hstack([np.ones((len(scaled), 1)), scaled])
        self._share.learn_many(inputs, (labels > 0.0).astype(np.float64), weights)
        for place in np.flatnonzero(labels > 0.0).tolist():
            one = slice(place, place + 1)
            logarithm, weight = np.log(labels[one]), float(weights[place])
            distance = float(logarithm[0]) - float(np.dot(inputs[place], self._amount.mean))
            self._spread = self._spread + np.array([1.0, min(distance * distance, _WIDEST**2)]) * weight
            self._amount.learn_many(inputs[one], logarithm, weights[one])

    def parameters(self) -> Arrays:
        share, amount = self._share.mean, self._amount.mean
        return {
            "share_intercept": share[:1].copy(),
            "share_weights": share[1:].copy(),
            "amount_intercept": amount[:1] + self._half_variance,
            "amount_weights": amount[1:].copy(),
        }

    def arrays(self) -> Arrays:
        share = {f"share_{name}": array for name, array in self._share.arrays().items()}
        amount = {f"amount_{name}": array for name, array in self._amount.arrays().items()}
        return share | amount | {"spread": self._spread}

    def restore(self, arrays: Arrays) -> None:
        for part, model in (("share_", self._share), ("amount_", self._amount)):
            model.restore({name.removeprefix(part): array for name, array in arrays.items() if name.startswith(part)})
        self._spread = arrays["spread"]

    @property
    def _half_variance(self) -> float:
        return float(self._spread[1] / self._spread[0]) / 2.0


def hurdle_logits(scaled: Float64Array, parameters: Arrays) -> Float64Array:
    """Returns the logarithm of the expected amount of rows of ``(n, n_features)``, with the same bits in any batch."""
    share = (scaled * parameters["share_weights"]).sum(axis=1) + parameters["share_intercept"][0]
    amount = (scaled * parameters["amount_weights"]).sum(axis=1) + parameters["amount_intercept"][0]
    logits: Float64Array = np.log(probabilities(share)) + amount
    return logits


def hurdle_contributions(scaled: Float64Array, parameters: Arrays) -> Float64Array:
    """Returns what each feature adds to the logarithm of a row's amount, ``(n, n_features)``.

    A contribution to the log-odds of "above zero" is rescaled to one to the logarithm of its probability (DeepLIFT's
    rescale rule), so that the contributions sum to the difference in the logarithm.
    """
    moved: Float64Array = scaled * parameters["share_weights"]
    intercept = parameters["share_intercept"][0]
    total = moved.sum(axis=1)
    rise = np.log(probabilities(total + intercept)) - np.log(probabilities(np.array([intercept])))[0]
    tiny = np.abs(total) < _MIN_SCORE
    slope = np.where(tiny, 1.0 - probabilities(np.array([intercept]))[0], rise / np.where(tiny, 1.0, total))
    moved *= slope[:, None]
    moved += scaled * parameters["amount_weights"]
    return moved


def amounts(logits: Float64Array) -> Float64Array:
    """Turns logarithms into amounts, neither 0 nor infinite."""
    return np.exp(np.clip(logits, -_BOUND, _BOUND))
