"""Mixture of a target's models, which is what serves: their predictions, weighted by how well they predicted so far."""

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Final

import numpy as np

from streams.contract.arrays import Arrays, Float64Array
from streams.core.models.measures import losses
from streams.core.sums import float_sum

MIXTURE: Final = "mixture"
"""Name of the column of what served, beside the names of the models."""

REPLACEMENT: Final = "fresh"
"""Place of the weight of a replacement, whatever its number."""

SHARE: Final = 0.001
"""Share of the mixture's own loss that sharing weight costs it at most."""

CHANGES_AT: Final = 2.0
"""A model becomes the champion once it has this many times its weight; equals would take turns otherwise."""

WINS_AT: Final = 20.0
"""A replacement takes the place of the model of its type once it has this many times that model's weight."""

_OTHERS: Final = 0.01
"""Weight of all models together where a champion had served alone; the rest is the champion's."""

_SWITCHES: Final = "switches"
_CHAMPION: Final = "champion"
_REPLACED: Final = "replaced"

Losses = Callable[[Float64Array, Float64Array], Float64Array]


class Mixture:
    """Weights of models by the fixed-share update, example by example.

    A model's weight is multiplied by ``exp(-rate * loss)``, then a share of all weight is dealt out evenly, so that a
    model that becomes the best later can catch up. The share is ``1 - exp(-SHARE * rate * loss)`` of the mixture's own
    loss: it is small where examples are easy or positives are rare. So over any sequence of examples whose weights are
    learned before the next prediction, ``(1 - SHARE)`` times the mixture's loss is at most that of the best of ``n``
    models plus ``ln(n) / rate``. A model without a prediction keeps its weight.

    Weights change example by example in their order, so that the result does not depend on how the examples are cut
    into batches.

    Args:
        models: Names; the first one is the champion at the start.
        loss: Loss of served values and labels, both ``(n,)``.
        rate: Number of independent examples that an example of weight 1 stands for; an example counts at most once.

    References:
        Herbster and Warmuth (1998), "Tracking the best expert", Machine Learning 32(2), section 4 (fixed share);
        Freund, Schapire, Singer and Warmuth (1997), "Using and combining predictors that specialize", STOC, for models
        without a prediction; Vovk (1990), "Aggregating strategies", COLT, for the bound.
    """

    def __init__(self, models: Sequence[str], loss: Losses = losses, rate: float = 1.0) -> None:
        self._models = tuple(models)
        self._loss = loss
        self._rate = rate
        self._weights = [*[1.0 / len(models)] * len(models), 0.0]
        self._replaced: int | None = None
        self.champion = models[0]
        self.switches = 0

    @property
    def has_winner(self) -> bool:
        """Whether a replacement has the weight to take the place of the model of its type."""
        return self._replaced is not None and self._weights[-1] >= WINS_AT * self._weights[self._replaced]

    def weights(self, replacement: str | None = None) -> dict[str, float]:
        """Returns the weights by model; they sum to 1.

        Args:
            replacement: Name for the replacement's weight.
        """
        own = dict(zip(self._models, self._weights, strict=False))
        return own if replacement is None else own | {replacement: self._weights[-1]}

    def heaviest(self, models: Sequence[str]) -> str:
        """Returns the one of ``models`` with the greatest weight, the first of equals."""
        return max(models, key=lambda model: self._weights[self._models.index(model)])

    def update(
        self, models: Sequence[str], predictions: Float64Array, labels: Float64Array, weights: Float64Array
    ) -> int:
        """Adds a batch up to the example at which a replacement has won; returns the number of examples added.

        Args:
            models: Names of the columns; names that are none of the models are skipped.
            predictions: As served, ``(n, n_models)``; NaN for a model that did not exist.
        """
        columns = [models.index(model) if model in models else -1 for model in (*self._models, REPLACEMENT)]
        model_losses = np.full((len(labels), len(columns)), np.nan)
        for place, column in enumerate(columns):
            if column >= 0:
                model_losses[:, place] = self._loss(predictions[:, column], labels)
        compared = ~np.isnan(model_losses)
        rows = np.flatnonzero(compared.sum(axis=1) > 1)
        if not len(rows):
            return len(labels)
        rates = np.minimum(self._rate * weights[rows], 1.0)
        lowest = np.nanmin(model_losses[rows], axis=1)
        factors = np.exp(-rates[:, None] * (model_losses[rows] - lowest[:, None])).tolist()
        kept = np.exp(-SHARE * rates * lowest).tolist()
        after = np.empty((len(rows), len(columns)))
        added = len(labels)
        for place, (own, keeps, asked) in enumerate(zip(factors, kept, compared[rows].tolist(), strict=True)):
            self._reweigh(own, keeps, asked)
            after[place] = self._weights
            if self.has_winner:
                added, after = int(rows[place]) + 1, after[: place + 1]
                break
        self._follow(after)
        return added

    def _reweigh(self, factors: Sequence[float], kept: float, asked: Sequence[bool]) -> None:
        """Changes the weights of the models that predicted an example; their sum stays.

        Args:
            factors: Likelihood of each model, by that of the best one.
            kept: Share of the weight that would be kept had all lost as little as the best one.
        """
        weights = self._weights
        places = [place for place, is_asked in enumerate(asked) if is_asked]
        total = float_sum([weights[place] for place in places])
        likely = [weights[place] * factors[place] for place in places]
        mixed = float_sum(likely)
        if mixed <= 0.0:
            return
        kept *= (mixed / total) ** SHARE
        scale, dealt = kept * total / mixed, (1.0 - kept) * total / len(places)
        for place, weight in zip(places, likely, strict=True):
            weights[place] = weight * scale + dealt

    def _follow(self, after: Float64Array) -> None:
        """Changes the champion at each example after which another model has :data:`CHANGES_AT` times its weight."""
        by_model = after[:, :-1].copy()
        if self._replaced is not None:
            by_model[:, self._replaced] += after[:, -1]
        start, greatest = 0, by_model.max(axis=1)
        while start < len(by_model):
            own = by_model[start:, self._models.index(self.champion)]
            changed = np.flatnonzero((greatest[start:] >= CHANGES_AT * own) & (greatest[start:] > own))
            if not len(changed):
                return
            start += int(changed[0])
            self.champion = self._models[int(by_model[start].argmax())]
            self.switches += 1

    def enter(self, model: str) -> None:
        """Gives a new replacement half of the weight of the model that it may replace."""
        place = self._models.index(model)
        self._replaced = place
        self._weights[-1] = self._weights[place] = self._weights[place] / 2.0

    def absorb(self) -> None:
        """Gives the replacement's weight to the model of its type, whichever of the two is kept."""
        if self._replaced is not None:
            self.switches += self.has_winner and self._models[self._replaced] == self.champion
            self._weights[self._replaced] += self._weights[-1]
        self._weights[-1], self._replaced = 0.0, None

    def drop(self, gone: Collection[str]) -> None:
        """Takes the weight of models that are not published; if that is all of them, nothing changes."""
        if REPLACEMENT in gone:
            self.absorb()
        rest = [0.0 if model in gone else weight for model, weight in self.weights(REPLACEMENT).items()]
        total = float_sum(rest)
        if total > 0.0:
            self._weights = [weight / total for weight in rest]
            self._follow(np.array([self._weights]))

    def weight_arrays(self) -> Arrays:
        """Exports the weights; they are parameters, so that a learner can go back to those of a snapshot."""
        replaced = "" if self._replaced is None else self._models[self._replaced]
        weights = {model: np.array([weight]) for model, weight in self.weights(REPLACEMENT).items()}
        return weights | {_REPLACED: np.frombuffer(replaced.encode(), np.uint8)}

    def arrays(self) -> Arrays:
        """Exports the rest of the state."""
        return {
            _CHAMPION: np.frombuffer(self.champion.encode(), np.uint8),
            _SWITCHES: np.array([self.switches], np.int64),
        }

    def restore(self, weight_arrays: Arrays, arrays: Arrays) -> None:
        """Restores the state; a model without a weight enters with an even share."""
        places = (*self._models, REPLACEMENT)
        known = {model: float(weight_arrays[model][0]) for model in places if model in weight_arrays}
        if set(weight_arrays) != {*places, _REPLACED}:
            new = 1.0 / len(self._models)
            total = float_sum(known.values())
            kept = 1.0 - new * len(set(self._models) - set(known))
            known = {model: weight / total * kept for model, weight in known.items()} if total > 0.0 else {}
            known = dict.fromkeys(self._models, new) | {REPLACEMENT: 0.0} | known
        self._weights = [known[model] for model in places]
        replaced = weight_arrays[_REPLACED].tobytes().decode() if _REPLACED in weight_arrays else ""
        self._replaced = self._models.index(replaced) if replaced in self._models else None
        self.switches = int(arrays[_SWITCHES][0])
        champion = arrays[_CHAMPION].tobytes().decode()
        if champion in self._models:
            self.champion = champion
        self._follow(np.array([self._weights]))


def weights_for_champion(models: Sequence[str], champion: str) -> Arrays:
    """Returns arrays for :meth:`Mixture.restore` that go on with what a champion served alone."""
    weights = {model: np.array([_OTHERS / len(models) + (1.0 - _OTHERS) * (model == champion)]) for model in models}
    return weights | {REPLACEMENT: np.zeros(1), _REPLACED: np.zeros(0, np.uint8)}


def mixed(predictions: Mapping[str, Float64Array], weights: Mapping[str, float], *, is_amount: bool) -> Float64Array:
    """Mixes the models' predictions, ``(n,)`` each, with the same bits in any batch.

    Of probabilities it is the weighted arithmetic mean, whose log loss is at most the weighted mean of theirs. Of
    amounts it is the weighted geometric mean, of whose deviance the same holds.

    >>> mixed({"a": np.array([0.25]), "b": np.array([0.75])}, {"a": 1.0, "b": 3.0}, is_amount=False).tolist()
    [0.625]
    """
    total = float_sum(weights[model] for model in predictions)
    result = np.zeros(len(next(iter(predictions.values()))))
    for model, predicted in predictions.items():
        result += (np.log(predicted) if is_amount else predicted) * (weights[model] / total)
    return np.exp(result) if is_amount else result
