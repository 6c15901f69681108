"""Interface of a fold, the pure function over keyed rows that the engine runs."""

import zlib
from collections.abc import Iterable, Sequence
from typing import Final, Generic, Literal, NamedTuple, Protocol, TypeVar

import msgspec

from streams.contract.outputs import Output
from streams.contract.row_format import RowFormat, VersionedRow
from streams.contract.source_epoch import AppliedPositions

EventT = TypeVar("EventT")
RowT = TypeVar("RowT")
StateT = TypeVar("StateT", bound="PartitionState")

PARTITION_KEY = b"\x00partition"
"""Reserved key of the partition row. No user, item or learner can have it: their identifiers contain no NUL."""


LOG_APPEND_TIME: Final = 1


class SourceRecord(Protocol):
    """One record of the source topic, as the Kafka client returns it."""

    @property
    def offset(self) -> int: ...
    @property
    def timestamp(self) -> int:
        """Timestamp of the record by the broker or the producer, milliseconds, UTC; -1 if it has none."""
        ...

    @property
    def timestamp_type(self) -> int:
        """:data:`LOG_APPEND_TIME` if the broker made the timestamp, another number if the producer did."""
        ...

    @property
    def key(self) -> bytes | None: ...
    @property
    def value(self) -> bytes | None: ...


def record_digest(timestamp_ms: int, key: bytes | None) -> tuple[int, int]:
    """Identifies a record without its topic's id: its timestamp, and the CRC-32 of its key."""
    return timestamp_ms, zlib.crc32(key or b"")


class RowHeader(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """First fields of every encoded row; recovery and the rebuilding of deadlines read only these.

    Attributes:
        applied_offset: Highest source offset applied to the row.
        deadline_ms: Event time of the row's earliest deadline, 0 for none.
    """

    applied_offset: int
    deadline_ms: int = 0


class Identity(msgspec.Struct, array_like=True, frozen=True):
    """What rows belong to: offsets and names alone identify nothing. What is empty is not known.

    Attributes:
        topic_ids: Id that the broker gave the source and the changelog, by their names.
        partitions: Number of partitions of the source.
        shape: Setting to its value in words, where rows that were made with another value are of no use.
        followed: Setting to its value in words, where such rows are taken.
    """

    topic_ids: dict[str, str] = {}
    app_id: str = ""
    partitions: int = 0
    shape: dict[str, str] = {}
    followed: dict[str, str] = {}


class DueCursor(msgspec.Struct, array_like=True, frozen=True):
    """Place among the rows that one event makes due, where there are too many of them for one batch.

    The event itself is not applied before all of them are. ``(deadline_ms, key)`` is that of the first row that is not
    done. A row below it that is still due was cut off by a crash within the changelog: its outputs were delivered.

    Attributes:
        offset: Source offset of the event, with its epoch.
        last_indices: Learner to the index of its last example that the event caused so far.
    """

    offset: int
    deadline_ms: int
    key: bytes
    last_indices: dict[str, int] = {}


class PartitionRow(VersionedRow):
    """State of one whole source partition.

    It is logged last in every batch, so that it is never ahead of the rows, but for a batch that applies no event and
    moves ``due_cursor`` only: there it is the first.

    Attributes:
        applied_offset: Highest source offset applied completely, with its epoch
            (:mod:`~streams.contract.source_epoch`); everything at or below it is skipped.
        rows_schema: Schema of the newest rows of the fold; a worker that cannot read it refuses to start.
        watermark_ms: Event time that the partition has reached, -1 before the first event.
        applied_positions: Reader of the partition, such as a learner, to the highest positions that it has applied from
            the source that the records of this one go back to.
        counts: Exact totals since the first event: ``applied``, ``duplicates``, ``late``, ``dead_letters.<reason>``.
        tallies: Exact sums of the fold, by name.
        identity: What the rows of the partition belong to.
        last_record: Timestamp, and CRC-32 of the key, of the record at ``applied_offset``; it tells a topic that was
            made anew where topics have no ids.
        latest: ``(user hash, event time)`` of the users with the latest events, which advance the watermark together.
        due_cursor: Set while the event after ``applied_offset`` has advanced the watermark and not all rows that it
            made due are done.
    """

    schema: Literal[1] = 1
    rows_schema: int = 0
    watermark_ms: int = -1
    applied_positions: dict[str, AppliedPositions] = msgspec.field(default_factory=dict)
    counts: dict[str, int] = msgspec.field(default_factory=dict)
    tallies: dict[str, list[int]] = msgspec.field(default_factory=dict)
    identity: Identity = Identity()
    last_record: tuple[int, int] = (-1, 0)
    latest: list[tuple[int, int]] = msgspec.field(default_factory=list)
    due_cursor: DueCursor | None = None

    def count(self, name: str, by: int = 1) -> None:
        """Adds ``by`` to one of the totals."""
        self.counts[name] = self.counts.get(name, 0) + by


PARTITION_ROWS: Final = RowFormat(PartitionRow, "a partition's row")
decode_partition_row: Final = PARTITION_ROWS.decode


class PartitionState(Protocol):
    """A fold's state of one partition in memory: the partition row, and all that is rebuilt from rows (deadlines)."""

    row: PartitionRow


class FoldResult(NamedTuple, Generic[RowT]):
    """The result of one batch.

    Attributes:
        outputs: Records to produce, in order.
        rows: Changed rows by key.
        n_left: Number of events at the end of the batch that were not applied, because more rows fall due than one
            batch takes. The engine commits what was done, and calls again with them.
    """

    outputs: list[Output]
    rows: dict[bytes, RowT]
    n_left: int = 0


class Fold(Protocol[EventT, RowT, StateT]):
    """``(rows, events) -> (rows, outputs)``, deterministic: no clock, no randomness of its own, no input or output.

    The engine calls ``decode`` for each record, then ``keys``, then ``fold`` with those rows, once a batch. Only
    ``fold`` changes rows and state, in place; if anything raises after that, the process ends and the changes are lost.

    Attributes:
        schema: Number of the schema that ``encode_row`` writes.
        oldest_schema: Number of the oldest schema that ``decode_row`` reads.
    """

    source: str
    changelog: str
    schema: int
    oldest_schema: int

    def decode(self, record: SourceRecord, partition: int) -> EventT:
        """Validates one record.

        Raises:
            RejectedRecord: The record becomes a dead letter.
        """
        ...

    def open(self, row: PartitionRow, partition: int, rows: Iterable[tuple[bytes, bytes]]) -> StateT:
        """Rebuilds the state of a partition from its row and a scan of all other rows, encoded."""
        ...

    def keys(self, state: StateT, events: Sequence[tuple[int, EventT]]) -> Iterable[bytes]:
        """Returns the keys of the rows that a batch of ``(offset, event)`` needs: those of events and due deadlines.

        They are bounded, whatever falls due: a fold may leave out those of events that it is going to leave.
        """
        ...

    def fold(
        self, state: StateT, events: Sequence[tuple[int, EventT]], rows: dict[bytes, RowT | None]
    ) -> FoldResult[RowT]:
        """Applies a batch in offset order; offsets carry their epoch (:mod:`~streams.contract.source_epoch`).

        An event at or below its row's applied offset is skipped for that row, but still advances time.
        The engine advances ``state.row.applied_offset``, up to the events that were left.
        """
        ...

    def decode_row(self, value: bytes) -> RowT: ...
    def encode_row(self, row: RowT) -> bytes:
        """Encodes a row as a MessagePack array that begins with the fields of :class:`RowHeader`.

        :class:`~streams.contract.row_format.RowFormat` does both, and migrates rows of older schemas.
        """
        ...
