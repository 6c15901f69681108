"""What a fold is: the pure function over keyed rows that the engine runs, and what the two say to each other."""

from collections.abc import Iterable, Sequence
from typing import Final, Generic, NamedTuple, Protocol, TypeVar

import msgspec

from streams.contract.outputs import Output

EventT = TypeVar("EventT")
RowT = TypeVar("RowT")
StateT = TypeVar("StateT", bound="PartitionState")

PARTITION_KEY = b"\x00partition"
"""Reserved key of the partition's row. No user, item or learner can have it: identifiers hold no NUL there."""


class SourceRecord(Protocol):
    """One record of the source topic, as the broker's client hands it over."""

    @property
    def offset(self) -> int: ...
    @property
    def timestamp(self) -> int:
        """When the broker or the producer says it was written, milliseconds, UTC."""
        ...

    @property
    def key(self) -> bytes | None: ...
    @property
    def value(self) -> bytes | None: ...


class RowHeader(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """How every encoded row begins, whatever follows; enough to recover by and to rebuild deadlines from.

    Attributes:
        guard: Highest source offset that is applied to the row.
        deadline_ms: Event time at which something of the row falls due, 0 where nothing does.
    """

    guard: int
    deadline_ms: int = 0


class PartitionRow(msgspec.Struct, array_like=True):
    """What a fold knows of one whole source partition; logged last of every batch, so it never runs ahead of the rows.

    Attributes:
        guard: Highest source offset that is applied whole; everything at or below it is skipped.
        schema: Version of the fold's rows; another one is refused at start.
        watermark_ms: Event time that the partition has reached, -1 before the first event.
        marks: Partition of an upstream source to the highest trigger ``(offset, index)`` applied from it.
        counts: Exact totals since the first event: ``applied``, ``duplicates``, ``late``, ``dead_letters.<reason>``.
        tallies: The fold's own exact sums, by name.
    """

    guard: int = -1
    schema: int = 0
    watermark_ms: int = -1
    marks: dict[int, tuple[int, int]] = {}
    counts: dict[str, int] = {}
    tallies: dict[str, list[int]] = {}

    def count(self, name: str, by: int = 1) -> None:
        """Adds ``by`` to one of the totals."""
        self.counts[name] = self.counts.get(name, 0) + by


decode_partition_row: Final = msgspec.msgpack.Decoder(PartitionRow).decode


class PartitionState(Protocol):
    """What a fold keeps of one partition in memory: its row, and what can be rebuilt from the rows (deadlines)."""

    row: PartitionRow


class Folded(NamedTuple, Generic[RowT]):
    """The result of one batch.

    Attributes:
        outputs: To produce, in order.
        rows: Every changed row by its key.
    """

    outputs: list[Output]
    rows: dict[bytes, RowT]


class Fold(Protocol[EventT, RowT, StateT]):
    """``(rows, events) -> (rows, outputs)``, deterministic: no clock, no randomness of its own, no input or output.

    The engine calls ``decode`` for each record, then ``keys``, then ``fold`` with those rows, once a batch. Rows and
    state are changed in place by ``fold`` alone; if anything raises after that, the process ends and nothing is kept.
    """

    source: str
    changelog: str
    schema: int

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
        """Names the rows that a batch of ``(offset, event)`` touches, by its events or by deadlines that fall due."""
        ...

    def fold(self, state: StateT, events: Sequence[tuple[int, EventT]], rows: dict[bytes, RowT | None]) -> Folded[RowT]:
        """Applies a batch in offset order.

        An event at or below its row's guard is skipped for that row; time advances all the same. ``state.row.guard`` is
        advanced by the engine.
        """
        ...

    def decode_row(self, value: bytes) -> RowT: ...
    def encode_row(self, row: RowT) -> bytes:
        """Encodes a row as a MessagePack array that begins as :class:`RowHeader` says."""
        ...
