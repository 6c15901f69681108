"""A learner at one moment as one value: what it goes on from, and what tells whether it fits."""

from typing import Final

import msgspec

from streams.contract.errors import UnreadableSource
from streams.contract.records import MSGPACK
from streams.core.learning.row import LearnerRow, decode_learner_row

FORMAT: Final = 1


class Snapshot(msgspec.Struct, frozen=True):
    """An exported learner (MessagePack).

    Attributes:
        learner: A target or a policy's model.
        layout: Fingerprint of the columns that it learned from.
        row: Its encoded row: versions, marks, parameter arrays, evaluation.
    """

    format: int
    learner: str
    layout: int
    row: bytes


_decode: Final = msgspec.msgpack.Decoder(Snapshot).decode


def take_snapshot(learner: str, row: bytes) -> bytes:
    """Encodes a learner's row, as it is stored, as a snapshot."""
    return MSGPACK.encode(Snapshot(FORMAT, learner, decode_learner_row(row).layout, row))


def read_snapshot(value: bytes) -> Snapshot:
    """Decodes a snapshot.

    Raises:
        UnreadableSource: It is none, or one of another format.
    """
    try:
        snapshot = _decode(value)
        decode_learner_row(snapshot.row)
    except msgspec.MsgspecError as error:
        raise UnreadableSource(f"this is no snapshot of a learner: {error}") from error
    if snapshot.format != FORMAT:
        raise UnreadableSource(f"the snapshot is of format {snapshot.format}, this version reads {FORMAT}")
    return snapshot


def rolled_back(snapshot: Snapshot, present: bytes, layout: int) -> LearnerRow:
    """Gives a learner the parameters of a snapshot; what it has read and how good it was served stay as they are.

    Its next examples are learned on top of the snapshot's, none twice, under a version above every one that was
    published.

    Args:
        present: The learner's encoded row as it is now.
        layout: Fingerprint of the columns that the settings make.

    Raises:
        UnreadableSource: The snapshot has learned from other columns, or nothing.
    """
    row, then = decode_learner_row(present), decode_learner_row(snapshot.row)
    if snapshot.layout != layout:
        raise UnreadableSource(
            f"the snapshot of {snapshot.learner} has schema {snapshot.layout}, the settings make {layout}: it was "
            "learned from other columns; what serves now is left as it is"
        )
    if not then.version:
        raise UnreadableSource(f"the snapshot of {snapshot.learner} has learned nothing")
    row.state = then.state
    row.version += 1
    return row


def encode_learner_row(row: LearnerRow) -> bytes:
    """Encodes a row as Learning stores it."""
    return MSGPACK.encode(row)
