"""Snapshot of a learner: its row, with the fingerprint of the columns that it was learned from."""

from typing import Final

import msgspec

from streams.contract.errors import UnreadableSource
from streams.contract.records import MSGPACK
from streams.core.learning.row import LearnerRow, decode_learner_row

FORMAT: Final = 1


class Snapshot(msgspec.Struct, frozen=True):
    """An exported learner (MessagePack).

    Attributes:
        learner: Name of a target or of a policy's model.
        layout: Fingerprint of the columns that it learned from.
        row: Its encoded row: versions, applied positions, parameter arrays, evaluation.
    """

    format: int
    learner: str
    layout: int
    row: bytes


_decode: Final = msgspec.msgpack.Decoder(Snapshot).decode


def take_snapshot(learner: str, row: bytes) -> bytes:
    """Encodes a learner's stored row as a snapshot."""
    return MSGPACK.encode(Snapshot(FORMAT, learner, decode_learner_row(row).layout, row))


def read_snapshot(value: bytes) -> Snapshot:
    """Decodes a snapshot.

    Raises:
        UnreadableSource: It is not a snapshot, or has another format.
    """
    try:
        snapshot = _decode(value)
        decode_learner_row(snapshot.row)
    except msgspec.MsgspecError as error:
        raise UnreadableSource(f"this is not a snapshot of a learner: {error}") from error
    if snapshot.format != FORMAT:
        raise UnreadableSource(f"the snapshot has format {snapshot.format}, this version reads format {FORMAT}")
    return snapshot


def rolled_back(snapshot: Snapshot, present: bytes, layout: int) -> LearnerRow:
    """Returns a learner's row with the parameters of a snapshot; applied positions and quality stay as they are.

    It goes on learning from its next example, none twice, under a version above all published ones.

    Args:
        present: The learner's current encoded row.
        layout: Fingerprint of the columns of the settings.

    Raises:
        UnreadableSource: The snapshot was learned from other columns, or is empty.
    """
    row, then = decode_learner_row(present), decode_learner_row(snapshot.row)
    if snapshot.layout != layout:
        raise UnreadableSource(
            f"the snapshot of {snapshot.learner} has layout {snapshot.layout}, the settings give {layout}: it was "
            "learned from other features; nothing was changed; use the settings of the snapshot, or another snapshot"
        )
    if not then.version:
        raise UnreadableSource(f"the snapshot of {snapshot.learner} is empty: it has learned from no records")
    row.state = then.state
    row.version += 1
    return row
