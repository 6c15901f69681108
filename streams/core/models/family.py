"""A target's family: its members learn from the same examples, scaled alike, and are measured side by side."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from streams.contract.arrays import Arrays
from streams.contract.settings import Target
from streams.core.features.schema import FeatureSchema
from streams.core.models.blend import BLEND, BlendLearner
from streams.core.models.evaluation import Evaluation
from streams.core.models.members import MemberLearner, new_member
from streams.core.models.scaling import RunningScale

Float64Array = NDArray[np.float64]


class Served(NamedTuple):
    """What members said of examples before their labels existed.

    Attributes:
        probabilities: ``(n, n_members)``; NaN for a member that did not exist.
    """

    members: Sequence[str]
    probabilities: Float64Array


class Family:
    """The champion and its challengers.

    Args:
        target: Names the members, champion first.
        seed: With the target's name it gives the first weights of a member that has any.
    """

    def __init__(self, target: Target, schema: FeatureSchema, seed: int) -> None:
        self.champion: str = target.members[0]
        self._scale = RunningScale(schema.scaled)
        self._members: dict[str, MemberLearner] = {
            member: new_member(member, target.name, schema, target.prior, seed)
            for member in target.members
            if member != BLEND
        }
        self._blend = BlendLearner(tuple(self._members)) if BLEND in target.members else None
        self._evaluations: dict[str, Evaluation] = {member: Evaluation() for member in target.members}

    def evaluate(
        self, members: Sequence[str], probabilities: Float64Array, labels: Float64Array, weights: Float64Array
    ) -> None:
        """Measures the members by what they said before the labels existed, ``(n, n_members)``."""
        for column, member in enumerate(members):
            if evaluation := self._evaluations.get(member):
                evaluation.update(probabilities[:, column], labels, weights)

    def learn_many(
        self,
        vectors: NDArray[np.float32],
        labels: Float64Array,
        weights: Float64Array,
        served: Served | None = None,
    ) -> None:
        """Learns row by row.

        Args:
            vectors: ``(n, n_features)``, as features; scaling is learned here, too.
            labels: 0 or 1, ``(n,)``.
            weights: ``(n,)``.
            served: What the members had said; a member that combines the others learns from nothing else.

        Raises:
            ValueError: A vector is not finite; nothing was learned.
        """
        if not np.isfinite(vectors).all():
            raise ValueError("a vector is not finite: it would spoil every member for good")
        scaled = self._scale.learn_many(vectors)
        for member in self._members.values():
            member.learn_many(scaled, labels, weights)
        if self._blend is not None and served is not None:
            self._blend.learn_many(served.members, served.probabilities, labels, weights)

    def parameters(self) -> dict[str, Arrays]:
        """What scoring needs of each member, its scale included, so that weights never meet another scale."""
        scale = self._scale.scale()
        scaling = {"mean": scale.mean, "inverse_std": scale.inverse_std}
        parts = {name: member.parameters() | scaling for name, member in self._members.items()}
        return parts | ({BLEND: self._blend.parameters() | scaling} if self._blend is not None else {})

    def quality(self) -> dict[str, dict[str, Any]]:
        """How good each member has been, as plain values."""
        return {name: msgspec.structs.asdict(evaluation.quality()) for name, evaluation in self._evaluations.items()}

    def arrays(self) -> Arrays:
        """Everything it learns from here on with, as ``<part>/<array>``."""
        return _joined({"scale": self._scale.arrays()} | {name: part.arrays() for name, part in self._parts.items()})

    def evaluation_arrays(self) -> Arrays:
        return _joined({name: evaluation.arrays() for name, evaluation in self._evaluations.items()})

    def restore(self, arrays: Arrays, evaluation_arrays: Arrays) -> None:
        """Goes on from where the arrays were taken; a member that they do not know starts new."""
        self._scale.restore(_part(arrays, "scale"))
        for member, learner in self._parts.items():
            if own := _part(arrays, member):
                learner.restore(own)
        for member, evaluation in self._evaluations.items():
            if own := _part(evaluation_arrays, member):
                evaluation.restore(own)

    @property
    def _parts(self) -> dict[str, MemberLearner | BlendLearner]:
        return {**self._members, **({BLEND: self._blend} if self._blend is not None else {})}


def qualities(evaluation_arrays: Arrays) -> dict[str, dict[str, Any]]:
    """Reads how good each member has been from the arrays alone, as plain values."""
    found: dict[str, dict[str, Any]] = {}
    for name in sorted({name.partition("/")[0] for name in evaluation_arrays}):
        evaluation = Evaluation()
        evaluation.restore(_part(evaluation_arrays, name))
        found[name] = msgspec.structs.asdict(evaluation.quality())
    return found


def _joined(parts: dict[str, Arrays]) -> Arrays:
    return {f"{part}/{name}": array for part, arrays in parts.items() for name, array in arrays.items()}


def _part(arrays: Arrays, part: str) -> Arrays:
    return {name.removeprefix(f"{part}/"): array for name, array in arrays.items() if name.startswith(f"{part}/")}
