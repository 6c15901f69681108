"""Experiences of one batch, gathered by learner and sent as columns."""

from collections.abc import Iterable
from operator import attrgetter
from typing import Final, NamedTuple

import numpy as np

from streams.contract.outputs import Output
from streams.contract.records import BOTH, MSGPACK, ExperienceBatch
from streams.contract.rewards import REWARD_TYPES
from streams.contract.settings import Settings
from streams.contract.topics import EXPERIENCES, Q_AGENT
from streams.core.feedback import SlotReward
from streams.core.row import Moment, OpenDecision, OpenPrediction, Transition
from streams.core.transitions import Step, end

TERMINAL: Final = -1
MAX_EXAMPLES: Final = 1024
"""Of one record: a tick can let a day's labels mature at once."""


class _Columns:
    """The examples of one learner, in trigger order."""

    def __init__(self) -> None:
        self.offsets: list[int] = []
        self.indices: list[int] = []
        self.vectors: list[bytes | Moment] = []
        self.labels: list[float] = []
        self.predictions: list[OpenPrediction] = []
        self.weights: list[float] = []
        self.timestamps_ms: list[int] = []
        self.rewards: list[float] = []
        self.decision_ids: list[str] = []
        self.uses: list[int] = []

    def add(self, offset: int, vector: bytes | Moment, label: float, weight: float, timestamp_ms: int) -> None:
        index = self.indices[-1] + 1 if self.offsets and self.offsets[-1] == offset else 0
        self.offsets.append(offset)
        self.indices.append(index)
        self.vectors.append(vector)
        self.labels.append(label)
        self.weights.append(weight)
        self.timestamps_ms.append(timestamp_ms)


class _EndedWalk(NamedTuple):
    offset: int
    walk: list[Transition]


class Experiences:
    """Gathers what matured in one batch of one source partition.

    Values that are decided by the batch itself (probabilities, actions) are read when it is encoded, not before.

    Args:
        settings: The position of each of their learners is its partition of the topic.
    """

    def __init__(self, settings: Settings, partition: int) -> None:
        self._decisions = settings.decisions
        self._learners_from: dict[str, list[str]] = {}
        self._partition = partition
        self._columns = {learner: _Columns() for learner in settings.learners}
        self._steps: list[Step | _EndedWalk] = []

    def add_label(
        self, offset: int, moment: Moment, prediction: OpenPrediction, label: float, weight: float, use: int = BOTH
    ) -> None:
        """Adds a prediction with its label, as of now or final."""
        columns = self._columns[prediction.target]
        columns.add(offset, moment, label, weight, moment.opened_ms)
        columns.predictions.append(prediction)
        columns.uses.append(use)

    def add_rewards(self, offset: int, decision: OpenDecision, rewards: Iterable[SlotReward]) -> None:
        """Adds every slot that was seen of a decision whose rewards are final, for all who learn from it."""
        learners = self._learners_from.get(decision.policy)
        if learners is None:
            learners = self._learners_from[decision.policy] = self._decisions.learners_from(decision.policy)
        width = len(decision.features) // max(len(decision.items), 1)
        for slot, reward, by_type in rewards:
            vector = decision.features[slot * width : (slot + 1) * width]
            for learner in learners:
                columns = self._columns[learner]
                columns.add(offset, vector, reward, 1.0, decision.decided_ms)
                columns.rewards += by_type
                columns.decision_ids.append(decision.decision_id)

    def add_steps(self, steps: Iterable[Step]) -> None:
        """Adds finished transitions of the Q agent."""
        self._steps += steps

    def add_walk(self, offset: int, walk: list[Transition]) -> None:
        """Adds what a walk comes to that ended with its session, some of whose decisions may still be made."""
        self._steps.append(_EndedWalk(offset, walk))

    def outputs(self) -> list[Output]:
        """Encodes the examples, at most :data:`MAX_EXAMPLES` a record, each learner's in trigger order."""
        self._add_steps()
        return [
            Output(EXPERIENCES, learner.encode(), MSGPACK.encode(self._batch(learner, columns, begin)), partition)
            for partition, (learner, columns) in enumerate(self._columns.items())
            for begin in range(0, len(columns.offsets), MAX_EXAMPLES)
        ]

    def _add_steps(self) -> None:
        columns = self._columns[Q_AGENT]
        steps: list[Step] = []
        for entry in self._steps:
            steps += [entry] if isinstance(entry, Step) else end(entry.walk, entry.offset)
        # A decision to show nothing is known later than what else happened at its event and after it.
        for offset, start, following in sorted(steps, key=attrgetter("offset")):
            next_state, next_mask = (TERMINAL, 0) if following is None else (following.state, following.mask)
            vector = np.array([start.state, start.action, next_state, next_mask], np.float32).tobytes()
            columns.add(offset, vector, start.reward, 1.0, start.decided_ms)

    def _batch(self, learner: str, columns: _Columns, begin: int) -> ExperienceBatch:
        part = slice(begin, begin + MAX_EXAMPLES)
        predictions = columns.predictions[part]
        members = predictions[-1].members if predictions else []
        probabilities = [_aligned(prediction, members) for prediction in predictions]
        n_types = len(REWARD_TYPES) if columns.rewards else 0
        vectors = [vector.vector if isinstance(vector, Moment) else vector for vector in columns.vectors[part]]
        return ExperienceBatch(
            learner=learner,
            partition=self._partition,
            offsets=np.array(columns.offsets[part], np.int64).tobytes(),
            indices=np.array(columns.indices[part], np.int32).tobytes(),
            columns=len(vectors[0]) // 4,
            vectors=b"".join(vectors),
            labels=np.array(columns.labels[part], np.float64).tobytes(),
            members=members,
            probabilities=np.array(probabilities, np.float64).tobytes(),
            weights=np.array(columns.weights[part], np.float64).tobytes(),
            timestamps_ms=np.array(columns.timestamps_ms[part], np.int64).tobytes(),
            reward_types=list(REWARD_TYPES[:n_types]),
            rewards=np.array(columns.rewards[begin * n_types : (begin + MAX_EXAMPLES) * n_types], np.float64).tobytes(),
            decision_ids=columns.decision_ids[part],
            uses=np.array(columns.uses[part], np.int8).tobytes() if any(columns.uses[part]) else b"",
        )


def _aligned(prediction: OpenPrediction, members: list[str]) -> list[float]:
    if prediction.members == members:
        return prediction.probabilities
    served = dict(zip(prediction.members, prediction.probabilities, strict=True))
    return [served.get(member, float("nan")) for member in members]
