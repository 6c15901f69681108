"""Scoring: the weights that Learning exported, applied to whole batches."""

from collections.abc import Mapping, Sequence
from math import inf
from typing import Final, NamedTuple

import numpy as np

from streams.contract.arrays import Arrays, Float32Array, Float64Array, Int64Array, are_moderate, unpack_arrays
from streams.contract.label_rules import RULES
from streams.contract.records import Parameters, Reason
from streams.contract.settings import Target
from streams.core.features.groups import Grouping
from streams.core.features.schema import FeatureSchema
from streams.core.models.blend import BLEND, blend_logits
from streams.core.models.logistic import log_odds, probabilities
from streams.core.models.mixture import MIXTURE, mixed
from streams.core.models.registry import MODEL_TYPES, type_of
from streams.core.models.scaling import Scale, ScaledVectors
from streams.core.sums import float_sum

_TRIALS: Final = (1, 3)
"""Numbers of rows to score before parameters are used: arrays of a wrong shape may fit one of them by chance."""

NEGLIGIBLE: Final = 0.01
"""A model with less than this share in the score adds nothing to its reasons: that would cost as much as the others."""


class _Scorer(NamedTuple):
    version: int
    scale: Scale
    arrays: Arrays


class Scorers:
    """Scores of all models of all targets; a row's score has the same bits in any batch.

    Args:
        targets: Each with its models, and the prior that is served until weights arrive.
        schema: Schema of the vectors; parameters learned on another schema are refused.

    Attributes:
        names: Of the targets, in the order of the settings.
    """

    def __init__(self, targets: Sequence[Target], schema: FeatureSchema) -> None:
        self.names = tuple(target.name for target in targets)
        self._targets = {target.name: target for target in targets}
        self._schema = schema
        self._grouping = Grouping(schema.groups)
        self._models: dict[tuple[str, str], _Scorer] = {}
        self._replacements: dict[str, str] = {}
        self._champions: dict[str, str] = {target.name: target.models[0] for target in targets}
        self._weights: dict[str, Mapping[str, float]] = {}
        self._versions: dict[str, int] = {}
        self._mixtures: dict[str, Mapping[str, float]] = {}

    def apply(self, parameters: Parameters) -> bool:
        """Applies a record of the models topic if it is of these targets and schema, and scores trial rows."""
        target = self._targets.get(parameters.learner)
        if target is None or parameters.schema != self._schema.fingerprint:
            return False
        if (parameters.model if parameters.champion else type_of(parameters.model)) not in target.models:
            return False
        try:
            arrays = unpack_arrays(parameters.arrays)
            scale = Scale(self._schema.scaled, arrays["mean"], arrays["inverse_std"])
            if not (are_moderate(arrays) and _are_weights(parameters.weights)):
                return False
            if not self._passes_trial(target, parameters.model, scale, arrays):
                return False
        except (IndexError, KeyError, TypeError, ValueError):
            return False
        self._models[target.name, parameters.model] = _Scorer(parameters.version, scale, arrays)
        if parameters.model in target.models:
            self._drop_old_replacement(target.name, parameters.version)
        else:
            self._replacements[target.name] = parameters.model
        if parameters.champion:
            self._champions[target.name] = parameters.model
        if parameters.version >= self._versions.get(target.name, 0):
            self._versions[target.name] = parameters.version
            if parameters.weights or parameters.champion:
                self._weights[target.name] = parameters.weights or {parameters.model: 1.0}
        self._mixtures[target.name] = self._mixture_of(target.name)
        return True

    def champion(self, target: str) -> str:
        """Returns the model of the greatest weight."""
        return self._champions[target]

    def models(self, target: str) -> list[str]:
        """Names the columns of :meth:`score`: what serves, the models as declared, then a replacement if any.

        What serves is the mixture of the models, which has no column of its own where there is only one.
        """
        models = self._all(target)
        return [MIXTURE, *models] if len(models) > 1 else list(models)

    def mixture(self, target: str) -> Mapping[str, float]:
        """Returns the weights in what serves, of the models that can be scored; they sum to 1."""
        return self._mixtures.get(target, {})

    def _mixture_of(self, target: str) -> dict[str, float]:
        weights = self._weights.get(target, {})
        own = {name: weights.get(name, 0.0) for name in self._all(target) if (target, name) in self._models}
        total = float_sum(own.values())
        return {name: weight / total for name, weight in own.items() if weight} if total > 0.0 else {}

    def version(self, target: str) -> int:
        """Returns the highest version of the weights that serve, 0 for the prior."""
        return max((self._models[target, name].version for name in self.mixture(target)), default=0)

    def untrained(self, target: str) -> list[int]:
        """Returns the columns of :meth:`score` whose models have no weights yet, so that they serve the prior."""
        trained = {name for name in self._all(target) if (target, name) in self._models}
        if self.mixture(target):
            trained.add(MIXTURE)
        return [column for column, name in enumerate(self.models(target)) if name not in trained]

    def is_amount(self, target: str) -> bool:
        """Returns whether the target's models predict an amount, not a probability."""
        return RULES[self._targets[target].rule].is_amount

    def scaled(self, vectors: Float32Array) -> ScaledVectors:
        """Prepares vectors, ``(n, n_features)``, to be scored for several targets and explained."""
        return ScaledVectors(self._schema.scaled, vectors)

    def score(self, target: str, vectors: Float32Array | ScaledVectors) -> Float64Array:
        """Returns each model's probability, or amount, for every row of ``(n, n_features)``: ``(n, n_models)``."""
        names = self.models(target)
        vectors = self._prepared(vectors)
        logits = self._logits(target, vectors)
        scores = np.full((len(vectors), len(names)), self._targets[target].prior)
        for column, name in enumerate(names):
            if (target, name) in self._models:
                served = probabilities if name == BLEND else MODEL_TYPES[type_of(name)].served
                scores[:, column] = served(logits[name])
        if names[0] == MIXTURE and (weights := self.mixture(target)):
            predictions = {name: scores[:, names.index(name)] for name in weights}
            scores[:, 0] = mixed(predictions, weights, is_amount=self.is_amount(target))
        return scores

    def reasons(self, target: str, vectors: Float32Array | ScaledVectors, k: int = 3) -> list[list[Reason]]:
        """Names the groups of features with the largest influence on what is served, strongest first.

        A group's influence is the sum of its features' contributions relative to an average shopper: those of the
        models that are mixed, by their weights.

        Returns:
            For each row at most ``k``; none while no model can be scored.
        """
        vectors = self._prepared(vectors)
        contributions = self._contributions(target, vectors)
        if contributions is None:
            return [[] for _ in range(len(vectors))]
        moved = self._grouping.sums(contributions)
        # In single precision: what is equal but for a product's last bits, which differ between processors, is a tie.
        strongest = _strongest(np.abs(moved).astype(np.float32), k)
        amounts = moved[np.arange(len(moved))[:, None], strongest]
        names = self._grouping.names
        return [
            [Reason(names[group], amount) for group, amount in zip(groups, row, strict=True) if amount]
            for groups, row in zip(strongest.tolist(), amounts.tolist(), strict=True)
        ]

    def _passes_trial(self, target: Target, model: str, scale: Scale, arrays: Arrays) -> bool:
        """Returns whether parameters that were not checked before score and explain one row, and several."""
        if model == BLEND:
            weights = [array for name, array in arrays.items() if name not in ("mean", "inverse_std")]
            logits = {name: np.zeros(1) for name in target.models if name != BLEND}
            return all(array.shape == (1,) for array in weights) and blend_logits(logits, arrays).shape == (1,)
        type_ = MODEL_TYPES[type_of(model)]
        for n_rows in _TRIALS:
            rows = np.ones((n_rows, len(self._schema.names)), np.float32)
            scaled = scale.apply(rows)
            logits_, moved = type_.logits(scaled, arrays), type_.contributions(scaled, arrays)
            if logits_.shape != (n_rows,) or moved.shape != rows.shape:
                return False
            if not (np.isfinite(logits_).all() and np.isfinite(moved).all()):
                return False
        return True

    def _all(self, target: str) -> tuple[str, ...]:
        replacement = self._replacements.get(target)
        return self._targets[target].models + ((replacement,) if replacement else ())

    def _drop_old_replacement(self, target: str, version: int) -> None:
        """Drops a replacement that was not exported with this version: it has won, or was given up."""
        replacement = self._replacements.get(target)
        if replacement is not None and self._models[target, replacement].version < version:
            del self._replacements[target], self._models[target, replacement]

    def _prepared(self, vectors: Float32Array | ScaledVectors) -> ScaledVectors:
        return vectors if isinstance(vectors, ScaledVectors) else self.scaled(vectors)

    def _logits(self, target: str, vectors: ScaledVectors) -> dict[str, Float64Array]:
        """Scores the models that have weights; those of one version share their scaled vectors."""
        declared = self._targets[target]
        logits: dict[str, Float64Array] = {}
        for name in self._all(target):
            model = self._models.get((target, name))
            if name == BLEND:
                continue
            if model is None:
                if BLEND in declared.models:
                    logits[name] = np.full(len(vectors), log_odds(declared.prior))
                continue
            scaled = vectors.by(target, model.version, model.scale)
            logits[name] = MODEL_TYPES[type_of(name)].logits(scaled, model.arrays)
        if blend := self._models.get((target, BLEND)):
            logits[BLEND] = blend_logits(logits, blend.arrays)
        return logits

    def _contributions(self, target: str, vectors: ScaledVectors) -> Float64Array | None:
        """Returns each feature's contribution to the log-odds of what is served, ``(n, n_features)``."""
        weights = dict(self.mixture(target))
        if blended := weights.pop(BLEND, 0.0):
            for name, array in self._models[target, BLEND].arrays.items():
                if (target, name) in self._models:
                    weights[name] = weights.get(name, 0.0) + blended * float(array[0])
        largest = max((abs(weight) for weight in weights.values()), default=0.0)
        counted = {name: weight for name, weight in weights.items() if abs(weight) >= NEGLIGIBLE * largest}
        total: Float64Array | None = None
        for name, weight in counted.items():
            moved = self._contributions_of(target, name, vectors) * weight
            total = moved if total is None else total + moved
        return total

    def _contributions_of(self, target: str, name: str, vectors: ScaledVectors) -> Float64Array:
        model = self._models[target, name]
        scaled = vectors.by(target, model.version, model.scale)
        return MODEL_TYPES[type_of(name)].contributions(scaled, model.arrays)


def _are_weights(weights: Mapping[str, float]) -> bool:
    """Returns whether numbers can weigh models: none below 0, and their sum neither 0 nor infinite."""
    return not weights or (
        all(weight >= 0.0 for weight in weights.values()) and 0.0 < float_sum(weights.values()) < inf
    )


def _strongest(strengths: Float32Array, k: int) -> Int64Array:
    """Finds the columns of each row's ``k`` highest, highest first, ties in column order; overwrites its argument."""
    # A few passes are much cheaper than sorting every row.
    n_rows, n_columns = strengths.shape
    rows, places = np.arange(n_rows), np.empty((n_rows, min(k, n_columns)), np.int64)
    for rank in range(places.shape[1]):
        places[:, rank] = highest = strengths.argmax(axis=1)
        strengths[rows, highest] = -1.0
    return places
