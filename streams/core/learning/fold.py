"""Experiences in, models out: measure what was served, then learn, once for each trigger."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from streams.contract.arrays import pack_arrays, unpack_arrays
from streams.contract.errors import RefusedStart, RejectedRecord
from streams.contract.fold import Folded, PartitionRow, SourceRecord
from streams.contract.outputs import Output
from streams.contract.records import JSON, MSGPACK, Parameters
from streams.contract.settings import Settings
from streams.contract.topics import EXPERIENCES, LEARNERS_CHANGELOG, METRICS, MODELS
from streams.core.learning.examples import Examples, joined, read_examples
from streams.core.learning.learners import Learner, new_learner
from streams.core.learning.row import LearnerRow, decode_learner_row
from streams.core.learning.sizes import oversized, part_of, without


@dataclass
class LearningState:
    """A partition is one learner."""

    row: PartitionRow
    learner: str


class LearningFold:
    """Conforms to :class:`~streams.contract.fold.Fold`; ``experiences`` and the rows are partitioned by learner."""

    source = EXPERIENCES
    changelog = LEARNERS_CHANGELOG
    schema = 1

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._partitions = {name: number for number, name in enumerate(settings.learners)}
        self._untrained = {name: new_learner(name, settings) for name in settings.learners}

    def decode(self, record: SourceRecord, partition: int) -> Examples:
        """Reads one record.

        Raises:
            RejectedRecord: with reason ``malformed``, or ``wrong-partition`` when its learner's partition is another.
        """
        examples = read_examples(record.value)
        own_partition = self._partitions.get(examples.learner)
        if own_partition is None:
            raise RejectedRecord("malformed", f"there is no learner {examples.learner!r}")
        if own_partition != partition:
            raise RejectedRecord(
                "wrong-partition", f"{examples.learner} learns in partition {own_partition}, not {partition}"
            )
        self._untrained[examples.learner].check(examples)
        return examples

    def open(self, row: PartitionRow, partition: int, rows: Iterable[tuple[bytes, bytes]]) -> LearningState:
        """Names the learner of a partition, and refuses rows that it cannot go on from.

        Raises:
            RefusedStart: The targets were reordered, or what the vectors mean has changed.
        """
        learner = self._settings.learners[partition]
        for key, value in rows:
            if key != learner.encode():
                raise RefusedStart(
                    f"partition {partition} of {self.changelog} holds {key.decode(errors='replace')}, not {learner}: "
                    "keep the order of the targets, or begin with new topics and a new data directory"
                )
            if decode_learner_row(value).layout != self._untrained[learner].layout:
                raise RefusedStart(
                    f"{learner} has learned from other columns than the settings make now: "
                    "keep the windows as they were, or begin with new topics and a new data directory"
                )
        return LearningState(row, learner)

    def keys(self, state: LearningState, events: Sequence[tuple[int, Examples]]) -> Iterable[bytes]:
        return [state.learner.encode()] if events else []

    def fold(
        self,
        state: LearningState,
        events: Sequence[tuple[int, Examples]],
        rows: dict[bytes, LearnerRow | None],
    ) -> Folded[LearnerRow]:
        """Applies a batch in offset order; outputs are one record for each member, and one of metrics."""
        if not events:
            return Folded([], {})
        key = state.learner.encode()
        row = rows.get(key) or LearnerRow(layout=self._untrained[state.learner].layout)
        guard, version = row.guard, row.version
        learner = self._restored(state.learner, row)
        fresh: list[Examples] = []
        for offset, examples in events:
            _count(state.row, examples)
            if offset > row.guard:
                row.guard = offset
                fresh += _fresh(row, examples)
        for examples in joined(fresh):
            _learn(row, learner, examples)
        if row.guard == guard:
            return Folded([], {})
        if row.version == version:
            return Folded([], {key: row})
        state_arrays, evaluation_arrays = learner.arrays()
        row.state, row.evaluation = pack_arrays(state_arrays), pack_arrays(evaluation_arrays)
        exported = {member: pack_arrays(arrays) for member, arrays in learner.parameters().items()}
        gone = oversized(row.state, row.evaluation, exported, self._settings.engine)
        if gone:
            learner.demote(gone)
            row.state, row.evaluation = without(row.state, gone), pack_arrays(learner.arrays()[1])
        return Folded(_outputs(state.learner, row, learner, exported, gone), {key: row})

    def decode_row(self, value: bytes) -> LearnerRow:
        return decode_learner_row(value)

    def encode_row(self, row: LearnerRow) -> bytes:
        return MSGPACK.encode(row)

    def _restored(self, name: str, row: LearnerRow) -> Learner:
        learner = new_learner(name, self._settings)
        if row.version:
            learner.restore(unpack_arrays(row.state), unpack_arrays(row.evaluation))
        return learner


def _count(row: PartitionRow, examples: Examples) -> None:
    """Advances the partition's own marks: where a crash left the learner's row ahead, only these count exactly."""
    mark = row.marks.get(examples.partition)
    row.count("applied")
    if duplicates := examples.size - examples.after(mark).size:
        row.count("duplicates", duplicates)
    row.marks[examples.partition] = max(mark or examples.last, examples.last)


def _fresh(row: LearnerRow, examples: Examples) -> list[Examples]:
    """Advances the row's mark, and returns what of a record was above it, if anything was."""
    fresh = examples.after(row.marks.get(examples.partition))
    row.duplicates += examples.size - fresh.size
    if not fresh.size:
        return []
    row.marks[examples.partition] = fresh.last
    row.version += 1
    return [fresh]


def _learn(row: LearnerRow, learner: Learner, examples: Examples) -> None:
    learner.learn_many(examples)
    final = examples.final
    row.examples += int(final.sum())
    row.timestamp_ms = max(row.timestamp_ms, int(examples.timestamps_ms.max()))
    row.label_sum = float(np.cumsum([row.label_sum, *examples.labels[final]])[-1])
    for type_, values in zip(examples.reward_types, examples.rewards.T, strict=True):
        row.reward_sums[type_] = float(np.cumsum([row.reward_sums.get(type_, 0.0), *values])[-1])


def _outputs(
    name: str, row: LearnerRow, learner: Learner, exported: dict[str, Any], gone: dict[str, int]
) -> list[Output]:
    outputs = [
        Output(
            MODELS,
            f"{name}/{member}".encode(),
            MSGPACK.encode(
                Parameters(
                    learner=name,
                    member=member,
                    champion=member == learner.champion,
                    version=row.version,
                    schema=learner.layout,
                    examples=row.examples,
                    arrays=arrays,
                )
            ),
        )
        for member, arrays in exported.items()
        if part_of(member) not in gone
    ]
    source = f"learning/{name}"
    metrics = _metrics(source, name, row, learner) | ({"demoted_bytes": gone} if gone else {})
    outputs.append(Output(METRICS, source.encode(), JSON.encode(metrics)))
    return outputs


def _metrics(source: str, name: str, row: LearnerRow, learner: Learner) -> dict[str, Any]:
    numbers: dict[str, Any] = {
        "source": source,
        "timestamp_ms": row.timestamp_ms,
        "learner": name,
        "version": row.version,
        "examples": row.examples,
        "champion": learner.champion,
    }
    if members := learner.quality():
        total = {"amount": row.label_sum} if learner.is_amount else {"positives": round(row.label_sum)}
        return numbers | total | {"members": members} | learner.standing()
    by_type = {type_: total / row.examples for type_, total in row.reward_sums.items()}
    return numbers | {"mean_reward": row.label_sum / row.examples, "mean_rewards": by_type}
