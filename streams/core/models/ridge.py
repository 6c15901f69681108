"""Ridge regression behind slots that are looked at more or less: normal equations, accumulated example by example."""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from streams.contract.arrays import Arrays

Float64Array = NDArray[np.float64]
Int64Array = NDArray[np.int64]

PENALTY: Final = 1.0

_AT_ONCE: Final = 256
"""Outer products that are held at once."""


class Ridge:
    """Models a response as a slot's examination times ``theta`` times a vector.

    The sums are kept for each slot, unscaled: an estimate of the examination that improves then applies to every past
    example. Scaling each example by the estimate of its moment left ``theta`` 7 % low after 12,000 examples.

    With a discount, what has been learned weighs less with every further example, and the penalty does not.

    Args:
        discount: What an example still weighs when the next one is learned.

    Attributes:
        weight: Of all examples together.

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
        """Adds examples in their order, so that no cut of them into batches changes a bit.

        Args:
            vectors: ``(n, n_features)``.
            slots: ``(n,)``.
            responses: ``(n,)``.
            weights: ``(n,)``.
        """
        weighted = vectors * weights[:, None]
        moments = weighted * responses[:, None]
        if self._discount < 1.0:
            self._learn_fading(vectors, weighted, moments, slots, weights)
            return
        self.weight = float(np.cumsum([self.weight, *weights])[-1])
        for slot in np.unique(slots).tolist():
            (rows,) = np.nonzero(slots == slot)
            for start in range(0, len(rows), _AT_ONCE):
                some = rows[start : start + _AT_ONCE]
                grams = weighted[some, :, None] * vectors[some, None, :]
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
        """Lets everything fade before each example is added."""
        for row, (slot, weight) in enumerate(zip(slots.tolist(), weights.tolist(), strict=True)):
            self._gram *= self._discount
            self._moment *= self._discount
            self.weight = self.weight * self._discount + weight
            self._gram[slot] += np.multiply.outer(weighted[row], vectors[row])
            self._moment[slot] += moments[row]

    def precision(self, examination: Float64Array) -> Float64Array:
        """Returns the penalised sum of outer products, ``(n_features, n_features)``: its inverse covariance.

        Args:
            examination: ``(n_slots,)``.
        """
        scaled = self._gram * (examination * examination)[:, None, None]
        return np.asarray(scaled.sum(axis=0) + PENALTY * np.eye(self._moment.shape[1]), np.float64)

    def coefficients(self, examination: Float64Array) -> Float64Array:
        """Solves for ``theta``, ``(n_features,)``.

        Args:
            examination: ``(n_slots,)``.
        """
        moment = (self._moment * examination[:, None]).sum(axis=0)
        return np.asarray(np.linalg.solve(self.precision(examination), moment), np.float64)

    def factor(self, examination: Float64Array) -> Float64Array:
        """Returns ``inverse(L)`` of the precision ``L L'``: the length of ``factor @ x`` is how unsure ``theta' x`` is.

        Args:
            examination: ``(n_slots,)``.
        """
        lower = np.linalg.cholesky(self.precision(examination))
        return np.asarray(np.linalg.solve(lower, np.eye(len(lower))), np.float64)

    def arrays(self) -> Arrays:
        return {"gram": self._gram, "moment": self._moment, "weight": np.array([self.weight])}

    def restore(self, arrays: Arrays) -> None:
        self._gram = arrays["gram"]
        self._moment = arrays["moment"]
        self.weight = float(arrays["weight"][0])


def _added(total: Float64Array, terms: Float64Array) -> Float64Array:
    """Adds ``(n, ...)`` to ``(...)`` one after the other: along the first axis numpy sums in order, not by pairs."""
    return np.asarray(np.add.reduce(np.concatenate([total[None], terms])), np.float64)
