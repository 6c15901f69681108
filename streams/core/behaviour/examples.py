"""Training examples of one batch: outcomes of predictions and decisions, encoded as columns for each learner."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from operator import attrgetter
from struct import Struct
from typing import Any, Final, NamedTuple
from zlib import crc32

import numpy as np

from streams.contract.fold import DueCursor
from streams.contract.outputs import Output
from streams.contract.records import BOTH, LEARN, MSGPACK, N_GROUPS, ExampleBatch, ServedBatch
from streams.contract.settings import Settings
from streams.contract.settings.rewards import REWARD_TYPES
from streams.contract.topics import EXAMPLES, Q_AGENT
from streams.core.behaviour.attribution import SlotReward
from streams.core.behaviour.labels import Label
from streams.core.behaviour.row import OpenDecision
from streams.core.behaviour.transitions import EndedSession, Step, end
from streams.core.features.schema import feature_schema

TERMINAL: Final = -1
MAX_EXAMPLES: Final = 1024
"""Source positions in one record; a single tick may make the labels of a whole day final."""

_FLOAT32: Final = Struct("<f")


class Labelled(NamedTuple):
    """A label of a user's prediction.

    Attributes:
        offset: Of the event that caused it.
    """

    offset: int
    key: bytes
    label: Label


class Rewarded(NamedTuple):
    """A decision whose rewards are final.

    Attributes:
        offset: Of the event that closed it.
        slots: Of every slot that was seen.
    """

    offset: int
    decision: OpenDecision
    slots: list[SlotReward]


@dataclass
class Outcomes:
    """Outcomes of one batch, in source position order.

    Points, decisions and transitions are shared with the rows: encode them after the batch's own predictions and
    decisions were made.

    Attributes:
        transitions: Finished transitions of the Q agent, and sessions that ended with open ones.
    """

    labelled: list[Labelled] = field(default_factory=list)
    rewarded: list[Rewarded] = field(default_factory=list)
    transitions: list[Step | EndedSession] = field(default_factory=list)


class EncodedExamples(NamedTuple):
    """Records of ``examples``, and the last source position of each learner that has one."""

    outputs: list[Output]
    last_positions: dict[str, tuple[int, int]]


class ExampleEncoder:
    """Turns outcomes into records of ``examples``."""

    def __init__(self, settings: Settings) -> None:
        decisions = settings.decisions
        self._partitions = {name: settings.partition_of_learner(name) for name in settings.learners}
        self._targets = [(target.name, 1.0 / target.sampling_rate) for target in settings.targets]
        self._columns = len(feature_schema(settings.windows).names)
        self._learners_from = {policy: decisions.learners_from(policy) for policy in decisions.policy_names}

    def encode(
        self, outcomes: Outcomes, partition: int, source_id: str, begun_at: DueCursor | None = None
    ) -> EncodedExamples:
        """Encodes a source partition's examples by learner, in order, at most :data:`MAX_EXAMPLES` a record.

        Args:
            begun_at: Counts the examples that an event caused in earlier batches.
        """
        entries: dict[str, _Entries] = {}

        def of(learner: str, columns: int = 0) -> _Entries:
            if learner not in entries:
                index = None if begun_at is None else begun_at.last_indices.get(learner)
                last = (-1, 0) if begun_at is None or index is None else (begun_at.offset, index)
                entries[learner] = _Entries(columns, last)
            return entries[learner]

        for labelled in outcomes.labelled:
            target, weight = self._targets[labelled.label.target]
            of(target, self._columns).add_label(labelled, weight)
        for rewarded in outcomes.rewarded:
            for learner in self._learners_from[rewarded.decision.policy]:
                of(learner).add_rewards(rewarded)
        for step in _steps(outcomes.transitions):
            of(Q_AGENT).add_step(step)
        outputs = [
            Output(EXAMPLES, learner.encode(), MSGPACK.encode(batch), number)
            for learner, number in self._partitions.items()
            if learner in entries
            for batch in entries[learner].batches(learner, partition, source_id)
        ]
        return EncodedExamples(outputs, {learner: each.last for learner, each in entries.items()})


class _Example(NamedTuple):
    offset: int
    nth: int
    vector: bytes
    label: float
    weight: float
    timestamp_ms: int
    use: int = BOTH
    scores: Sequence[float] = ()
    models: Sequence[str] = ()
    rewards: Sequence[float] = ()
    decision_id: str = ""


class _Outcome(NamedTuple):
    offset: int
    nth: int
    served: float
    label: float
    timestamp_ms: int
    group: int
    from_prior: int


class _Entries:
    """The examples of one learner, and the outcomes of what its target served, in source position order.

    Args:
        columns: Number of columns of a vector, to state in a record that has none.

    Attributes:
        last: Source position of the last entry, of an earlier batch at first.
    """

    def __init__(self, columns: int, last: tuple[int, int]) -> None:
        self.last = last
        self._columns = columns
        self._n = 0
        self._records: list[tuple[list[_Example], list[_Outcome]]] = []

    def add_label(self, labelled: Labelled, weight: float) -> None:
        """Adds a prediction with its label, as of now or final."""
        point, target, value, use, sample = labelled.label
        label = value or 0.0
        offset, index = self._position(labelled.offset)
        examples, outcomes = self._record()
        if use != LEARN:
            (served,) = _FLOAT32.unpack_from(point.served, _FLOAT32.size * target)
            from_prior = point.from_prior >> target & 1
            group = group_of(labelled.key)
            outcomes.append(_Outcome(offset, index, served, label, point.opened_ms, group, from_prior))
        if sample is not None:
            scores, models = sample.scores[target], sample.models[target]
            vector = sample.vector
            examples.append(_Example(offset, index, vector, label, weight, point.opened_ms, use, scores, models))

    def add_rewards(self, rewarded: Rewarded) -> None:
        """Adds every slot that was seen of a decision."""
        decision = rewarded.decision
        width = len(decision.features) // max(len(decision.items), 1)
        for slot, reward, by_type in rewarded.slots:
            offset, index = self._position(rewarded.offset)
            vector = decision.features[slot * width : (slot + 1) * width]
            example = _Example(offset, index, vector, reward, 1.0, decision.decided_ms)
            self._record()[0].append(example._replace(rewards=by_type, decision_id=decision.decision_id))

    def add_step(self, step: Step) -> None:
        """Adds a transition of the Q agent."""
        at, start, following = step
        next_state, next_mask = (TERMINAL, 0) if following is None else (following.state, following.mask)
        vector = np.array([start.state, start.action, next_state, next_mask], np.float32).tobytes()
        offset, index = self._position(at)
        self._record()[0].append(_Example(offset, index, vector, start.reward, 1.0, start.decided_ms))

    def batches(self, learner: str, partition: int, source_id: str) -> list[ExampleBatch]:
        """Makes the records."""
        return [_batch(learner, partition, source_id, self._columns, *record) for record in self._records]

    def _position(self, offset: int) -> tuple[int, int]:
        self.last = (offset, self.last[1] + 1 if self.last[0] == offset else 0)
        return self.last

    def _record(self) -> tuple[list[_Example], list[_Outcome]]:
        """Returns the record that takes the next entry."""
        if self._n % MAX_EXAMPLES == 0:
            self._records.append(([], []))
        self._n += 1
        return self._records[-1]


def _batch(
    learner: str, partition: int, source_id: str, columns: int, examples: list[_Example], outcomes: list[_Outcome]
) -> ExampleBatch:
    offsets, indices, vectors, labels, weights, times, uses, _, _, rewards, ids = _columns(_Example, examples)
    models = list(examples[-1].models) if examples else []
    has_rewards = any(rewards)
    return ExampleBatch(
        learner=learner,
        partition=partition,
        offsets=np.array(offsets, np.int64).tobytes(),
        indices=np.array(indices, np.int32).tobytes(),
        columns=len(vectors[0]) // 4 if vectors else columns,
        vectors=b"".join(vectors),
        labels=np.array(labels, np.float64).tobytes(),
        models=models,
        probabilities=np.array([_aligned(each, models) for each in examples], np.float64).tobytes(),
        weights=np.array(weights, np.float64).tobytes(),
        timestamps_ms=np.array(times, np.int64).tobytes(),
        reward_types=list(REWARD_TYPES) if has_rewards else [],
        rewards=np.array(rewards, np.float64).tobytes() if has_rewards else b"",
        decision_ids=list(ids) if has_rewards else [],
        uses=np.array(uses, np.int8).tobytes() if any(uses) else b"",
        outcomes=_outcome_columns(outcomes) if outcomes else None,
        source_id=source_id,
    )


def _outcome_columns(outcomes: list[_Outcome]) -> ServedBatch:
    offsets, indices, served, labels, times, groups, from_prior = _columns(_Outcome, outcomes)
    return ServedBatch(
        offsets=np.array(offsets, np.int64).tobytes(),
        indices=np.array(indices, np.int32).tobytes(),
        served=np.array(served, np.float32).tobytes(),
        labels=np.array(labels, np.float64).tobytes(),
        timestamps_ms=np.array(times, np.int64).tobytes(),
        groups=bytes(groups),
        from_prior=bytes(from_prior),
    )


def _columns(type_: type[_Example] | type[_Outcome], rows: Sequence[tuple[Any, ...]]) -> list[tuple[Any, ...]]:
    return [*zip(*rows, strict=True)] if rows else [()] * len(type_._fields)


def group_of(key: bytes) -> int:
    """Returns the group of a user, one of :data:`~streams.contract.records.N_GROUPS`."""
    return crc32(key) % N_GROUPS


def _steps(transitions: list[Step | EndedSession]) -> list[Step]:
    """Ends what was open with its session, and sorts: a decision to show nothing is known after later events."""
    steps: list[Step] = []
    for entry in transitions:
        steps += [entry] if isinstance(entry, Step) else end(entry.open_transitions, entry.offset)
    return sorted(steps, key=attrgetter("offset"))


def _aligned(example: _Example, models: list[str]) -> Sequence[float]:
    if example.models == models:
        return example.scores
    scores = dict(zip(example.models, example.scores, strict=True))
    return [scores.get(model, float("nan")) for model in models]
