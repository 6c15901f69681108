"""Progressive validation of a target's models: test, then learn, in order, with the code that serves a stream."""

from collections.abc import Callable, Iterator, Sequence
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from streams.contract.arrays import pack_arrays
from streams.contract.records import Parameters
from streams.contract.settings import Target
from streams.contract.settings.targets import MODELS
from streams.core.features.schema import FeatureSchema
from streams.core.models.quality import Evaluation
from streams.core.models.scoring import Scorers
from streams.core.models.target_models import Served, TargetModels

Float64Array = NDArray[np.float64]
Float32Array = NDArray[np.float32]

MODELS_OF_VECTORS: Final = tuple(name for name, model in MODELS.items() if not (model.is_amount or model.combines))
"""The models that predict probabilities from vectors."""
BATCH: Final = 32
"""Examples that are tested before any of them is learned: a label comes later than the next predictions."""


class Progress(NamedTuple):
    """Predictions for every example before it was learned, in the order of the examples.

    Attributes:
        models: Names of the columns.
        probabilities: ``(n, n_models)``.
        served: What was served, the mixture's probability, ``(n,)``.
        alarms: Whether a positive was predicted, at the threshold with the best F1 so far; what was served last,
            ``(n, n_models + 1)``.
        champions: Sequence of models of the greatest weight, as ``(first example, model)``.
    """

    models: tuple[str, ...]
    probabilities: Float64Array
    served: Float64Array
    alarms: NDArray[np.bool_]
    champions: tuple[tuple[int, str], ...]


def progressive_validation(
    target: Target,
    schema: FeatureSchema,
    vectors: Float32Array,
    labels: Float64Array,
    seed: int,
    advance: Callable[[int], None] = lambda done: None,
    batch: int = BATCH,
    known: NDArray[np.int64] | None = None,
) -> Progress:
    """Scores with the exported weights, as Behaviour does, then learns, as Learning does, batch by batch.

    Args:
        vectors: ``(n, n_features)``, in the order in which they are to be learned.
        labels: 0 or 1, ``(n,)``.
        advance: Called with the number of further examples done.
        batch: Examples that are learned between two exports.
        known: Number of labels that were final when each example was predicted, ``(n,)``; by default the labels of all
            examples before it. It is scored by weights that have learned no more than these.
    """
    n, models = len(labels), target.models
    known = np.arange(n) if known is None else known
    order = np.argsort(known, kind="stable")
    due = np.searchsorted(known[order], np.arange(batch, n + 2 * batch, batch))
    target_models, scorers = TargetModels(target, schema, seed), Scorers([target], schema)
    probabilities, said = np.zeros((n, len(models))), np.zeros(n)
    alarms = np.zeros((n, len(models) + 1), np.bool_)
    thresholds = [_Threshold() for _ in range(len(models) + 1)]
    champions: list[tuple[int, str]] = []
    served: list[Served] = [Served((), np.zeros((0, 0)))] * n
    scored = 0
    for number, start in enumerate(range(0, n, batch)):
        rows = order[scored : due[number]]
        scored = int(due[number])
        names, scores = scorers.models(target.name), scorers.score(target.name, vectors[rows])
        heaviest = scorers.champion(target.name)
        if not champions or champions[-1][1] != heaviest:
            champions.append((start, heaviest))
        for column, model in enumerate(models):
            probabilities[rows, column] = scores[:, names.index(model)]
        said[rows] = scores[:, 0]
        for row, score in zip(rows.tolist(), scores, strict=True):
            served[row] = Served(names, score)
        part = slice(start, min(start + batch, n))
        weights = np.ones(part.stop - start)
        for column, threshold in enumerate(thresholds):
            given = probabilities[part, column] if column < len(models) else said[part]
            alarms[part, column] = threshold.test_then_learn(given, labels[part], weights)
        for group in _alike(served, part):
            own = Served(served[group.start].models, np.stack([each.probabilities for each in served[group]]))
            ones = np.ones(group.stop - group.start)
            times = np.arange(group.start, group.stop)
            target_models.evaluate(own.models, own.probabilities, labels[group], ones, times)
            target_models.learn_many(vectors[group], labels[group], ones, own)
        for parameters in _exported(target.name, target_models, version=part.stop, schema=schema):
            scorers.apply(parameters)
        advance(part.stop - start)
    return Progress(models, probabilities, said, alarms, tuple(champions))


def _alike(served: Sequence[Served], part: slice) -> Iterator[slice]:
    """Cuts a batch where the columns of the served predictions change: a replacement comes or goes."""
    start = part.start
    for row in range(part.start + 1, part.stop + 1):
        if row == part.stop or served[row].models != served[start].models:
            yield slice(start, row)
            start = row


def _exported(target: str, target_models: TargetModels, version: int, schema: FeatureSchema) -> list[Parameters]:
    return [
        Parameters(
            learner=target,
            model=model,
            champion=model == target_models.champion,
            version=version,
            schema=schema.fingerprint,
            examples=version,
            arrays=pack_arrays(arrays),
            weights=target_models.weights,
        )
        for model, arrays in target_models.parameters().items()
    ]


class _Threshold:
    """The threshold with the best F1 so far; before the first positive nothing is predicted positive."""

    def __init__(self) -> None:
        self._evaluation = Evaluation()
        self._best = np.inf

    def test_then_learn(self, given: Float64Array, labels: Float64Array, weights: Float64Array) -> NDArray[np.bool_]:
        alarms: NDArray[np.bool_] = given >= self._best
        self._evaluation.update(given, labels, weights)
        threshold = self._evaluation.quality().threshold
        self._best = np.inf if threshold is None else threshold
        return alarms
