"""The row of one learner: how far it has read, and all it needs to learn on."""

from typing import Any, Final

import msgspec

from streams.contract.arrays import unpack_arrays
from streams.core.models.family import qualities


class LearnerRow(msgspec.Struct, array_like=True):
    """Equal records give equal rows, bit for bit, however they came in batches.

    Attributes:
        guard: Highest offset of ``experiences`` that is applied.
        deadline_ms: Nothing falls due here.
        layout: Fingerprint of the columns that the state belongs to.
        marks: Source partition to the highest trigger ``(offset, index)`` learned from it.
        version: Records learned from, hence higher with every export.
        duplicates: Examples that came again and were dropped.
        timestamp_ms: Of the latest prediction or decision learned from.
        label_sum: Of the labels or rewards, unweighted.
        state: Packed arrays of the learner.
        reward_sums: Type of reward to its sum, unweighted.
        evaluation: Packed arrays of the running quality of its members.
    """

    guard: int = -1
    deadline_ms: int = 0
    layout: int = 0
    marks: dict[int, tuple[int, int]] = {}
    version: int = 0
    examples: int = 0
    duplicates: int = 0
    timestamp_ms: int = 0
    label_sum: float = 0.0
    state: dict[str, Any] = {}
    evaluation: dict[str, Any] = {}
    reward_sums: dict[str, float] = {}


decode_learner_row: Final = msgspec.msgpack.Decoder(LearnerRow).decode


def render_learner(key: bytes, value: bytes) -> dict[str, Any]:
    """Turns an encoded row into plain values for a person: numbers as they are, arrays by their shape.

    Args:
        key: The learner's name.
        value: As the changelog has it.
    """
    row = decode_learner_row(value)
    return {
        "learner": key.decode(),
        "guard": row.guard,
        "version": row.version,
        "examples": row.examples,
        "duplicates": row.duplicates,
        "timestamp_ms": row.timestamp_ms,
        "mean_label": row.label_sum / row.examples if row.examples else None,
        "marks": {str(partition): list(mark) for partition, mark in sorted(row.marks.items())},
        "members": qualities(unpack_arrays(row.evaluation)),
        "arrays": {name: {"dtype": dtype, "shape": list(shape)} for name, (dtype, shape, _) in row.state.items()},
    }
