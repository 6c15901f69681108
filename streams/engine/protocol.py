"""Commit protocol of one micro-batch: seven steps, in an order that loses nothing.

::

    decode ▶ load ▶ fold ▶ emit ▶ log ▶ store ▶ acknowledge
                            │      │      │          └ from now on the source offset may be committed
                            │      │      └ rows and changelog offset, in one write to RocksDB
                            │      └ changed rows, and the partition's row, to the changelog
                            └ all outputs, acknowledged by the broker

Outputs go before the changelog, so an applied offset never covers an output that was not delivered. After a crash
between the two, outputs are repeated with the same identity (event_ref or source position), by which readers drop them.
A fold may leave events at the end of a batch. Then what it did is stored, and steps *load* to *store* run again with
these, until none is left.
If a step from *emit* on raises, the caller must end the process before *acknowledge*.
"""

import os
import signal
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from time import perf_counter_ns
from typing import Any, Final, Generic, Literal, NamedTuple, Protocol, TypeVar, get_args

import msgspec

from streams.contract.errors import BrokenInvariant, RefusedStart, RejectedRecord
from streams.contract.fold import (
    PARTITION_KEY,
    Fold,
    Identity,
    PartitionRow,
    SourceRecord,
    decode_partition_row,
    record_digest,
)
from streams.contract.outputs import Output, dead_letter
from streams.contract.settings import Engine
from streams.contract.source_epoch import epoch_of, in_epoch, plain_offset
from streams.engine.identity import belonging
from streams.engine.incidents import UNREADABLE_ROW, report
from streams.engine.outputs import Outputs
from streams.engine.row_cache import RowCache

EventT = TypeVar("EventT")
RowT = TypeVar("RowT")

Step = Literal["decode", "load", "fold", "emit", "log", "store", "acknowledge"]
STEPS: Final[tuple[Step, ...]] = get_args(Step)

CRASH_VARIABLE: Final = "HEADRACE_CRASH_AFTER"
"""``<source topic>:<step>[:<n>]`` kills the process by SIGKILL after that step of that fold, the n-th time."""

_crash_after: Final = os.environ.get(CRASH_VARIABLE)
_passed: Counter[str] = Counter()

NO_IDENTITY: Final = Identity()
"""Of rows in memory, which belong to nothing."""

_encode: Final = msgspec.msgpack.Encoder().encode


def crash_point(source: str, step: str) -> None:
    """Kills the process here if ``HEADRACE_CRASH_AFTER`` names this point; does nothing otherwise."""
    if _crash_after is None:
        return
    point = f"{source}:{step}"
    _passed[point] += 1
    if _crash_after in (f"{point}:{_passed[point]}", point):
        os.kill(os.getpid(), signal.SIGKILL)


class Table(Protocol):
    """The rows of all partitions on this worker."""

    def read(self, partition: int, keys: Sequence[bytes]) -> list[bytes | None]: ...
    def scan(self, partition: int) -> Iterator[tuple[bytes, bytes]]: ...
    def write(self, partition: int, rows: Mapping[bytes, bytes], changelog_offset: int) -> None: ...


@dataclass
class Progress:
    """Counters of one fold since the start of this worker, for metrics; the fold never reads them.

    Attributes:
        records: Records taken from the source, including repeats after a crash.
        step_ns: Nanoseconds spent, by step.
        latencies_ms: From a record's timestamp to the acknowledgement of its outputs, since the last report.
        batches: Acknowledged batches.
        alert_counts: Counters that an operator should look at, keyed as in the partition row, and
            ``duplicates.<partition>`` of records between folds.
    """

    records: int = 0
    step_ns: dict[str, int] = field(default_factory=lambda: dict.fromkeys(STEPS, 0))
    latencies_ms: list[int] = field(default_factory=list)
    batches: int = 0
    alert_counts: Counter[str] = field(default_factory=Counter)


@dataclass
class OpenPartition(Generic[EventT, RowT]):
    """Source partition that this worker owns.

    Attributes:
        state: The fold's state, with the partition's row.
        changelog_end: Offset of the next record in its changelog.
        committed: The partition's row as it was last stored, encoded; other threads may read it.
        opened_with: The same when the partition was opened.
        row_cache: The rows that changed last, as they were stored.
        position: Next source offset to read; offsets between ``applied_offset`` and it hold no records.
        stores: How often rows were stored. It advances during an event whose due rows take several batches, while
            ``position`` does not.
    """

    number: int
    state: Any
    changelog_end: int
    committed: bytes
    opened_with: bytes
    row_cache: RowCache[RowT]
    position: int = 0
    stores: int = 0


def open_partition(
    fold: Fold[EventT, RowT, Any],
    table: Table,
    limits: Engine,
    number: int,
    changelog_end: int,
    identity: Identity = NO_IDENTITY,
) -> OpenPartition[EventT, RowT]:
    """Opens a partition by the rows that the table has of it; from now on they belong to ``identity``.

    If the source was made anew since, its offsets are those of the next epoch.

    Raises:
        RefusedStart: The rows are of a schema that this version does not read.
    """
    stored = table.read(number, [PARTITION_KEY])[0]
    row = PartitionRow(rows_schema=fold.schema) if stored is None else decode_partition_row(stored)
    if not fold.oldest_schema <= row.rows_schema <= fold.schema:
        raise RefusedStart(
            f"the rows of {fold.changelog}[{number}] are of schema {row.rows_schema}, this version reads "
            f"{fold.oldest_schema} to {fold.schema}: use the version that wrote them, or a later one"
        )
    row.rows_schema = fold.schema
    row = belonging(row, identity, fold.source)
    state = fold.open(row, number, table.scan(number))
    row_cache: RowCache[RowT] = RowCache(limits.row_cache_bytes)
    position = plain_offset(row.applied_offset) + 1
    committed = stored or _encode(row)
    return OpenPartition(number, state, changelog_end, committed, committed, row_cache, position)


@dataclass
class BatchEngine(Generic[EventT, RowT]):
    """Environment of the steps: the fold, its table, its outputs and limits.

    Attributes:
        now_ms: Wall clock, for latencies only.
        after_step: Called with the fold's source and the step that a batch has passed; where tests crash.
    """

    fold: Fold[EventT, RowT, Any]
    table: Table
    outputs: Outputs
    limits: Engine
    now_ms: Callable[[], int]
    progress: Progress = field(default_factory=Progress)
    after_step: Callable[[str, Step], object] = crash_point

    def count_alert(self, row: PartitionRow, name: str, by: int = 1) -> None:
        """Adds to a counter of the row that an operator should look at."""
        row.count(name, by)
        self.progress.alert_counts[name] += by


async def commit_batch(
    engine: BatchEngine[EventT, RowT],
    partition: OpenPartition[EventT, RowT],
    records: Sequence[SourceRecord],
    acknowledge: Callable[[], object],
    lost: int = 0,
) -> None:
    """Takes the records of one partition, in offset order, through the seven steps.

    Args:
        lost: Number of offsets before or between them that retention removed unread; at the first start, all that it
            had removed by then. They are counted as ``skipped_offsets``.

    Raises:
        BrokenInvariant: The process must end before anything else is done.
    """
    clock = _StepClock(engine)
    applied_offset = plain_offset(partition.state.row.applied_offset)
    fresh = [record for record in records if record.offset > applied_offset]
    engine.progress.records += len(records)
    if not fresh:
        acknowledge()
        return

    left = decode(engine, partition, fresh)
    clock.passed("decode")
    while left.records:
        rows = load(engine, partition, left.events)
        clock.passed("load")
        folded = fold(engine, partition, left, rows, lost)
        clock.passed("fold")
        await emit(engine, partition, folded.outputs)
        _note_latencies(engine, folded.applied.records)
        clock.passed("emit")
        await log(engine, partition, folded.encoded)
        clock.passed("log")
        store(engine, partition, folded.changed, folded.encoded)
        clock.passed("store")
        left, lost = folded.left, 0 if folded.applied.records else lost
    acknowledge()
    engine.progress.batches += 1
    clock.passed("acknowledge")


class Decoded(NamedTuple, Generic[EventT]):
    """Records of a batch, in offset order.

    Attributes:
        events: Those that are valid, with their offsets.
        rejected: The others, with the reason.
    """

    records: Sequence[SourceRecord]
    events: Sequence[tuple[int, EventT]]
    rejected: Sequence[tuple[SourceRecord, RejectedRecord]]

    def split(self, n_left: int) -> tuple["Decoded[EventT]", "Decoded[EventT]"]:
        """Splits before the last ``n_left`` events, and what comes between them."""
        if not n_left:
            return self, Decoded([], [], [])
        n_applied = len(self.events) - n_left
        begin = plain_offset(self.events[n_applied][0])
        n_records = sum(record.offset < begin for record in self.records)
        n_rejected = sum(record.offset < begin for record, _ in self.rejected)
        return (
            Decoded(self.records[:n_records], self.events[:n_applied], self.rejected[:n_rejected]),
            Decoded(self.records[n_records:], self.events[n_applied:], self.rejected[n_rejected:]),
        )


class Folded(NamedTuple, Generic[EventT, RowT]):
    """Result of folding a batch.

    Attributes:
        outputs: Dead letters, then what the fold made.
        changed: Changed rows by key.
        encoded: The same, encoded, and the partition's row, in the order in which they are logged.
        applied: What the partition's row covers from now on.
        left: What the fold left for the next batch.
    """

    outputs: list[Output]
    changed: dict[bytes, RowT]
    encoded: dict[bytes, bytes]
    applied: Decoded[EventT]
    left: Decoded[EventT]


def decode(
    engine: BatchEngine[EventT, RowT], partition: OpenPartition[EventT, RowT], records: Sequence[SourceRecord]
) -> Decoded[EventT]:
    """Decodes and validates records."""
    decode_one, epoch = engine.fold.decode, epoch_of(partition.state.row.applied_offset)
    events: list[tuple[int, EventT]] = []
    rejected: list[tuple[SourceRecord, RejectedRecord]] = []
    for record in records:
        try:
            events.append((in_epoch(epoch, record.offset), decode_one(record, partition.number)))
        except RejectedRecord as rejection:
            rejected.append((record, rejection))
    return Decoded(records, events, rejected)


def load(
    engine: BatchEngine[EventT, RowT], partition: OpenPartition[EventT, RowT], events: Sequence[tuple[int, EventT]]
) -> dict[bytes, RowT | None]:
    """Reads the rows of all keys that events or due deadlines touch, in one multi-get.

    A row that cannot be decoded was written by somebody else; it is counted and reported, and begins anew.
    """
    decode_row = engine.fold.decode_row
    rows = partition.row_cache.find(list(engine.fold.keys(partition.state, events)))
    cold = [key for key, row in rows.items() if row is None]
    for key, value in zip(cold, engine.table.read(partition.number, cold), strict=True):
        if value is None:
            continue
        try:
            rows[key] = decode_row(value)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            partition.state.row.count("unreadable_rows")
            report(UNREADABLE_ROW, topic=engine.fold.changelog, partition=partition.number, key=repr(key), why=error)
    return rows


def fold(
    engine: BatchEngine[EventT, RowT],
    partition: OpenPartition[EventT, RowT],
    batch: Decoded[EventT],
    rows: dict[bytes, RowT | None],
    lost: int = 0,
) -> Folded[EventT, RowT]:
    """Applies the events, makes a dead letter of each rejected record, and encodes the changed rows.

    Args:
        lost: As in :func:`commit_batch`; counted when a record behind the gap is applied, and so not again.

    Raises:
        BrokenInvariant: An output or a row is over its size limit.
    """
    row: PartitionRow = partition.state.row
    duplicates = row.counts.get("duplicates", 0)
    outputs, changed, n_left = engine.fold.fold(partition.state, batch.events, rows)
    if row.applied_positions:
        # Those of a source that only workers write: producers of others may repeat an event at any time.
        repeated = row.counts.get("duplicates", 0) - duplicates
        engine.progress.alert_counts[f"duplicates.{partition.number}"] += repeated
    for output in outputs:
        if (reason := output.rejection_reason) is not None:
            engine.progress.alert_counts[f"dead_letters.{reason}"] += 1
    applied, left = batch.split(n_left)
    if applied.records:
        last = applied.records[-1]
        row.applied_offset = in_epoch(epoch_of(row.applied_offset), last.offset)
        row.last_record = record_digest(last.timestamp, last.key)
        if lost:
            engine.count_alert(row, "skipped_offsets", lost)
    dead_letters = [_dead_letter(engine, partition, record, rejection) for record, rejection in applied.rejected]
    encode_row = engine.fold.encode_row
    encoded = {key: encode_row(each) for key, each in changed.items()}
    own = {PARTITION_KEY: _encode(row)}
    # Without an event, offsets cannot tell which rows are done after a crash within the log: the cursor does.
    encoded = encoded | own if applied.events or not left.events else own | encoded
    _refuse_oversized(engine.limits, outputs, encoded)
    return Folded([*dead_letters, *outputs], changed, encoded, applied, left)


async def emit(
    engine: BatchEngine[EventT, RowT], partition: OpenPartition[EventT, RowT], outputs: Sequence[Output]
) -> None:
    """Produces all outputs; they are acknowledged, or part of a transaction that *log* commits."""
    await engine.outputs.emit((engine.fold.source, partition.number), outputs)


async def log(
    engine: BatchEngine[EventT, RowT], partition: OpenPartition[EventT, RowT], encoded: Mapping[bytes, bytes]
) -> None:
    """Produces the changed rows and the partition's row to the changelog, and waits until they are committed."""
    changelog = engine.fold.changelog
    rows = [Output(changelog, key, row, partition.number) for key, row in encoded.items()]
    # Exact, because the owner is the only writer. With another writer it would be a lower bound, from which recovery
    # reads a few records again.
    partition.changelog_end += await engine.outputs.log((engine.fold.source, partition.number), rows)


def store(
    engine: BatchEngine[EventT, RowT],
    partition: OpenPartition[EventT, RowT],
    changed: Mapping[bytes, RowT],
    encoded: Mapping[bytes, bytes],
) -> None:
    """Writes rows and changelog offset to RocksDB in one batch."""
    engine.table.write(partition.number, encoded, partition.changelog_end - 1)
    partition.committed = encoded[PARTITION_KEY]
    partition.row_cache.keep(changed, sum(map(len, encoded.values())))
    partition.stores += 1


class _StepClock:
    """Measures the time of each step."""

    def __init__(self, engine: BatchEngine[Any, Any]) -> None:
        self._after_step = engine.after_step
        self._source = engine.fold.source
        self._step_ns = engine.progress.step_ns
        self._since = perf_counter_ns()

    def passed(self, step: Step) -> None:
        now = perf_counter_ns()
        self._step_ns[step] += now - self._since
        self._since = now
        self._after_step(self._source, step)


def _note_latencies(engine: BatchEngine[Any, Any], records: Sequence[SourceRecord]) -> None:
    now_ms = engine.now_ms()
    # A record may have no timestamp (-1).
    engine.progress.latencies_ms.extend([now_ms - record.timestamp for record in records if record.timestamp >= 0])


def _dead_letter(
    engine: BatchEngine[Any, Any], partition: OpenPartition[Any, Any], record: SourceRecord, rejection: RejectedRecord
) -> Output:
    engine.count_alert(partition.state.row, f"dead_letters.{rejection.reason}")
    value = (record.value or b"")[: engine.limits.dead_letter_bytes]
    return dead_letter(engine.fold.source, partition.number, record.offset, record.key, value, rejection)


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
