"""Ridge regression with an examination for each slot, the probability that a shopper looks at it."""

from typing import Final

import numpy as np

from streams.contract.arrays import Arrays, Float64Array, Int64Array

N_POSITIONS: Final = 20
PENALTY: Final = 1.0

_PRIOR_IMPRESSIONS: Final = 200.0
_PRIOR_EXAMINATION: Final = 1.0 / (1.0 + 0.1 * np.arange(N_POSITIONS))
_PRIOR_CLICK_RATE: Final = 0.05
_PRIOR_FIRST_SLOT: Final = 20.0
_LEAST_EXAMINATION: Final = 0.05
_CHUNK: Final = 256
"""Outer products in memory at once."""


class Ridge:
    """Linear model of a response: a slot's examination times ``theta`` times a vector; normal equations.

    The sums are kept for each slot, unscaled, so that a better estimate of the examination applies to past examples,
    too. Scaling each example by the estimate at its time left ``theta`` 7 % low after 12,000 examples.

    With a discount, past examples weigh less with every further example; the penalty keeps its weight.

    The first feature must be a constant 1. The penalty pulls its weight to the mean reward and all others to 0: a
    regression of rewards that are centred by their running mean.

    Args:
        discount: Factor on the weight of all past examples when the next one is learned.

    Attributes:
        weight: Sum of the weights of all examples.

    References:
        Hoerl and Kennard (1970), "Ridge regression", Technometrics 12(1); Lagrée, Vernade and Cappé (2016),
        "Multiple-play bandits in the position-based model", NeurIPS, for the scaled regression; Russac, Vernade and
        Cappé (2019), "Weighted linear bandits for non-stationary environments", NeurIPS, for the discount.
    """

    def __init__(self, n_features: int, n_slots: int, discount: float = 1.0) -> None:
        self._discount = discount
        self.weight = 0.0
        self._gram = np.zeros((n_slots, n_features, n_features))
        self._moment = np.zeros((n_slots, n_features))

    def learn_many(
        self, vectors: Float64Array, slots: Int64Array, responses: Float64Array, weights: Float64Array
    ) -> None:
        """Adds examples in their order, so that no cut of them into batches changes a bit."""
        weighted = vectors * weights[:, None]
        moments = weighted * responses[:, None]
        if self._discount < 1.0:
            self._learn_fading(vectors, weighted, moments, slots, weights)
            return
        self.weight = float(np.cumsum([self.weight, *weights])[-1])
        for slot in np.unique(slots).tolist():
            (rows,) = np.nonzero(slots == slot)
            for start in range(0, len(rows), _CHUNK):
                chunk = rows[start : start + _CHUNK]
                grams = weighted[chunk, :, None] * vectors[chunk, None, :]
                self._gram[slot] = _added(self._gram[slot], grams)
            self._moment[slot] = _added(self._moment[slot], moments[rows])

    def _learn_fading(
        self,
        vectors: Float64Array,
        weighted: Float64Array,
        moments: Float64Array,
        slots: Int64Array,
        weights: Float64Array,
    ) -> None:
        """Discounts the sums before each example is added."""
        for row, (slot, weight) in enumerate(zip(slots.tolist(), weights.tolist(), strict=True)):
            self._gram *= self._discount
            self._moment *= self._discount
            self.weight = self.weight * self._discount + weight
            self._gram[slot] += np.multiply.outer(weighted[row], vectors[row])
            self._moment[slot] += moments[row]

    def precision(self, examination: Float64Array) -> Float64Array:
        """Returns the penalised sum of outer products, ``(n_features, n_features)``: the inverse covariance."""
        scaled = self._gram * (examination * examination)[:, None, None]
        return np.asarray(scaled.sum(axis=0) + PENALTY * np.eye(self._moment.shape[1]), np.float64)

    def coefficients(self, examination: Float64Array) -> Float64Array:
        """Solves for ``theta``, ``(n_features,)``."""
        moment = (self._moment * examination[:, None]).sum(axis=0)
        shown = float((self._gram[:, 0, 0] * examination * examination).sum())
        moment[0] += PENALTY * (moment[0] / shown if shown > 0.0 else 0.0)
        return np.asarray(np.linalg.solve(self.precision(examination), moment), np.float64)

    def factor(self, examination: Float64Array) -> Float64Array:
        """Returns ``inverse(L)`` of the precision ``L L'``: ``|factor @ x|`` is the standard error of ``theta' x``."""
        lower = np.linalg.cholesky(self.precision(examination))
        return np.asarray(np.linalg.solve(lower, np.eye(len(lower))), np.float64)

    def arrays(self) -> Arrays:
        return {"gram": self._gram, "moment": self._moment, "weight": np.array([self.weight])}

    def restore(self, arrays: Arrays) -> None:
        self._gram = arrays["gram"]
        self._moment = arrays["moment"]
        self.weight = float(arrays["weight"][0])


def examination(shown: Float64Array, clicked: Float64Array) -> Float64Array:
    """Estimates each slot's examination relative to the first, from impressions and clicks of the control group.

    Args:
        shown: Impressions, ``(n_positions,)``.
        clicked: Clicks, ``(n_positions,)``.

    Returns:
        ``(n_positions,)`` between 0.05 and 1, the first exactly 1. A slot that was seldom shown stays near its prior,
        which weighs as much as 200 impressions.

    References:
        Richardson, Dominowska and Ragno (2007), "Predicting clicks", WWW, on examination by position.

    >>> examination(np.zeros(20), np.zeros(20))[:2].round(3).tolist()
    [1.0, 0.909]
    """
    first_rate = (clicked[0] + _PRIOR_FIRST_SLOT * _PRIOR_CLICK_RATE) / (shown[0] + _PRIOR_FIRST_SLOT)
    looked = clicked / first_rate + _PRIOR_IMPRESSIONS * _PRIOR_EXAMINATION
    estimate: Float64Array = np.clip(looked / (shown + _PRIOR_IMPRESSIONS), _LEAST_EXAMINATION, 1.0)
    estimate[0] = 1.0
    return estimate


def _added(total: Float64Array, terms: Float64Array) -> Float64Array:
    """Adds ``(n, ...)`` to ``(...)`` one by one: along the first axis numpy sums in order, not by pairs."""
    return np.asarray(np.add.reduce(np.concatenate([total[None], terms])), np.float64)
