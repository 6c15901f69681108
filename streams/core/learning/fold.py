"""The Learning fold: measures served predictions, then learns, once for each source position, and exports models."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from streams.contract.arrays import pack_arrays, unpack_arrays
from streams.contract.errors import RefusedStart, RejectedRecord
from streams.contract.fold import FoldResult, PartitionRow, SourceRecord
from streams.contract.metrics import LearnerMetrics, encode_metrics
from streams.contract.outputs import Output
from streams.contract.records import MSGPACK, Parameters
from streams.contract.settings import Settings
from streams.contract.source_epoch import AppliedPositions
from streams.contract.topics import EXAMPLES, LEARNERS_CHANGELOG, METRICS, MODELS
from streams.core.learning.examples import Examples, joined, read_examples
from streams.core.learning.learners import Learner, new_learner
from streams.core.learning.row import LEARNER_ROWS, LearnerRow, decode_learner_row
from streams.core.learning.size_limits import oversized, part_of, without


@dataclass
class LearningState:
    """State of a partition of learners: its row alone."""

    row: PartitionRow


class LearningFold:
    """``(learner rows, examples) -> (learner rows, models, metrics)``; partitioned by the learner's name."""

    source = EXAMPLES
    changelog = LEARNERS_CHANGELOG
    schema, oldest_schema = LEARNER_ROWS.schema, LEARNER_ROWS.oldest

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._untrained = {name: new_learner(name, settings) for name in settings.learners}

    def decode(self, record: SourceRecord, partition: int) -> Examples:
        """Decodes one record.

        Raises:
            RejectedRecord: with reason ``malformed``, or ``wrong-partition`` for a learner of another partition.
        """
        examples = read_examples(record.value)
        if examples.learner not in self._untrained:
            raise RejectedRecord("malformed", f"there is no learner {examples.learner!r}")
        if (own_partition := self._settings.partition_of_learner(examples.learner)) != partition:
            raise RejectedRecord(
                "wrong-partition", f"{examples.learner} learns in partition {own_partition}, not {partition}"
            )
        if examples.partition >= self._settings.kafka.partitions:
            raise RejectedRecord("malformed", f"there is no source partition {examples.partition}")
        self._untrained[examples.learner].check(examples)
        return examples

    def open(self, row: PartitionRow, partition: int, rows: Iterable[tuple[bytes, bytes]]) -> LearningState:
        """Opens a partition; rows of learners that the settings do not have stay as they are.

        Raises:
            RefusedStart: A learner's features have changed.
        """
        for key, value in rows:
            learner = self._untrained.get(key.decode(errors="replace"))
            if learner is not None and decode_learner_row(value).layout != learner.layout:
                raise RefusedStart(
                    f"{key.decode()} has learned from other features than the settings give now: "
                    "keep the windows as they were, or start with new topics and a new data directory"
                )
        return LearningState(row)

    def keys(self, state: LearningState, events: Sequence[tuple[int, Examples]]) -> Iterable[bytes]:
        return {examples.learner.encode() for _, examples in events}

    def fold(
        self, state: LearningState, events: Sequence[tuple[int, Examples]], rows: dict[bytes, LearnerRow | None]
    ) -> FoldResult[LearnerRow]:
        """Applies a batch, each learner's records in offset order; outputs are a record a model, and one of metrics."""
        by_learner: dict[str, list[tuple[int, Examples]]] = {}
        for offset, examples in events:
            by_learner.setdefault(examples.learner, []).append((offset, examples))
        outputs: list[Output] = []
        changed: dict[bytes, LearnerRow] = {}
        for name, own in by_learner.items():
            learned = self._fold_one(state.row, name, own, rows.get(name.encode()))
            outputs += learned.outputs
            changed |= learned.rows
        return FoldResult(outputs, changed)

    def _fold_one(
        self, partition: PartitionRow, name: str, events: Sequence[tuple[int, Examples]], stored: LearnerRow | None
    ) -> FoldResult[LearnerRow]:
        key = name.encode()
        row = stored or LearnerRow(layout=self._untrained[name].layout)
        applied_offset, version = row.applied_offset, row.version
        learner = new_learner(name, self._settings)
        if row.version:
            learner.restore(unpack_arrays(row.state), unpack_arrays(row.evaluation))
        not_applied: list[Examples] = []
        for offset, examples in events:
            _count(partition, examples)
            if offset > row.applied_offset:
                row.applied_offset = offset
                not_applied += _not_applied(row, examples)
        for examples in joined(not_applied):
            _learn(row, learner, examples)
        if row.applied_offset == applied_offset:
            return FoldResult([], {})
        if row.version == version:
            return FoldResult([], {key: row})
        state_arrays, evaluation_arrays = learner.arrays()
        row.state, row.evaluation = pack_arrays(state_arrays), pack_arrays(evaluation_arrays)
        exported = {model: pack_arrays(arrays) for model, arrays in learner.parameters().items()}
        gone = oversized(row.state, row.evaluation, exported, self._settings.engine)
        if gone:
            learner.demote(gone)
            state_arrays, evaluation_arrays = learner.arrays()
            row.state, row.evaluation = without(pack_arrays(state_arrays), gone), pack_arrays(evaluation_arrays)
        return FoldResult(_outputs(name, row, learner, exported, gone), {key: row})

    def decode_row(self, value: bytes) -> LearnerRow:
        return decode_learner_row(value)

    def encode_row(self, row: LearnerRow) -> bytes:
        return LEARNER_ROWS.encode(row)


def _count(row: PartitionRow, examples: Examples) -> None:
    """Advances the partition's applied positions; they stay exact if a crash left the learner's row ahead of them."""
    positions = row.applied_positions.setdefault(examples.learner, AppliedPositions())
    row.count("applied")
    if duplicates := examples.n_applied(positions.applied(examples.source_id, examples.partition)):
        row.count("duplicates", duplicates)
    positions.advance(examples.source_id, examples.partition, examples.last)


def _not_applied(row: LearnerRow, examples: Examples) -> list[Examples]:
    """Returns what is above the row's applied position, if anything, and advances it; the rest are duplicates."""
    applied = row.applied_positions.applied(examples.source_id, examples.partition)
    row.duplicates += examples.n_applied(applied)
    new = examples.after(applied)
    if new.is_empty:
        return []
    row.applied_positions.advance(examples.source_id, examples.partition, new.last)
    row.version += 1
    return [new]


def _learn(row: LearnerRow, learner: Learner, examples: Examples) -> None:
    row.timestamp_ms = max(row.timestamp_ms, examples.latest_ms)
    learner.measure(examples.outcomes)
    if not examples.size:
        return
    learner.learn_many(examples)
    final = examples.final
    row.examples += int(final.sum())
    row.label_sum = float(np.cumsum([row.label_sum, *examples.labels[final]])[-1])
    for type_, values in zip(examples.reward_types, examples.rewards.T, strict=True):
        row.reward_sums[type_] = float(np.cumsum([row.reward_sums.get(type_, 0.0), *values])[-1])


def _outputs(
    name: str, row: LearnerRow, learner: Learner, exported: dict[str, Any], gone: dict[str, int]
) -> list[Output]:
    outputs = [
        Output(
            MODELS,
            f"{name}/{model}".encode(),
            MSGPACK.encode(
                Parameters(
                    learner=name,
                    model=model,
                    champion=model == learner.champion,
                    version=row.version,
                    schema=learner.layout,
                    examples=row.examples,
                    arrays=arrays,
                    weights=learner.weights,
                )
            ),
        )
        for model, arrays in exported.items()
        if part_of(model) not in gone
    ]
    metrics = LearnerMetrics(
        source=f"learning/{name}",
        timestamp_ms=row.timestamp_ms,
        learner=name,
        version=row.version,
        examples=row.examples,
        champion=learner.champion,
        quality=learner.quality(row),
        demoted_bytes=gone,
    )
    return [*outputs, Output(METRICS, metrics.source.encode(), encode_metrics(metrics))]
