"""Selection of the champion among a target's models, by the loss of what each predicted before the labels existed."""

from collections.abc import Callable, Sequence
from typing import Final

import numpy as np
from scipy.signal import lfilter

from streams.contract.arrays import Arrays, Float64Array
from streams.core.models.measures import losses

FADING_EXAMPLES: Final = 3000.0
"""Number of later examples after which an example's weight has fallen to 1 / e."""

STANDARD_ERRORS: Final = 2.0
LEAST_EXAMPLES: Final = 300.0
"""Effective number of faded examples that a challenger needs before it can become the champion."""

_FADE: Final = 1.0 - 1.0 / FADING_EXAMPLES
_FADES: Final = (_FADE, _FADE, _FADE * _FADE, _FADE * _FADE, _FADE * _FADE)


Losses = Callable[[Float64Array, Float64Array], Float64Array]


class ChampionSelection:
    """Paired comparison of each challenger's loss with the champion's, on the same examples.

    The champion changes at the first example at which a challenger's mean advantage exceeds two standard errors; then
    all comparisons begin anew, against the new champion. Sums run in stream order, so that the result does not depend
    on how the examples are cut into batches.

    Args:
        models: Names; the first one is the champion at the start.
        loss: Loss of served values and labels, both ``(n,)``.

    References:
        Gama, Sebastião and Rodrigues (2013), "On evaluating stream learning algorithms", Machine Learning 90(3),
        section 3.3 (fading factors); Dietterich (1998), "Approximate statistical tests for comparing supervised
        classification learning algorithms", Neural Computation 10(7), for pairing.
    """

    def __init__(self, models: Sequence[str], loss: Losses = losses) -> None:
        self._models = tuple(models)
        self._loss = loss
        self._sums = np.zeros((len(_FADES), len(models)))
        self.champion = models[0]
        self.switches = 0

    def update(
        self, models: Sequence[str], probabilities: Float64Array, labels: Float64Array, weights: Float64Array
    ) -> int:
        """Adds a batch up to the example that changes the champion; returns the number of examples added.

        Args:
            models: Names of the columns.
            probabilities: As served, ``(n, n_models)``; NaN for a model that did not exist: it is not compared.
        """
        served = [model for model in self._models if model in models]
        if self.champion not in served:
            return len(labels)
        model_losses = np.full((len(labels), len(self._models)), np.nan)
        for model in served:
            model_losses[:, self._models.index(model)] = self._loss(probabilities[:, list(models).index(model)], labels)
        advantages = model_losses[:, [self._models.index(self.champion)]] - model_losses
        compared = ~np.isnan(advantages)
        gains, shares = np.where(compared, advantages, 0.0), compared * weights[:, None]
        terms = (shares * gains, shares, shares**2 * gains**2, shares**2 * gains, shares**2)
        running = np.stack(
            [
                lfilter([1.0], [1.0, -fade], term, axis=0, zi=fade * before[None])[0]
                for fade, term, before in zip(_FADES, terms, self._sums, strict=True)
            ],
            axis=1,
        )
        better = _advantages(running)
        overtaken = np.flatnonzero((better > 0.0).any(axis=1))
        if not len(overtaken):
            self._sums = running[-1].copy()
            return len(labels)
        place = int(overtaken[0])
        self.hand_over(self._models[int(np.argmax(better[place]))])
        return place + 1

    def best(self, models: Sequence[str]) -> str:
        """Returns the one of ``models`` with the smallest faded loss, or the first if none was compared yet."""
        places = [self._models.index(model) for model in models]
        gain, share = self._sums[0, places], self._sums[1, places]
        mean = np.where(share > 0.0, gain / np.where(share > 0.0, share, 1.0), -np.inf)
        return models[int(np.argmax(mean))]

    def hand_over(self, model: str) -> None:
        """Makes another model the champion and restarts all comparisons."""
        self.champion = model
        self.restart()
        self.switches += 1

    def restart(self, model: str | None = None) -> None:
        """Resets all comparisons, or those of one model."""
        if model is None:
            self._sums = np.zeros_like(self._sums)
        else:
            self._sums[:, self._models.index(model)] = 0.0

    def arrays(self) -> Arrays:
        return {
            "sums": self._sums,
            "champion": np.frombuffer(self.champion.encode(), np.uint8),
            "switches": np.array([self.switches], np.int64),
        }

    def restore(self, arrays: Arrays) -> None:
        """Restores the state; where the set of models has changed, only a champion that still exists is kept."""
        champion = arrays["champion"].tobytes().decode()
        self.switches = int(arrays["switches"][0])
        if champion in self._models:
            self.champion = champion
        if arrays["sums"].shape == self._sums.shape:
            self._sums = arrays["sums"]


def _advantages(sums: Float64Array) -> Float64Array:
    """Returns how far each mean advantage exceeds its standard errors, ``(n, n_models)``; 0 where it does not."""
    gain, share, squares, products, shares = (sums[:, place] for place in range(len(_FADES)))
    effective_examples = np.where(shares > 0.0, share**2 / np.where(shares > 0.0, shares, 1.0), 0.0)
    enough = effective_examples >= LEAST_EXAMPLES
    divisor = np.where(enough, share, 1.0)
    mean = gain / divisor
    variance = np.maximum(squares - 2.0 * mean * products + mean * mean * shares, 0.0)
    above = mean - STANDARD_ERRORS * np.sqrt(variance) / divisor
    return np.where(enough & (mean > 0.0), np.maximum(above, 0.0), 0.0)
