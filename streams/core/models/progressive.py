"""Progressive validation of a family on examples in order: test, then learn, through the code that serves a stream."""

from collections.abc import Callable, Iterator, Sequence
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from streams.contract.arrays import pack_arrays
from streams.contract.records import Parameters
from streams.contract.settings import Target
from streams.core.features.schema import FeatureSchema
from streams.core.models.evaluation import Evaluation
from streams.core.models.family import Family, Served
from streams.core.models.scoring import Scorers

Float64Array = NDArray[np.float64]
Float32Array = NDArray[np.float32]

BATCH: Final = 32
"""So many examples are tested before any of them is learned: a label comes later than the next predictions."""


class Progress(NamedTuple):
    """What was said of every example before it was learned, in the order of the examples.

    Attributes:
        members: Names of the columns.
        probabilities: ``(n, n_members)``.
        champion: The serving member's probability, ``(n,)``.
        alarms: Whether a positive was predicted, at the threshold with the best F1 so far; champion last,
            ``(n, n_members + 1)``.
        champions: Which member served when, as ``(first example, member)``.
    """

    members: tuple[str, ...]
    probabilities: Float64Array
    champion: Float64Array
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
    """Scores with the exported weights, as Behaviour does, then lets Learning's family learn, batch by batch.

    Args:
        vectors: ``(n, n_features)``, in the order in which they are to be learned.
        labels: 0 or 1, ``(n,)``.
        advance: Told how many examples are done.
        batch: Examples that are learned between two exports.
        known: How many of the examples had been learned when each was predicted, ``(n,)``; all before it if not given.
            No weights that have learned more are used.
    """
    n, members = len(labels), target.members
    known = np.arange(n) if known is None else known
    order = np.argsort(known, kind="stable")
    due = np.searchsorted(known[order], np.arange(batch, n + 2 * batch, batch))
    family, scorers = Family(target, schema, seed), Scorers([target], schema)
    probabilities, champion = np.zeros((n, len(members))), np.zeros(n)
    alarms = np.zeros((n, len(members) + 1), np.bool_)
    thresholds = [_Threshold() for _ in range(len(members) + 1)]
    champions: list[tuple[int, str]] = []
    served: list[Served] = [Served((), np.zeros((0, 0)))] * n
    scored = 0
    for number, start in enumerate(range(0, n, batch)):
        rows = order[scored : due[number]]
        scored = int(due[number])
        names, scores = scorers.members(target.name), scorers.score(target.name, vectors[rows])
        if not champions or champions[-1][1] != names[0]:
            champions.append((start, names[0]))
        for column, member in enumerate(members):
            probabilities[rows, column] = scores[:, names.index(member)]
        champion[rows] = scores[:, 0]
        for row, score in zip(rows.tolist(), scores, strict=True):
            served[row] = Served(names, score)
        part = slice(start, min(start + batch, n))
        weights = np.ones(part.stop - start)
        for column, threshold in enumerate(thresholds):
            given = probabilities[part, column] if column < len(members) else champion[part]
            alarms[part, column] = threshold.test_then_learn(given, labels[part], weights)
        for group in _alike(served, part):
            own = Served(served[group.start].members, np.stack([each.probabilities for each in served[group]]))
            ones = np.ones(group.stop - group.start)
            times = np.arange(group.start, group.stop)
            family.evaluate(own.members, own.probabilities, labels[group], ones, times)
            family.learn_many(vectors[group], labels[group], ones, own)
        for parameters in _exported(target.name, family, version=part.stop, schema=schema):
            scorers.apply(parameters)
        advance(part.stop - start)
    return Progress(members, probabilities, champion, alarms, tuple(champions))


def _alike(served: Sequence[Served], part: slice) -> Iterator[slice]:
    """Cuts a batch where the columns of what was served change: a champion or a fresh challenger came in between."""
    start = part.start
    for row in range(part.start + 1, part.stop + 1):
        if row == part.stop or served[row].members != served[start].members:
            yield slice(start, row)
            start = row


def _exported(target: str, family: Family, version: int, schema: FeatureSchema) -> list[Parameters]:
    return [
        Parameters(
            learner=target,
            member=member,
            champion=member == family.champion,
            version=version,
            schema=schema.fingerprint,
            examples=version,
            arrays=pack_arrays(arrays),
        )
        for member, arrays in family.parameters().items()
    ]


class _Threshold:
    """The threshold with the best F1 so far; nothing is predicted positive before there was one."""

    def __init__(self) -> None:
        self._evaluation = Evaluation()
        self._best = np.inf

    def test_then_learn(self, given: Float64Array, labels: Float64Array, weights: Float64Array) -> NDArray[np.bool_]:
        alarms: NDArray[np.bool_] = given >= self._best
        self._evaluation.update(given, labels, weights)
        threshold = self._evaluation.quality().threshold
        self._best = np.inf if threshold is None else threshold
        return alarms
