"""The commit protocol of one micro-batch: seven steps, in an order that loses nothing.

::

    decode ▶ load ▶ fold ▶ emit ▶ log ▶ store ▶ acknowledge
                            │      │      │          └ only now may the source offset be committed
                            │      │      └ rows and changelog offset, in one write
                            │      └ changed rows, and last the partition's row, to the changelog
                            └ every output, acknowledged by the broker

Outputs go before the changelog, so a guard never covers an output that was not delivered. What a crash between the two
repeats carries the same event_ref, decision digest or trigger, and readers drop it by that. Anything raised from *emit*
on must end the process before *acknowledge*: the caller sees to that.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from time import perf_counter_ns
from typing import Any, Final, Generic, Protocol, TypeVar

import msgspec

from streams.contract.errors import BrokenInvariant, RejectedRecord
from streams.contract.fold import PARTITION_KEY, Fold, PartitionRow, SourceRecord
from streams.contract.outputs import Output, dead_letter
from streams.contract.settings import Engine
from streams.contract.topics import DEAD_LETTERS
from streams.engine.crash import crash_point
from streams.engine.hot_rows import HotRows
from streams.engine.outputs import Outputs

EventT = TypeVar("EventT")
RowT = TypeVar("RowT")

STEPS: Final = ("decode", "load", "fold", "emit", "log", "store", "acknowledge")

_encode: Final = msgspec.msgpack.Encoder().encode


class Table(Protocol):
    """The rows of all partitions on this worker."""

    def read(self, partition: int, keys: Sequence[bytes]) -> list[bytes | None]: ...
    def scan(self, partition: int) -> Iterator[tuple[bytes, bytes]]: ...
    def write(self, partition: int, rows: Mapping[bytes, bytes], changelog_offset: int) -> None: ...


@dataclass
class Progress:
    """What one fold of this worker has done since it started, for metrics; never read by the fold.

    Attributes:
        records: Records taken from the source, repeats after a crash included.
        step_ns: Nanoseconds by step.
        latencies_ms: From the record's timestamp to its outputs' acknowledgement, since the last report.
        stamp: Grows with every acknowledged batch.
        noted: What wants a person's eye, by its name in the partition's counts: dead letters, skipped offsets.
    """

    records: int = 0
    step_ns: dict[str, int] = field(default_factory=lambda: dict.fromkeys(STEPS, 0))
    latencies_ms: list[int] = field(default_factory=list)
    stamp: int = 0
    noted: Counter[str] = field(default_factory=Counter)


@dataclass
class OpenPartition(Generic[EventT, RowT]):
    """A source partition that this worker owns.

    Attributes:
        state: The fold's, with the partition's row.
        changelog_end: Offset that the next row of its changelog will have.
        committed: The partition's row as it was last stored; what other threads may look at.
        hot: The rows that changed last, as they were stored.
        position: The source offset that comes next; what lies between it and the guard is no record.
    """

    number: int
    state: Any
    changelog_end: int
    committed: bytes
    hot: HotRows[RowT]
    position: int = 0


@dataclass
class BatchEngine(Generic[EventT, RowT]):
    """What the steps work with: the fold, its table, and where outputs go.

    Attributes:
        now_ms: The wall clock, for latencies only.
    """

    fold: Fold[EventT, RowT, Any]
    table: Table
    outputs: Outputs
    limits: Engine
    now_ms: Callable[[], int]
    progress: Progress = field(default_factory=Progress)

    def note(self, row: PartitionRow, name: str, by: int = 1) -> None:
        """Counts what wants a person's eye, too."""
        row.count(name, by)
        self.progress.noted[name] += by


async def commit_batch(
    engine: BatchEngine[EventT, RowT],
    partition: OpenPartition[EventT, RowT],
    records: Sequence[SourceRecord],
    acknowledge: Callable[[], object],
    lost: int = 0,
) -> None:
    """Takes the records of one partition, in offset order, through the seven steps.

    Args:
        lost: Offsets before or between them that retention removed before they could be read; at the first start all
            that it had removed by then. They are counted as ``skipped_offsets``.

    Raises:
        BrokenInvariant: The process must end before anything else is done.
    """
    clock = _StepClock(engine)
    guard = partition.state.row.guard
    fresh = [record for record in records if record.offset > guard]
    engine.progress.records += len(records)
    if not fresh:
        acknowledge()
        return
    if lost:
        engine.note(partition.state.row, "skipped_offsets", lost)

    events, dead_letters = decode(engine, partition, fresh)
    clock.passed("decode")
    rows = load(engine, partition, events)
    clock.passed("load")
    outputs, changed, encoded = fold(engine, partition, events, rows, last_offset=fresh[-1].offset)
    clock.passed("fold")
    await emit(engine, partition, [*dead_letters, *outputs])
    _note_latencies(engine, fresh)
    clock.passed("emit")
    await log(engine, partition, encoded)
    clock.passed("log")
    store(engine, partition, changed, encoded)
    clock.passed("store")
    acknowledge()
    engine.progress.stamp += 1
    clock.passed("acknowledge")


def decode(
    engine: BatchEngine[EventT, RowT], partition: OpenPartition[EventT, RowT], records: Sequence[SourceRecord]
) -> tuple[list[tuple[int, EventT]], list[Output]]:
    """Validates the records: events with their offsets, and a dead letter for each that cannot be applied."""
    decode_one = engine.fold.decode
    events: list[tuple[int, EventT]] = []
    dead_letters: list[Output] = []
    for record in records:
        try:
            events.append((record.offset, decode_one(record, partition.number)))
        except RejectedRecord as rejection:
            engine.note(partition.state.row, f"dead_letters.{rejection.reason}")
            dead_letters.append(_dead_letter(engine, partition.number, record, rejection))
    return events, dead_letters


def load(
    engine: BatchEngine[EventT, RowT], partition: OpenPartition[EventT, RowT], events: Sequence[tuple[int, EventT]]
) -> dict[bytes, RowT | None]:
    """Reads the rows of all keys touched, by events or by deadlines that fall due, in one multi-get."""
    decode_row = engine.fold.decode_row
    rows = partition.hot.find(list(engine.fold.keys(partition.state, events)))
    cold = [key for key, row in rows.items() if row is None]
    for key, value in zip(cold, engine.table.read(partition.number, cold), strict=True):
        if value is not None:
            rows[key] = decode_row(value)
    return rows


def fold(
    engine: BatchEngine[EventT, RowT],
    partition: OpenPartition[EventT, RowT],
    events: Sequence[tuple[int, EventT]],
    rows: dict[bytes, RowT | None],
    last_offset: int,
) -> tuple[list[Output], dict[bytes, RowT], dict[bytes, bytes]]:
    """Applies the events and encodes what changed; the partition's row comes last of what is encoded.

    Raises:
        BrokenInvariant: An output or a row is over its size limit.
    """
    outputs, changed = engine.fold.fold(partition.state, events, rows)
    for output in outputs:
        if output.topic == DEAD_LETTERS:
            engine.progress.noted[f"dead_letters.{output.headers[0][1].decode()}"] += 1
    partition.state.row.guard = last_offset
    encode_row = engine.fold.encode_row
    encoded = {key: encode_row(row) for key, row in changed.items()}
    encoded[PARTITION_KEY] = _encode(partition.state.row)
    _refuse_oversized(engine.limits, outputs, encoded)
    return outputs, changed, encoded


async def emit(
    engine: BatchEngine[EventT, RowT], partition: OpenPartition[EventT, RowT], outputs: Sequence[Output]
) -> None:
    """Produces all outputs, and waits until every one is acknowledged, or in a transaction that *log* will commit."""
    await engine.outputs.emit((engine.fold.source, partition.number), outputs)


async def log(
    engine: BatchEngine[EventT, RowT], partition: OpenPartition[EventT, RowT], encoded: Mapping[bytes, bytes]
) -> None:
    """Produces the changed rows, and last the partition's row, to the changelog, and waits until they are committed."""
    changelog = engine.fold.changelog
    rows = [Output(changelog, key, row, partition.number) for key, row in encoded.items()]
    # The owner is the only writer, so this is where its last record lies; another writer's would only make it a lower
    # bound, from which recovery reads a little more.
    partition.changelog_end += await engine.outputs.log((engine.fold.source, partition.number), rows)


def store(
    engine: BatchEngine[EventT, RowT],
    partition: OpenPartition[EventT, RowT],
    changed: Mapping[bytes, RowT],
    encoded: Mapping[bytes, bytes],
) -> None:
    """Writes rows and changelog offset to RocksDB at once."""
    engine.table.write(partition.number, encoded, partition.changelog_end - 1)
    partition.committed = encoded[PARTITION_KEY]
    partition.hot.keep(changed, sum(map(len, encoded.values())))


class _StepClock:
    """Notes the time of each step, and is where tests crash."""

    def __init__(self, engine: BatchEngine[Any, Any]) -> None:
        self._source = engine.fold.source
        self._step_ns = engine.progress.step_ns
        self._since = perf_counter_ns()

    def passed(self, step: str) -> None:
        now = perf_counter_ns()
        self._step_ns[step] += now - self._since
        self._since = now
        crash_point(self._source, step)


def _note_latencies(engine: BatchEngine[Any, Any], records: Sequence[SourceRecord]) -> None:
    now_ms = engine.now_ms()
    engine.progress.latencies_ms.extend([now_ms - record.timestamp for record in records])


def _dead_letter(
    engine: BatchEngine[Any, Any], partition: int, record: SourceRecord, rejection: RejectedRecord
) -> Output:
    value = (record.value or b"")[: engine.limits.dead_letter_bytes]
    return dead_letter(engine.fold.source, partition, record.offset, record.key, value, rejection)


def _refuse_oversized(limits: Engine, outputs: Sequence[Output], encoded: Mapping[bytes, bytes]) -> None:
    if max([len(output.value) for output in outputs], default=0) > limits.max_output_bytes:
        largest = max(outputs, key=lambda output: len(output.value))
        raise BrokenInvariant(
            f"a record for {largest.topic} has {len(largest.value)} bytes, engine.max_output_bytes is "
            f"{limits.max_output_bytes}"
        )
    if max(map(len, encoded.values())) > limits.max_row_bytes:
        key, row = max(encoded.items(), key=lambda entry: len(entry[1]))
        raise BrokenInvariant(
            f"the row of {key!r} has {len(row)} bytes, engine.max_row_bytes is {limits.max_row_bytes}"
        )
