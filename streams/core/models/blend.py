"""Blend: a model that combines the log-odds of a target's other models with learned weights (stacking)."""

from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np

from streams.contract.arrays import Arrays, Float64Array
from streams.core.models.newton import OnlineNewton

BLEND: Final = "blend"
"""The one of :data:`~streams.contract.settings.targets.MODELS` that combines the others."""

_BOUND: Final = 30.0
_SMALLEST: Final = 1e-13
_VARIANCE: Final = 0.02
_MEMORY: Final = 20_000.0
_INTERCEPT: Final = "intercept"


class BlendLearner:
    """Logistic regression on the log-odds that the other models served; it starts as their mean.

    It learns only from what was served before the label existed, so an overfitted model gains no weight.

    Args:
        models: Names of the combined models.
        prior: Probability that each of them serves before it has learned.

    References:
        Wolpert (1992), "Stacked generalization", Neural Networks 5(2); Jacobs (1995), "Methods for combining experts'
        probability assessments", Neural Computation 7(5), section 2.1, for pooling in log-odds.
    """

    def __init__(self, models: Sequence[str], prior: float) -> None:
        self._models = tuple(models)
        self._prior = prior
        start = np.concatenate([[0.0], np.full(len(models), 1.0 / max(len(models), 1))])
        self._newton = OnlineNewton(start, np.full(len(start), _VARIANCE), _MEMORY)

    def learn_many(
        self, models: Sequence[str], probabilities: Float64Array, labels: Float64Array, weights: Float64Array
    ) -> None:
        """Learns example by example; skips an example that one of the models did not score.

        It also skips an example for which all models served the prior: the intercept would learn the base rate in
        their place, and the base rate would count twice once the models have learned it.

        Args:
            models: Names of the columns.
            probabilities: As served, ``(n, n_models)``; NaN for a model that did not exist.
        """
        if not set(self._models) <= set(models):
            return
        given = probabilities[:, [list(models).index(model) for model in self._models]]
        usable = ~np.isnan(given).any(axis=1) & (given != self._prior).any(axis=1)
        kept = np.clip(given[usable], _SMALLEST, 1.0 - _SMALLEST)
        inputs = np.column_stack([np.ones(len(kept)), np.log(kept / (1.0 - kept))])
        self._newton.learn_many(inputs, labels[usable], weights[usable])

    def parameters(self) -> Arrays:
        """Exports what scoring needs: a weight for each model, and the intercept."""
        return {name: self._newton.mean[[place]] for place, name in enumerate((_INTERCEPT, *self._models))}

    def arrays(self) -> Arrays:
        return self._newton.arrays()

    def restore(self, arrays: Arrays) -> None:
        # The weights belong to a set of models: for another number of models it starts anew.
        if len(arrays["mean"]) == len(self._newton.mean):
            self._newton.restore(arrays)


def blend_logits(logits: Mapping[str, Float64Array], parameters: Arrays) -> Float64Array:
    """Combines the log-odds of models, ``(n,)`` each."""
    blended = np.full(len(next(iter(logits.values()))), parameters[_INTERCEPT][0])
    for model in logits:
        if model in parameters:
            blended += np.clip(logits[model], -_BOUND, _BOUND) * parameters[model][0]
    return blended
