"""The member that combines the others: their log-odds, weighted by how well they have done together."""

from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from streams.contract.arrays import Arrays
from streams.core.models.newton import OnlineNewton

Float64Array = NDArray[np.float64]

BLEND: Final = "blend"

_BOUND: Final = 30.0
_SMALLEST: Final = 1e-13
_VARIANCE: Final = 0.02
_MEMORY: Final = 20_000.0
_INTERCEPT: Final = "intercept"


class BlendLearner:
    """Starts as the mean of the members' log-odds, and learns the weights from what each of them had served.

    It never sees a feature or a label early: a member that has learned its examples by heart gains nothing by it.

    Args:
        members: Those it combines.
        prior: What all of them serve before they have learned anything.

    References:
        Wolpert (1992), "Stacked generalization", Neural Networks 5(2); Jacobs (1995), "Methods for combining experts'
        probability assessments", Neural Computation 7(5), section 2.1, for pooling in log-odds.
    """

    def __init__(self, members: Sequence[str], prior: float) -> None:
        self._members = tuple(members)
        self._prior = prior
        start = np.concatenate([[0.0], np.full(len(members), 1.0 / max(len(members), 1))])
        self._newton = OnlineNewton(start, np.full(len(start), _VARIANCE), _MEMORY)

    def learn_many(
        self, members: Sequence[str], probabilities: Float64Array, labels: Float64Array, weights: Float64Array
    ) -> None:
        """Learns example by example; an example that was served without one of the members teaches nothing.

        Neither does one that all of them served the prior: what they had not said yet, the intercept would learn to
        say, and would say it once more when they do.

        Args:
            members: Names of the columns.
            probabilities: As served, ``(n, n_members)``; NaN for a member that did not exist.
            labels: 0 or 1, ``(n,)``.
            weights: ``(n,)``.
        """
        if not set(self._members) <= set(members):
            return
        given = probabilities[:, [list(members).index(member) for member in self._members]]
        whole = ~np.isnan(given).any(axis=1) & (given != self._prior).any(axis=1)
        kept = np.clip(given[whole], _SMALLEST, 1.0 - _SMALLEST)
        inputs = np.column_stack([np.ones(len(kept)), np.log(kept / (1.0 - kept))])
        self._newton.learn_many(inputs, labels[whole], weights[whole])

    def parameters(self) -> Arrays:
        """What scoring needs: a weight for each member, and the intercept."""
        return {name: self._newton.mean[[place]] for place, name in enumerate((_INTERCEPT, *self._members))}

    def arrays(self) -> Arrays:
        """Everything it learns from here on with."""
        return self._newton.arrays()

    def restore(self, arrays: Arrays) -> None:
        # Of another set of members the weights would mean other things: it starts anew.
        if len(arrays["mean"]) == len(self._newton.mean):
            self._newton.restore(arrays)


def blend_logits(logits: Mapping[str, Float64Array], parameters: Arrays) -> Float64Array:
    """Combines the log-odds of members, ``(n,)`` each."""
    blended: Float64Array = sum(
        (np.clip(logits[member], -_BOUND, _BOUND) * parameters[member][0] for member in logits if member in parameters),
        np.full(len(next(iter(logits.values()))), parameters[_INTERCEPT][0]),
    )
    return blended


def blend_contributions(contributions: Mapping[str, Float64Array], parameters: Arrays) -> Float64Array:
    """Adds up what each feature moved each member, ``(n, n_features)``, by the members' weights."""
    return np.asarray(sum(moved * parameters[member][0] for member, moved in contributions.items()), np.float64)
