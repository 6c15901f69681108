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
from streams.core.models.claims import Claims
from streams.core.models.drift import DriftWatch
from streams.core.models.fake_negative_calibration import FakeNegativeCalibration
from streams.core.models.measures import losses
from streams.core.models.mixture import MIXTURE, REPLACEMENT, Losses, Mixture, weights_for_champion
from streams.core.models.quality import AmountEvaluation, Evaluation, deviances
from streams.core.models.registry import OnlineModel, new_model, replacement_name, type_of
from streams.core.models.replacement import Replacement, restored_replacement
from streams.core.models.scaling import RunningScale
from streams.core.models.served_quality import ServedEvaluation

_SELECTION: Final = "contest"
_DRIFT: Final = "drift"
_SERVED: Final = "served"
_CLAIMS: Final = "claims"


class Served(NamedTuple):
    """Predictions for examples, made before their labels existed.

    Attributes:
        probabilities: ``(n, n_models)``; NaN for a model that did not exist.
    """

    models: Sequence[str]
    probabilities: Float64Array


class TargetModels:
    """Models whose mixture is served.

    Their weights follow the predictions that they made before the labels existed. The champion is the model of the
    greatest weight. When the loss of what was served rises, a replacement starts; if it wins, it takes the place of the
    model of its type.

    Args:
        target: Target with the names of its models.
        seed: With the target's name, the seed of models that start with random weights.
        rate: Number of independent examples that an example of weight 1 stands for, see :class:`Mixture`.

    Attributes:
        served: Quality of all that was served.
    """

    def __init__(self, target: Target, schema: FeatureSchema, seed: int, rate: float = 1.0) -> None:
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
            model: AmountEvaluation() if is_amount else Evaluation()
            for model in (*target.models, *([MIXTURE] if len(target.models) > 1 else []))
        }
        loss = _in_units_of(target.prior) if is_amount else losses
        self._loss = loss
        self._mixture = Mixture(target.models, loss, rate)
        self._claims = Claims(target.models, max(int(1000 * target.horizon_s), 1))
        self._drift = DriftWatch(loss)
        self.served = ServedEvaluation(is_amount=is_amount)

    @property
    def champion(self) -> str:
        return self._mixture.champion

    @property
    def weights(self) -> dict[str, float]:
        """Weights of the models in the mixture, a replacement's by its name."""
        return self._mixture.weights(self._replacement.name if self._replacement is not None else None)

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
        """Measures the models' predictions and reweighs them; may start a replacement on drift, or end it.

        The caller passes the same examples to :meth:`learn_many` next.

        Args:
            models: Names of the columns; the first one is what served.
            probabilities: ``(n, n_models)``, or expected amounts; NaN for a model that did not exist.
            timestamps_ms: Times of prediction, ``(n,)``.
        """
        for column, model in enumerate(models):
            if evaluation := self._evaluations.get(model):
                evaluation.update(probabilities[:, column], labels, weights)
        model_losses = self._losses(models, probabilities, labels)
        start = 0
        for row in self._drift.update(probabilities[:, 0], labels, timestamps_ms):
            after = slice(start, row + 1)
            self._reweigh(start, models, probabilities[after], labels[after], weights[after])
            self._claims.update(model_losses[after], labels[after] > 0.0, timestamps_ms[after])
            self._claims.restart()
            start = row + 1
            if self._replacement is None:
                model = self._model_to_replace()
                name = replacement_name(model, self._drift.alarms)
                # Where labels are corrected, the examples measured here are not those learned next.
                self._replacement = Replacement(name, self._new(name), skipped=0 if self._corrects else row + 1)
                self._mixture.enter(model)
        rest = slice(start, len(labels))
        self._reweigh(start, models, probabilities[rest], labels[rest], weights[rest])
        self._claims.update(model_losses[rest], labels[rest] > 0.0, timestamps_ms[rest])

    def _losses(self, models: Sequence[str], probabilities: Float64Array, labels: Float64Array) -> Float64Array:
        """Returns the losses of the declared models, ``(n, n_models)``; NaN for one that did not exist."""
        model_losses = np.full((len(labels), len(self._target.models)), np.nan)
        for place, model in enumerate(self._target.models):
            if model in models and len(self._target.models) > 1:
                model_losses[:, place] = self._loss(probabilities[:, models.index(model)], labels)
        return model_losses

    def _reweigh(
        self,
        first: int,
        models: Sequence[str],
        probabilities: Float64Array,
        labels: Float64Array,
        weights: Float64Array,
    ) -> None:
        """Updates the weights; ends a replacement at the example at which it has won or its patience is over.

        Args:
            first: Number of examples of the batch before these.
        """
        start, n = 0, len(labels)
        while True:
            replacement, names = self._replacement, list(models)
            ends = n
            if replacement is not None:
                ends = replacement.patience - first
                names = [REPLACEMENT if model == replacement.name else model for model in models]
                if self._mixture.has_winner:
                    self._models[type_of(replacement.name)] = replacement.learner
                if self._mixture.has_winner or start >= ends:
                    self._mixture.absorb()
                    self._replacement = None
                    continue
            if start >= n:
                return
            rows = slice(start, min(n, ends))
            start += self._mixture.update(names, probabilities[rows], labels[rows], weights[rows])

    def _model_to_replace(self) -> str:
        """Returns the champion; of a blend, the heaviest of the models that it combines."""
        return self.champion if self.champion != BLEND else self._mixture.heaviest(tuple(self._models))

    def _new(self, model: str) -> OnlineModel:
        learner = new_model(model, self._target.name, self._schema, self._target.prior, self._seed)
        return FakeNegativeCalibration(model, learner) if self._corrects else learner

    def demote(self, gone: Collection[str]) -> None:
        """Takes the weights of models that are not exported, unless that is all of them."""
        self._mixture.drop(gone)

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
        """Returns each model's quality and weight, the number of champion changes, and the state of drift detection."""
        measured = {name: evaluation.quality() for name, evaluation in self._evaluations.items()}
        switches, drift = self._mixture.switches, self._drift.summary()
        replacement = self._replacement.name if self._replacement else None
        served = self.served.quality()
        if isinstance(served, ServedAmounts):
            amounts = {name: quality for name, quality in measured.items() if isinstance(quality, AmountQuality)}
            return AmountModels(
                amount_sum=label_sum,
                served=served,
                models=amounts,
                weights=self.weights,
                better_than=self._claims.better_than(),
                switches=switches,
                replacement=replacement,
                drift=drift,
            )
        probabilities = {name: quality for name, quality in measured.items() if isinstance(quality, ProbabilityQuality)}
        return ProbabilityModels(
            positives=round(label_sum),
            served=served,
            models=probabilities,
            weights=self.weights,
            better_than=self._claims.better_than(),
            switches=switches,
            replacement=replacement,
            drift=drift,
        )

    def arrays(self) -> Arrays:
        """Exports the state of the models for :meth:`restore`, as ``<part>/<array>``."""
        shared = {"scale": self._scale.arrays(), MIXTURE: self._mixture.weight_arrays()}
        replacement = {REPLACEMENT: self._replacement.arrays()} if self._replacement is not None else {}
        return _joined(shared | {name: part.arrays() for name, part in self._parts.items()} | replacement)

    def evaluation_arrays(self) -> Arrays:
        evaluations = {name: evaluation.arrays() for name, evaluation in self._evaluations.items()}
        return _joined(
            evaluations
            | {
                _SELECTION: self._mixture.arrays(),
                _DRIFT: self._drift.arrays(),
                _SERVED: self.served.arrays(),
                _CLAIMS: self._claims.arrays(),
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
        if own := _part(arrays, REPLACEMENT):
            self._replacement = restored_replacement(own, self._new)
        if own := _part(evaluation_arrays, _SELECTION):
            self._mixture.restore(_part(arrays, MIXTURE), own)
        if own := _part(evaluation_arrays, _DRIFT):
            self._drift.restore(own)
        if own := _part(evaluation_arrays, _SERVED):
            self.served.restore(own)
        if own := _part(evaluation_arrays, _CLAIMS):
            self._claims.restore(own)

    @property
    def _parts(self) -> dict[str, OnlineModel | BlendLearner]:
        return {**self._models, **({BLEND: self._blend} if self._blend is not None else {})}


def qualities(evaluation_arrays: Arrays) -> dict[str, ProbabilityQuality | AmountQuality]:
    """Computes each model's quality from exported arrays alone."""
    result: dict[str, ProbabilityQuality | AmountQuality] = {}
    for name in sorted(_models_in(evaluation_arrays)):
        own = _part(evaluation_arrays, name)
        evaluation = AmountEvaluation() if "errors" in own else Evaluation()
        evaluation.restore(own)
        result[name] = evaluation.quality()
    return result


def with_mixture(arrays: Arrays, evaluation_arrays: Arrays) -> tuple[Arrays, Arrays]:
    """Migrates exported arrays from the time when the champion served alone; others stay as they are."""
    champion = evaluation_arrays.get(f"{_SELECTION}/champion")
    if champion is None:
        return arrays, evaluation_arrays
    models = sorted(_models_in(evaluation_arrays))
    weights = weights_for_champion(models, champion.tobytes().decode())
    measured = {name: array for name, array in evaluation_arrays.items() if name != f"{_SELECTION}/sums"}
    return arrays | _joined({MIXTURE: weights}), measured


def _models_in(evaluation_arrays: Arrays) -> set[str]:
    return {name.partition("/")[0] for name in evaluation_arrays} - {_SELECTION, _DRIFT, _SERVED, _CLAIMS}


def _in_units_of(prior: float) -> Losses:
    """Scales the loss of amounts so that serving the prior where nothing is spent loses 0.5."""
    unit = 2.0 * float(deviances(np.array([prior]), np.zeros(1))[0])
    return lambda given, labels: deviances(given, labels) / unit


def _joined(parts: dict[str, Arrays]) -> Arrays:
    return {f"{part}/{name}": array for part, arrays in parts.items() for name, array in arrays.items()}


def _part(arrays: Arrays, part: str) -> Arrays:
    return {name.removeprefix(f"{part}/"): array for name, array in arrays.items() if name.startswith(f"{part}/")}
