"""Models of a target: they learn from the same examples with one scale, and are measured side by side."""

from collections.abc import Collection, Sequence
from typing import Final, NamedTuple

import numpy as np

from streams.contract.arrays import Arrays, Float32Array, Float64Array, Int64Array
from streams.contract.label_rules import RULES
from streams.contract.metrics import AmountModels, AmountQuality, ProbabilityModels, ProbabilityQuality, ServedAmounts
from streams.contract.settings import Target
from streams.core.features.schema import FeatureSchema
from streams.core.models.blend import BLEND, BlendLearner
from streams.core.models.champion_selection import ChampionSelection, Losses
from streams.core.models.drift import DriftWatch
from streams.core.models.fake_negative_calibration import FakeNegativeCalibration
from streams.core.models.measures import losses
from streams.core.models.quality import AmountEvaluation, Evaluation, deviances
from streams.core.models.registry import OnlineModel, new_model, replacement_name, type_of
from streams.core.models.replacement import Replacement, restored_replacement
from streams.core.models.scaling import RunningScale
from streams.core.models.served_quality import ServedEvaluation

_REPLACEMENT: Final = "fresh"
_SELECTION: Final = "contest"
_DRIFT: Final = "drift"
_SERVED: Final = "served"


class Served(NamedTuple):
    """Predictions for examples, made before their labels existed.

    Attributes:
        probabilities: ``(n, n_models)``; NaN for a model that did not exist.
    """

    models: Sequence[str]
    probabilities: Float64Array


class TargetModels:
    """The champion and its challengers.

    The model with the best predictions before the labels existed becomes the champion. When the champion's loss rises,
    a replacement starts; if it wins, it takes the place of the model of its type.

    Args:
        target: Target with the names of its models, champion first.
        seed: With the target's name, the seed of models that start with random weights.

    Attributes:
        served: Quality of all that was served, by whichever model was the champion.
    """

    def __init__(self, target: Target, schema: FeatureSchema, seed: int) -> None:
        self._target = target
        self._schema = schema
        self._seed = seed
        self._corrects = target.labels == "correct"
        self._scale = RunningScale(schema.scaled)
        self._models: dict[str, OnlineModel] = {model: self._new(model) for model in target.models if model != BLEND}
        self._blend = BlendLearner(tuple(self._models), target.prior) if BLEND in target.models else None
        self._replacement: Replacement | None = None
        is_amount = RULES[target.rule].is_amount
        self._evaluations: dict[str, Evaluation | AmountEvaluation] = {
            model: AmountEvaluation() if is_amount else Evaluation() for model in target.models
        }
        loss = _in_units_of(target.prior) if is_amount else losses
        self._selection = ChampionSelection((*target.models, _REPLACEMENT), loss)
        self._drift = DriftWatch(loss)
        self.served = ServedEvaluation(is_amount=is_amount)

    @property
    def champion(self) -> str:
        return self._selection.champion

    @property
    def has_replacement(self) -> bool:
        return self._replacement is not None

    def evaluate(
        self,
        models: Sequence[str],
        probabilities: Float64Array,
        labels: Float64Array,
        weights: Float64Array,
        timestamps_ms: Int64Array,
    ) -> None:
        """Measures the models' predictions; may change the champion, or start a replacement on drift.

        The caller passes the same examples to :meth:`learn_many` next.

        Args:
            models: Names of the columns, the serving model first.
            probabilities: ``(n, n_models)``, or expected amounts; NaN for a model that did not exist.
            timestamps_ms: Times of prediction, ``(n,)``.
        """
        for column, model in enumerate(models):
            if evaluation := self._evaluations.get(model):
                evaluation.update(probabilities[:, column], labels, weights)
        free_from = self._select_champion(models, probabilities, labels, weights)
        for row in self._drift.update(probabilities[:, 0], labels, timestamps_ms):
            if self._replacement is None and row >= free_from:
                name = replacement_name(self._model_to_replace(), self._drift.alarms)
                # Where labels are corrected, the examples measured here are not those learned next.
                self._replacement = Replacement(name, self._new(name), skipped=0 if self._corrects else row + 1)

    def _select_champion(
        self, models: Sequence[str], probabilities: Float64Array, labels: Float64Array, weights: Float64Array
    ) -> int:
        """Updates the champion; returns the first row at which another replacement may start."""
        replacement, free_from, start, n = self._replacement, 0, 0, len(labels)
        columns = [_REPLACEMENT if replacement and model == replacement.name else model for model in models]
        if replacement is not None and replacement.patience < n and _REPLACEMENT in columns:
            probabilities = probabilities.copy()
            probabilities[replacement.patience :, columns.index(_REPLACEMENT)] = np.nan
        while start < n:
            start += self._selection.update(columns, probabilities[start:], labels[start:], weights[start:])
            if replacement is not None and self._selection.champion == _REPLACEMENT:
                self._selection.champion = type_of(replacement.name)
                self._models[type_of(replacement.name)] = replacement.learner
                columns = list(models)
                self._replacement, replacement, free_from = None, None, start
        if replacement is not None and replacement.patience <= n:
            self._selection.restart(_REPLACEMENT)
            self._replacement, free_from = None, replacement.patience
        return free_from

    def _model_to_replace(self) -> str:
        """Returns the champion; of a blend, the best of the models that it combines."""
        return self.champion if self.champion != BLEND else self._selection.best(tuple(self._models))

    def _new(self, model: str) -> OnlineModel:
        learner = new_model(model, self._target.name, self._schema, self._target.prior, self._seed)
        return FakeNegativeCalibration(model, learner) if self._corrects else learner

    def demote(self, gone: Collection[str]) -> None:
        """Makes the best remaining model the champion if the champion is not exported.

        Args:
            gone: Models that are not exported; if that is all of them, the champion stays.
        """
        remaining = tuple(model for model in self._target.models if model not in gone)
        if self.champion in gone and remaining:
            self._selection.hand_over(self._selection.best(remaining))

    def learn_many(
        self,
        vectors: Float32Array,
        labels: Float64Array,
        weights: Float64Array,
        served: Served | None = None,
        uniforms: Float64Array | None = None,
    ) -> None:
        """Learns row by row; negatives are thinned to the target's share and weighted up in return.

        Args:
            vectors: Unscaled features, ``(n, n_features)``; the scale is learned here, too.
            labels: 0 or 1, amounts 0 or more, ``(n,)``.
            served: Predictions of the models; the blend learns from them alone.
            uniforms: A number in [0, 1) for each row, to thin negatives by; without them all are learned.

        Raises:
            ValueError: A vector is not finite; nothing was learned.
        """
        if not np.isfinite(vectors).all():
            raise ValueError("a feature vector is not finite; learning it would make all weights NaN")
        scaled = self._scale.learn_many(vectors)
        if uniforms is None or self._target.negatives == 1.0:
            taken = np.ones(len(labels), bool)
        else:
            taken = (labels > 0.5) | (uniforms < self._target.negatives)
            weights = np.where(labels > 0.5, weights, weights / self._target.negatives)
        learned = (scaled, labels, weights) if taken.all() else (scaled[taken], labels[taken], weights[taken])
        for model in self._models.values():
            model.learn_many(*learned)
        if self._replacement is not None:
            self._replacement.learn_many(scaled, labels, weights, taken)
        if served is not None:
            self.learn_blend(Served(served.models, served.probabilities[taken]), *learned[1:])

    def learn_blend(self, served: Served, labels: Float64Array, weights: Float64Array) -> None:
        """Updates the blend, if there is one, from final labels."""
        if self._blend is not None:
            self._blend.learn_many(served.models, served.probabilities, labels, weights)

    def parameters(self) -> dict[str, Arrays]:
        """Exports what scoring needs of each model, with the scale that belongs to its weights."""
        scale = self._scale.scale()
        scaling = {"mean": scale.mean, "inverse_std": scale.inverse_std}
        # Scorers drop a replacement at the first record of a version without it: so it comes before the others.
        replacement = {self._replacement.name: self._replacement.learner} if self._replacement is not None else {}
        learners: dict[str, OnlineModel | BlendLearner] = {**replacement, **self._parts}
        return {name: learner.parameters() | scaling for name, learner in learners.items()}

    def quality(self, label_sum: float) -> ProbabilityModels | AmountModels:
        """Returns each model's quality, the number of champion changes, and the state of drift detection."""
        measured = {name: evaluation.quality() for name, evaluation in self._evaluations.items()}
        switches, drift = self._selection.switches, self._drift.summary()
        replacement = self._replacement.name if self._replacement else None
        served = self.served.quality()
        if isinstance(served, ServedAmounts):
            amounts = {name: quality for name, quality in measured.items() if isinstance(quality, AmountQuality)}
            return AmountModels(
                amount_sum=label_sum,
                served=served,
                models=amounts,
                switches=switches,
                replacement=replacement,
                drift=drift,
            )
        probabilities = {name: quality for name, quality in measured.items() if isinstance(quality, ProbabilityQuality)}
        return ProbabilityModels(
            positives=round(label_sum),
            served=served,
            models=probabilities,
            switches=switches,
            replacement=replacement,
            drift=drift,
        )

    def arrays(self) -> Arrays:
        """Exports the state of the models for :meth:`restore`, as ``<part>/<array>``."""
        parts = {"scale": self._scale.arrays()} | {name: part.arrays() for name, part in self._parts.items()}
        return _joined(parts | ({_REPLACEMENT: self._replacement.arrays()} if self._replacement is not None else {}))

    def evaluation_arrays(self) -> Arrays:
        evaluations = {name: evaluation.arrays() for name, evaluation in self._evaluations.items()}
        return _joined(
            evaluations
            | {
                _SELECTION: self._selection.arrays(),
                _DRIFT: self._drift.arrays(),
                _SERVED: self.served.arrays(),
            }
        )

    def restore(self, arrays: Arrays, evaluation_arrays: Arrays) -> None:
        """Restores the state; a model that is not in the arrays starts new."""
        self._scale.restore(_part(arrays, "scale"))
        for model, learner in self._parts.items():
            if own := _part(arrays, model):
                learner.restore(own)
        for model, evaluation in self._evaluations.items():
            if own := _part(evaluation_arrays, model):
                evaluation.restore(own)
        if own := _part(arrays, _REPLACEMENT):
            self._replacement = restored_replacement(own, self._new)
        if own := _part(evaluation_arrays, _SELECTION):
            self._selection.restore(own)
        if own := _part(evaluation_arrays, _DRIFT):
            self._drift.restore(own)
        if own := _part(evaluation_arrays, _SERVED):
            self.served.restore(own)

    @property
    def _parts(self) -> dict[str, OnlineModel | BlendLearner]:
        return {**self._models, **({BLEND: self._blend} if self._blend is not None else {})}


def qualities(evaluation_arrays: Arrays) -> dict[str, ProbabilityQuality | AmountQuality]:
    """Computes each model's quality from exported arrays alone."""
    result: dict[str, ProbabilityQuality | AmountQuality] = {}
    for name in sorted({name.partition("/")[0] for name in evaluation_arrays} - {_SELECTION, _DRIFT, _SERVED}):
        own = _part(evaluation_arrays, name)
        evaluation = AmountEvaluation() if "errors" in own else Evaluation()
        evaluation.restore(own)
        result[name] = evaluation.quality()
    return result


def _in_units_of(prior: float) -> Losses:
    """Scales the loss of amounts so that serving the prior where nothing is spent loses 0.5."""
    unit = 2.0 * float(deviances(np.array([prior]), np.zeros(1))[0])
    return lambda given, labels: deviances(given, labels) / unit


def _joined(parts: dict[str, Arrays]) -> Arrays:
    return {f"{part}/{name}": array for part, arrays in parts.items() for name, array in arrays.items()}


def _part(arrays: Arrays, part: str) -> Arrays:
    return {name.removeprefix(f"{part}/"): array for name, array in arrays.items() if name.startswith(f"{part}/")}
