"""Learner row: how far a learner has read, its parameters and its quality."""

from typing import Any, Final, Literal

import msgspec
from msgspec.structs import asdict

from streams.contract.arrays import pack_arrays, unpack_arrays
from streams.contract.row_format import RowFormat, VersionedRow
from streams.contract.source_epoch import AppliedPositions
from streams.core.models.target_models import qualities, with_mixture


class LearnerRow(VersionedRow):
    """State of one learner; the same records give the same bits, however they are cut into batches.

    Attributes:
        applied_offset: Highest applied offset of ``examples``.
        deadline_ms: Always 0: learners have no deadlines.
        layout: Fingerprint of the columns that the state belongs to.
        applied_positions: Highest source positions learned from.
        version: Number of records learned from; it rises with every export.
        duplicates: Repeated examples that were dropped.
        timestamp_ms: Time of the latest prediction or decision learned from.
        label_sum: Unweighted sum of the labels or rewards.
        state: Packed arrays of the learner.
        reward_sums: Type of reward to its unweighted sum.
        evaluation: Packed arrays of the running quality of its models.
    """

    schema: Literal[2] = 2
    layout: int = 0
    applied_positions: AppliedPositions = msgspec.field(default_factory=AppliedPositions)
    version: int = 0
    examples: int = 0
    duplicates: int = 0
    timestamp_ms: int = 0
    label_sum: float = 0.0
    state: dict[str, Any] = msgspec.field(default_factory=dict)
    evaluation: dict[str, Any] = msgspec.field(default_factory=dict)
    reward_sums: dict[str, float] = msgspec.field(default_factory=dict)


def _champion_to_mixture(fields: list[Any]) -> list[Any]:
    """Gives the champion of a row of schema 1 nearly all of the weight."""
    state, evaluation = (LearnerRow.__struct_fields__.index(name) for name in ("state", "evaluation"))
    migrated = with_mixture(unpack_arrays(fields[state]), unpack_arrays(fields[evaluation]))
    fields[state], fields[evaluation] = map(pack_arrays, migrated)
    return fields


LEARNER_ROWS: Final = RowFormat(LearnerRow, "a learner's row", [_champion_to_mixture])
decode_learner_row: Final = LEARNER_ROWS.decode


def learner_view(key: bytes, value: bytes) -> dict[str, Any]:
    """Turns an encoded row into plain values to display: numbers as they are, arrays by their shape."""
    row = decode_learner_row(value)
    return {
        "learner": key.decode(),
        "applied_offset": row.applied_offset,
        "version": row.version,
        "examples": row.examples,
        "duplicates": row.duplicates,
        "timestamp_ms": row.timestamp_ms,
        "mean_label": row.label_sum / row.examples if row.examples else None,
        "applied_positions": {str(number): list(last) for number, last in sorted(row.applied_positions.last.items())},
        "models": {name: asdict(quality) for name, quality in qualities(unpack_arrays(row.evaluation)).items()},
        "arrays": {name: {"dtype": dtype, "shape": list(shape)} for name, (dtype, shape, _) in row.state.items()},
    }
