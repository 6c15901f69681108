"""A target's family: its members learn from the same examples, scaled alike, and are measured side by side."""

from collections.abc import Collection, Sequence
from typing import Any, Final, NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from streams.contract.arrays import Arrays
from streams.contract.rules import RULES
from streams.contract.settings import Target
from streams.core.features.schema import FeatureSchema
from streams.core.models.amounts import AmountEvaluation, deviances
from streams.core.models.blend import BLEND, BlendLearner
from streams.core.models.contest import Contest, Losses
from streams.core.models.corrected import CorrectedLearner
from streams.core.models.drift import DriftWatch
from streams.core.models.evaluation import Evaluation
from streams.core.models.fresh import Fresh, restored_fresh
from streams.core.models.measures import losses
from streams.core.models.members import MemberLearner, fresh_name, kind_of, new_member
from streams.core.models.scaling import RunningScale

Float64Array = NDArray[np.float64]

_FRESH: Final = "fresh"
_CONTEST: Final = "contest"
_DRIFT: Final = "drift"


class Served(NamedTuple):
    """What members said of examples before their labels existed.

    Attributes:
        probabilities: ``(n, n_members)``; NaN for a member that did not exist.
    """

    members: Sequence[str]
    probabilities: Float64Array


class Family:
    """The champion and its challengers.

    Any of the members may come to be the champion, by what they had said before the labels existed. When the champion's
    loss rises, a fresh challenger begins; if it wins, the member of its kind goes on with what it has learned.

    Args:
        target: Names the members, champion first.
        seed: With the target's name it gives the first weights of a member that has any.
    """

    def __init__(self, target: Target, schema: FeatureSchema, seed: int) -> None:
        self._target = target
        self._schema = schema
        self._seed = seed
        self._corrects = target.labels == "correct"
        self._scale = RunningScale(schema.scaled)
        self._members: dict[str, MemberLearner] = {
            member: self._new(member) for member in target.members if member != BLEND
        }
        self._blend = BlendLearner(tuple(self._members), target.prior) if BLEND in target.members else None
        self._fresh: Fresh | None = None
        is_amount = RULES[target.rule].is_amount
        self._evaluations: dict[str, Evaluation | AmountEvaluation] = {
            member: AmountEvaluation() if is_amount else Evaluation() for member in target.members
        }
        loss = _in_units_of(target.prior) if is_amount else losses
        self._contest = Contest((*target.members, _FRESH), loss)
        self._drift = DriftWatch(loss)

    @property
    def champion(self) -> str:
        """The member that serves."""
        return self._contest.champion

    @property
    def renewing(self) -> bool:
        """Tells whether a fresh challenger has begun."""
        return self._fresh is not None

    def evaluate(
        self,
        members: Sequence[str],
        probabilities: Float64Array,
        labels: Float64Array,
        weights: Float64Array,
        timestamps_ms: NDArray[np.int64],
    ) -> None:
        """Measures the members by what they said before the labels existed: the champion may change, drift be found.

        The same examples are to be learned next.

        Args:
            members: Names of the columns, the one that served first.
            probabilities: ``(n, n_members)``, or expected amounts; NaN for a member that did not exist.
            labels: 0 or 1, amounts 0 or more, ``(n,)``.
            weights: ``(n,)``.
            timestamps_ms: When the predictions were made, ``(n,)``.
        """
        for column, member in enumerate(members):
            if evaluation := self._evaluations.get(member):
                evaluation.update(probabilities[:, column], labels, weights)
        free_from = self._compete(members, probabilities, labels, weights)
        for row in self._drift.update(probabilities[:, 0], labels, timestamps_ms):
            if self._fresh is None and row >= free_from:
                name = fresh_name(self._to_renew(), self._drift.alarms)
                # Where labels are corrected, what is measured is not what is learned next.
                self._fresh = Fresh(name, self._new(name), skipped=0 if self._corrects else row + 1)

    def _compete(
        self, members: Sequence[str], probabilities: Float64Array, labels: Float64Array, weights: Float64Array
    ) -> int:
        """Lets the champion change; returns the row from which on there may be another fresh challenger."""
        fresh, free_from, start, n = self._fresh, 0, 0, len(labels)
        columns = [_FRESH if fresh is not None and member == fresh.name else member for member in members]
        if fresh is not None and fresh.patience < n and _FRESH in columns:
            probabilities = probabilities.copy()
            probabilities[fresh.patience :, columns.index(_FRESH)] = np.nan
        while start < n:
            start += self._contest.update(columns, probabilities[start:], labels[start:], weights[start:])
            if fresh is not None and self._contest.champion == _FRESH:
                self._contest.champion = kind_of(fresh.name)
                self._members[kind_of(fresh.name)] = fresh.learner
                columns = list(members)
                self._fresh, fresh, free_from = None, None, start
        if fresh is not None and fresh.patience <= n:
            self._contest.restart(_FRESH)
            self._fresh, free_from = None, fresh.patience
        return free_from

    def _to_renew(self) -> str:
        """Names the champion, or the best of those that it combines."""
        return self.champion if self.champion != BLEND else self._contest.best(tuple(self._members))

    def _new(self, member: str) -> MemberLearner:
        learner = new_member(member, self._target.name, self._schema, self._target.prior, self._seed)
        return CorrectedLearner(member, learner) if self._corrects else learner

    def demote(self, gone: Collection[str]) -> None:
        """Lets the best of the others serve where the champion is left out of what is exported.

        Args:
            gone: Members that are; where all are, nobody else can serve.
        """
        left = tuple(member for member in self._target.members if member not in gone)
        if self.champion in gone and left:
            self._contest.hand_over(self._contest.best(left))

    def learn_many(
        self,
        vectors: NDArray[np.float32],
        labels: Float64Array,
        weights: Float64Array,
        served: Served | None = None,
        chances: Float64Array | None = None,
    ) -> None:
        """Learns row by row; of negatives only the share that the target declares, each for as many as it stands for.

        Args:
            vectors: ``(n, n_features)``, as features; scaling is learned here, too.
            labels: 0 or 1, amounts 0 or more, ``(n,)``.
            weights: ``(n,)``.
            served: What the members had said; a member that combines the others learns from nothing else.
            chances: A number in [0, 1) for each row, to thin negatives by; without them all are learned from.

        Raises:
            ValueError: A vector is not finite; nothing was learned.
        """
        if not np.isfinite(vectors).all():
            raise ValueError("a vector is not finite: it would spoil every member for good")
        scaled = self._scale.learn_many(vectors)
        if chances is None or self._target.negatives == 1.0:
            taken = np.ones(len(labels), bool)
        else:
            taken = (labels > 0.5) | (chances < self._target.negatives)
            weights = np.where(labels > 0.5, weights, weights / self._target.negatives)
        learned = (scaled, labels, weights) if taken.all() else (scaled[taken], labels[taken], weights[taken])
        for member in self._members.values():
            member.learn_many(*learned)
        if self._fresh is not None:
            self._fresh.learn_many(scaled, labels, weights, taken)
        if served is not None:
            self.learn_blend(Served(served.members, served.probabilities[taken]), *learned[1:])

    def learn_blend(self, served: Served, labels: Float64Array, weights: Float64Array) -> None:
        """Has the member that combines the others learn, by final labels."""
        if self._blend is not None:
            self._blend.learn_many(served.members, served.probabilities, labels, weights)

    def parameters(self) -> dict[str, Arrays]:
        """What scoring needs of each member, its scale included, so that weights never meet another scale."""
        scale = self._scale.scale()
        scaling = {"mean": scale.mean, "inverse_std": scale.inverse_std}
        # A reader that meets a version without the fresh challenger forgets it: it comes before the others.
        fresh = {self._fresh.name: self._fresh.learner} if self._fresh is not None else {}
        learners: dict[str, MemberLearner | BlendLearner] = {**fresh, **self._parts}
        return {name: learner.parameters() | scaling for name, learner in learners.items()}

    def quality(self) -> dict[str, dict[str, Any]]:
        """How good each member has been, as plain values."""
        return {name: msgspec.structs.asdict(evaluation.quality()) for name, evaluation in self._evaluations.items()}

    def standing(self) -> dict[str, Any]:
        """Who serves since how many switches, and what the watch for drift has seen, as plain values."""
        fresh = self._fresh.name if self._fresh else None
        return {"switches": self._contest.switches, "drift": self._drift.summary() | {"fresh": fresh}}

    def arrays(self) -> Arrays:
        """Everything it learns from here on with, as ``<part>/<array>``."""
        parts = {"scale": self._scale.arrays()} | {name: part.arrays() for name, part in self._parts.items()}
        return _joined(parts | ({_FRESH: self._fresh.arrays()} if self._fresh is not None else {}))

    def evaluation_arrays(self) -> Arrays:
        evaluations = {name: evaluation.arrays() for name, evaluation in self._evaluations.items()}
        return _joined(evaluations | {_CONTEST: self._contest.arrays(), _DRIFT: self._drift.arrays()})

    def restore(self, arrays: Arrays, evaluation_arrays: Arrays) -> None:
        """Goes on from where the arrays were taken; a member that they do not know starts new."""
        self._scale.restore(_part(arrays, "scale"))
        for member, learner in self._parts.items():
            if own := _part(arrays, member):
                learner.restore(own)
        for member, evaluation in self._evaluations.items():
            if own := _part(evaluation_arrays, member):
                evaluation.restore(own)
        if own := _part(arrays, _FRESH):
            self._fresh = restored_fresh(own, self._new)
        if own := _part(evaluation_arrays, _CONTEST):
            self._contest.restore(own)
        if own := _part(evaluation_arrays, _DRIFT):
            self._drift.restore(own)

    @property
    def _parts(self) -> dict[str, MemberLearner | BlendLearner]:
        return {**self._members, **({BLEND: self._blend} if self._blend is not None else {})}


def qualities(evaluation_arrays: Arrays) -> dict[str, dict[str, Any]]:
    """Reads how good each member has been from the arrays alone, as plain values."""
    found: dict[str, dict[str, Any]] = {}
    for name in sorted({name.partition("/")[0] for name in evaluation_arrays} - {_CONTEST, _DRIFT}):
        own = _part(evaluation_arrays, name)
        evaluation = AmountEvaluation() if "errors" in own else Evaluation()
        evaluation.restore(own)
        found[name] = msgspec.structs.asdict(evaluation.quality())
    return found


def _in_units_of(prior: float) -> Losses:
    """Makes the loss of amounts comparable with 1: half of it is what the prior loses where nothing is spent."""
    unit = 2.0 * float(deviances(np.array([prior]), np.zeros(1))[0])
    return lambda given, labels: deviances(given, labels) / unit


def _joined(parts: dict[str, Arrays]) -> Arrays:
    return {f"{part}/{name}": array for part, arrays in parts.items() for name, array in arrays.items()}


def _part(arrays: Arrays, part: str) -> Arrays:
    return {name.removeprefix(f"{part}/"): array for name, array in arrays.items() if name.startswith(f"{part}/")}
