"""One fold over topics in memory, by the real commit protocol, and its crashes."""

from collections import defaultdict
from collections.abc import Coroutine, Iterator, Mapping, Sequence
from typing import Any, Final, Generic, NamedTuple, TypeVar

import msgspec

from streams.contract.fold import PARTITION_KEY, Fold, Identity, PartitionRow, RowHeader, decode_partition_row
from streams.contract.outputs import Output
from streams.contract.settings import Engine
from streams.engine.outputs import Partition
from streams.engine.protocol import BatchEngine, OpenPartition, Step, commit_batch, open_partition
from streams.testing.topics import MemoryRecord, MemoryTopics

EventT = TypeVar("EventT")
RowT = TypeVar("RowT")

_BATCH_RECORDS: Final = 1000
_NO_LIMITS: Final = Engine()

_read_header: Final = msgspec.msgpack.Decoder(RowHeader).decode


class Crash(NamedTuple):
    """The point of a batch at which the worker's process ends.

    Attributes:
        after: The step of the commit protocol that the batch has passed by then.
        records: How many more outputs and changelog rows of the batch are delivered by then, in their order. A batch
            that has no more than these is not cut off. ``None`` ends the process right behind the step.
    """

    after: Step
    records: int | None = None


class Crashed(BaseException):
    """Raised where a worker is cut off; only who handed in the :class:`Crash` catches it."""


class MemoryTable:
    """Rows by partition, as they are on a worker's disk."""

    def __init__(self) -> None:
        self.rows: dict[int, dict[bytes, bytes]] = defaultdict(dict)
        self._next: dict[int, int] = defaultdict(int)

    def read(self, partition: int, keys: Sequence[bytes]) -> list[bytes | None]:
        rows = self.rows[partition]
        return [rows.get(key) for key in keys]

    def scan(self, partition: int) -> Iterator[tuple[bytes, bytes]]:
        return (entry for entry in list(self.rows[partition].items()) if entry[0] != PARTITION_KEY)

    def write(self, partition: int, rows: Mapping[bytes, bytes], changelog_offset: int) -> None:
        self.rows[partition].update(rows)
        self._next[partition] = changelog_offset + 1

    def recover(self, partition: int, changelog: Sequence[MemoryRecord]) -> None:
        """Applies what the changelog has beyond the table; of two rows the one with the higher applied offset stays."""
        rows = self.rows[partition]
        for record in changelog[self._next[partition] :]:
            key, value = record.key or b"", record.value or b""
            if key not in rows or _read_header(value).applied_offset >= _read_header(rows[key]).applied_offset:
                rows[key] = value
        self._next[partition] = len(changelog)


class MemoryWorker(Generic[EventT, RowT]):
    """A worker that runs one fold over topics in memory.

    It can be any fold, not only those of Headrace: docs/how-to/test-a-fold.md tests the one of examples/wordcount.py.

    Args:
        limits: How large outputs and rows may be, and how many rows stay decoded.

    Attributes:
        table: Its rows; they outlive its process.
        committed: The source offset that comes next, by partition, as it is committed to the broker. Lower it to have
            records delivered again.
    """

    def __init__(self, fold: Fold[EventT, RowT, Any], topics: MemoryTopics, limits: Engine = _NO_LIMITS) -> None:
        self.fold = fold
        self.table = MemoryTable()
        self.committed: dict[int, int] = defaultdict(int)
        self._limits = limits
        self._topics = topics
        self._deliveries = _Deliveries(topics)
        self._start()

    @property
    def partitions(self) -> range:
        return range(self._topics.partitions[self.fold.source])

    @property
    def alert_counts(self) -> Mapping[str, int]:
        """Returns what an operator is told of, counted since the start of the process."""
        return self._engine.progress.alert_counts

    def step(self, partition: int, batch_records: int = _BATCH_RECORDS, crash: Crash | None = None) -> int:
        """Folds the next batch of one partition and returns how many records it had.

        Args:
            crash: Where the process ends, if the batch gets there. The next step is that of a new process.

        Raises:
            Crashed: The batch got there.
        """
        begin = self.committed[partition]
        records = self._topics.records[self.fold.source, partition][begin : begin + batch_records]
        if not records:
            return 0

        def acknowledge() -> None:
            self.committed[partition] = begin + len(records)

        self._deliveries.begin(crash)
        try:
            _finish(commit_batch(self._engine, self._opened(partition), records, acknowledge))
        except Crashed:
            self._start()
            raise
        return len(records)

    def drain(self, batch_records: int = _BATCH_RECORDS, crash: Crash | None = None) -> int:
        """Folds everything there is, one partition after the other, and returns how many records that were.

        Args:
            crash: As :meth:`step` takes it, in the first batch that gets there.

        Raises:
            Crashed: A batch got there.
        """
        done = 0
        for partition in self.partitions:
            while more := self.step(partition, batch_records, crash):
                done += more
        return done

    def restart(self, *, empty_table: bool = False) -> None:
        """Goes on as a new process: forgets what is only in memory, and recovers the table from the changelog.

        Args:
            empty_table: The disk was lost.
        """
        if empty_table:
            self.table = MemoryTable()
        self._start()
        for partition in self.partitions:
            self._opened(partition)

    def row(self, key: bytes) -> RowT | None:
        """Decodes the row of a key, in whichever partition it is."""
        stored = (rows[key] for rows in self.table.rows.values() if key in rows)
        return next(map(self.fold.decode_row, stored), None)

    def rows(self) -> dict[tuple[int, bytes], bytes]:
        """Returns every row as it is stored, by partition and key, without the partitions' rows."""
        return {(number, key): row for number in sorted(self.table.rows) for key, row in self.table.scan(number)}

    def partition_rows(self) -> list[PartitionRow]:
        """Decodes the rows of the partitions that have one: watermark, counts, tallies."""
        stored = [rows[PARTITION_KEY] for _, rows in sorted(self.table.rows.items()) if PARTITION_KEY in rows]
        return [decode_partition_row(row) for row in stored]

    def _start(self) -> None:
        self._engine: BatchEngine[EventT, RowT] = BatchEngine(
            self.fold, self.table, self._deliveries, self._limits, lambda: 0, after_step=self._deliveries.passed
        )
        self._open: dict[int, OpenPartition[EventT, RowT]] = {}

    def _opened(self, partition: int) -> OpenPartition[EventT, RowT]:
        if partition not in self._open:
            changelog = self._topics.records[self.fold.changelog, partition]
            self.table.recover(partition, changelog)
            ids = {name: self._topics.ids.get(name, "") for name in (self.fold.source, self.fold.changelog)}
            identity = Identity({name: topic_id for name, topic_id in ids.items() if topic_id})
            self._open[partition] = open_partition(
                self.fold, self.table, self._limits, partition, len(changelog), identity
            )
        return self._open[partition]


class _Deliveries:
    """Delivery of a worker's outputs and rows, until it is cut off."""

    def __init__(self, topics: MemoryTopics) -> None:
        self._topics = topics
        self.begin(None)

    def begin(self, crash: Crash | None) -> None:
        self._crash = crash
        self._left: int | None = None

    def passed(self, source: str, step: Step) -> None:
        if self._crash is not None and step == self._crash.after:
            if self._crash.records is None:
                raise Crashed
            self._left = self._crash.records

    async def emit(self, source: Partition, outputs: Sequence[Output]) -> None:
        if self._left is None:
            self._topics.extend(outputs)
            return
        self._topics.extend(outputs[: self._left])
        if len(outputs) > self._left:
            raise Crashed
        self._left -= len(outputs)

    async def log(self, source: Partition, rows: Sequence[Output]) -> int:
        await self.emit(source, rows)
        return len(rows)


def _finish(steps: Coroutine[Any, Any, None]) -> None:
    """Runs a coroutine that never waits, since nothing in memory does."""
    try:
        steps.send(None)
    except StopIteration:
        return
    raise RuntimeError("something in memory waited")
