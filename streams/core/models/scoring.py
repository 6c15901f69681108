"""The weights that predictions are made with: exported by Learning, applied here to whole batches."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from streams.contract.arrays import Arrays, unpack_arrays
from streams.contract.records import Parameters, Reason
from streams.contract.rules import RULES
from streams.contract.settings import Target
from streams.core.features.schema import FeatureSchema
from streams.core.models.blend import BLEND, blend_contributions, blend_logits
from streams.core.models.logistic import log_odds, probabilities
from streams.core.models.members import KINDS, kind_of
from streams.core.models.scaling import Scale, ScaledVectors

Float64Array = NDArray[np.float64]
Float32Array = NDArray[np.float32]


class _Member(NamedTuple):
    version: int
    scale: Scale
    arrays: Arrays


class Scorers:
    """Scores every member of every target's family; a row's score has the same bits in any batch.

    Args:
        targets: Each with its members, champion first, and the prior that stands in for weights nobody has sent yet.
        schema: Of the vectors; parameters that were learned on another one are refused.
    """

    def __init__(self, targets: Sequence[Target], schema: FeatureSchema) -> None:
        self._targets = {target.name: target for target in targets}
        self._schema = schema
        self._members: dict[tuple[str, str], _Member] = {}
        self._fresh: dict[str, str] = {}
        self._champions: dict[str, str] = {target.name: target.members[0] for target in targets}

    def apply(self, parameters: Parameters) -> bool:
        """Takes a record of the models feed.

        Returns:
            Whether it is one for these targets and this schema, and scores; what does not is not used.
        """
        target = self._targets.get(parameters.learner)
        if target is None or parameters.schema != self._schema.fingerprint:
            return False
        if kind_of(parameters.member) not in target.members:
            return False
        try:
            arrays = unpack_arrays(parameters.arrays)
            scale = Scale(self._schema.scaled, arrays["mean"], arrays["inverse_std"])
            score = self._trial(target, parameters.member, scale, arrays)
        except (IndexError, KeyError, TypeError, ValueError):
            return False
        if score.shape != (1,) or not np.isfinite(score[0]):
            return False
        self._members[target.name, parameters.member] = _Member(parameters.version, scale, arrays)
        if parameters.member in target.members:
            self._dismiss(target.name, parameters.version)
        else:
            self._fresh[target.name] = parameters.member
        if parameters.champion:
            self._champions[target.name] = parameters.member
        return True

    def members(self, target: str) -> list[str]:
        """Names the columns of :meth:`score`: the champion, the others as declared, then a fresh challenger if any."""
        champion = self._champions[target]
        return [champion, *(member for member in self._all(target) if member != champion)]

    def version(self, target: str) -> int:
        """Returns the version of the champion's weights, 0 for the prior."""
        champion = self._members.get((target, self._champions[target]))
        return champion.version if champion else 0

    def is_amount(self, target: str) -> bool:
        """Tells whether an amount is expected, and not a probability given."""
        return RULES[self._targets[target].rule].is_amount

    def scaled(self, vectors: Float32Array) -> ScaledVectors:
        """Prepares vectors, ``(n, n_features)``, that are scored for several targets and have reasons named."""
        return ScaledVectors(self._schema.scaled, vectors)

    def score(self, target: str, vectors: Float32Array | ScaledVectors) -> Float64Array:
        """Returns each member's probability, or amount, for every row of ``(n, n_features)``: ``(n, n_members)``."""
        names = self.members(target)
        vectors = self._prepared(vectors)
        logits = self._logits(target, vectors)
        scores = np.full((len(vectors), len(names)), self._targets[target].prior)
        for column, name in enumerate(names):
            if (target, name) in self._members:
                served = probabilities if name == BLEND else KINDS[kind_of(name)].served
                scores[:, column] = served(logits[name])
        return scores

    def reasons(self, target: str, vectors: Float32Array | ScaledVectors, k: int = 3) -> list[list[Reason]]:
        """Names the features that moved the champion's score most, against a shopper who is average in them.

        Returns:
            For each row at most ``k``, strongest first; none where the champion has not sent weights.
        """
        vectors = self._prepared(vectors)
        moved = self._contributions(target, vectors)
        if moved is None:
            return [[] for _ in range(len(vectors))]
        strongest = _strongest(np.abs(moved), k)
        amounts = np.take_along_axis(moved, strongest, axis=1)
        names = self._schema.names
        return [
            [Reason(names[feature], amount) for feature, amount in zip(features, row, strict=True) if amount]
            for features, row in zip(strongest.tolist(), amounts.tolist(), strict=True)
        ]

    def _trial(self, target: Target, member: str, scale: Scale, arrays: Arrays) -> Float64Array:
        """Scores a shopper who has done nothing, with parameters of which nothing is known but their names."""
        scaled = scale.apply(np.zeros((1, len(self._schema.names)), np.float32))
        if member != BLEND:
            return KINDS[kind_of(member)].logits(scaled, arrays)
        return blend_logits({name: np.zeros(1) for name in target.members if name != BLEND}, arrays)

    def _all(self, target: str) -> tuple[str, ...]:
        fresh = self._fresh.get(target)
        return self._targets[target].members + ((fresh,) if fresh else ())

    def _dismiss(self, target: str, version: int) -> None:
        """Forgets a fresh challenger that was not exported with this version: it has won, or lost its patience."""
        fresh = self._fresh.get(target)
        if fresh is not None and self._members[target, fresh].version < version:
            del self._fresh[target], self._members[target, fresh]

    def _prepared(self, vectors: Float32Array | ScaledVectors) -> ScaledVectors:
        return vectors if isinstance(vectors, ScaledVectors) else self.scaled(vectors)

    def _logits(self, target: str, vectors: ScaledVectors) -> dict[str, Float64Array]:
        """Scores the members that have sent weights; those of one version share their scaled vectors."""
        declared = self._targets[target]
        logits: dict[str, Float64Array] = {}
        for name in self._all(target):
            member = self._members.get((target, name))
            if name == BLEND:
                continue
            if member is None:
                if BLEND in declared.members:
                    logits[name] = np.full(len(vectors), log_odds(declared.prior))
                continue
            scaled = vectors.by(target, member.version, member.scale)
            logits[name] = KINDS[kind_of(name)].logits(scaled, member.arrays)
        if blend := self._members.get((target, BLEND)):
            logits[BLEND] = blend_logits(logits, blend.arrays)
        return logits

    def _contributions(self, target: str, vectors: ScaledVectors) -> Float64Array | None:
        """What each feature moved the champion's log-odds by, ``(n, n_features)``."""
        champion = self._champions[target]
        member = self._members.get((target, champion))
        if member is None or champion != BLEND:
            return self._moved(target, champion, vectors)
        combined = {name: self._moved(target, name, vectors) for name in member.arrays if name in KINDS}
        known = {name: moved for name, moved in combined.items() if moved is not None}
        return blend_contributions(known, member.arrays)

    def _moved(self, target: str, name: str, vectors: ScaledVectors) -> Float64Array | None:
        member = self._members.get((target, name))
        if member is None:
            return None
        return KINDS[name].contributions(vectors.by(target, member.version, member.scale), member.arrays)


def _strongest(strengths: Float64Array, k: int) -> NDArray[np.int64]:
    """Finds the places of each row's ``k`` highest, the highest first, of equal ones the first; changes its argument.

    A few passes cost a fraction of sorting every row.
    """
    n_rows, n_columns = strengths.shape
    rows, places = np.arange(n_rows), np.empty((n_rows, min(k, n_columns)), np.int64)
    for rank in range(places.shape[1]):
        places[:, rank] = highest = strengths.argmax(axis=1)
        strengths[rows, highest] = -1.0
    return places
