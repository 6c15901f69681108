"""A target's family: its members learn from the same examples, scaled alike, and are measured side by side."""

import zlib
from collections.abc import Sequence
from typing import Any, assert_never

import msgspec
import numpy as np
from numpy.typing import NDArray

from streams.contract.arrays import Arrays
from streams.contract.settings import Target
from streams.core.features.schema import FeatureSchema
from streams.core.models.evaluation import Evaluation
from streams.core.models.linear import LinearLearner
from streams.core.models.perceptron import PerceptronLearner
from streams.core.models.scaling import RunningScale

Float64Array = NDArray[np.float64]


class Family:
    """The champion and its challengers.

    Args:
        target: Names the members, champion first.
        seed: With the target's name it gives the first weights of a member that has any.
    """

    def __init__(self, target: Target, schema: FeatureSchema, seed: int) -> None:
        self.champion: str = target.members[0]
        self._scale = RunningScale(schema.scaled)
        self._members: dict[str, LinearLearner | PerceptronLearner] = {}
        for member in target.members:
            match member:
                case "linear":
                    self._members[member] = LinearLearner(len(schema.names), target.prior)
                case "perceptron":
                    own_seed = zlib.crc32(f"{seed}/{target.name}/{member}".encode())
                    self._members[member] = PerceptronLearner(len(schema.names), target.prior, own_seed)
                case _:
                    assert_never(member)
        self._evaluations: dict[str, Evaluation] = {member: Evaluation() for member in target.members}

    def evaluate(
        self, members: Sequence[str], probabilities: Float64Array, labels: Float64Array, weights: Float64Array
    ) -> None:
        """Measures the members by what they said before the labels existed, ``(n, n_members)``."""
        for column, member in enumerate(members):
            if evaluation := self._evaluations.get(member):
                evaluation.update(probabilities[:, column], labels, weights)

    def learn_many(self, vectors: NDArray[np.float32], labels: Float64Array, weights: Float64Array) -> None:
        """Learns row by row.

        Args:
            vectors: ``(n, n_features)``, as features; scaling is learned here, too.
            labels: 0 or 1, ``(n,)``.
            weights: ``(n,)``.
        """
        scaled = self._scale.learn_many(vectors)
        for member in self._members.values():
            member.learn_many(scaled, labels, weights)

    def parameters(self) -> dict[str, Arrays]:
        """What scoring needs of each member, its scale included, so that weights never meet another scale."""
        scale = self._scale.scale()
        scaling = {"mean": scale.mean, "inverse_std": scale.inverse_std}
        return {name: member.parameters() | scaling for name, member in self._members.items()}

    def quality(self) -> dict[str, dict[str, Any]]:
        """How good each member has been, as plain values."""
        return {name: msgspec.structs.asdict(evaluation.quality()) for name, evaluation in self._evaluations.items()}

    def arrays(self) -> Arrays:
        """Everything it learns from here on with, as ``<part>/<array>``."""
        return _joined({"scale": self._scale.arrays()} | {name: m.arrays() for name, m in self._members.items()})

    def evaluation_arrays(self) -> Arrays:
        return _joined({name: evaluation.arrays() for name, evaluation in self._evaluations.items()})

    def restore(self, arrays: Arrays, evaluation_arrays: Arrays) -> None:
        """Goes on from where the arrays were taken; a member that they do not know starts new."""
        self._scale.restore(_part(arrays, "scale"))
        for name, member in self._members.items():
            if own := _part(arrays, name):
                member.restore(own)
        for name, evaluation in self._evaluations.items():
            if own := _part(evaluation_arrays, name):
                evaluation.restore(own)


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
