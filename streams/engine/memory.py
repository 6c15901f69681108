"""The engine without a broker: topics and tables in memory, for tests, benchmarks and evaluation on files.

The folds and the commit protocol are the real ones; only where records and rows are kept differs.
"""

from collections import defaultdict
from collections.abc import Callable, Coroutine, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import msgspec

from streams.contract.fold import PARTITION_KEY, Fold, PartitionRow, decode_partition_row
from streams.contract.outputs import Output
from streams.contract.partitioning import partition_of
from streams.contract.settings import Settings
from streams.engine.hot_rows import HotRows
from streams.engine.outputs import Partition
from streams.engine.protocol import BatchEngine, OpenPartition, commit_batch


class MemoryRecord(NamedTuple):
    """A record of a topic in memory."""

    offset: int
    timestamp: int
    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes], ...] = ()


class MemoryTopics:
    """All topics: what was produced stays, in order.

    Args:
        now_ms: Timestamp of the records.
    """

    def __init__(self, settings: Settings, now_ms: Callable[[], int]) -> None:
        self.partitions = {topic.name: topic.partitions for topic in settings.topics}
        self.records: dict[tuple[str, int], list[MemoryRecord]] = defaultdict(list)
        self._now_ms = now_ms

    def append(self, output: Output) -> None:
        """Produces one record, to its explicit partition or to its key's."""
        number = output.partition
        if number is None:
            number = partition_of(output.key or b"", self.partitions[output.topic])
        records = self.records[output.topic, number]
        records.append(MemoryRecord(len(records), self._now_ms(), output.key, output.value, output.headers))

    def values(self, topic: str) -> list[bytes]:
        """Lists the values of a topic, partition by partition."""
        return [
            record.value or b"" for number in range(self.partitions[topic]) for record in self.records[topic, number]
        ]

    async def deliver(self, outputs: Sequence[Output]) -> None:
        """Is where the engine's outputs and rows go."""
        for output in outputs:
            self.append(output)

    async def emit(self, source: Partition, outputs: Sequence[Output]) -> None:
        await self.deliver(outputs)

    async def log(self, source: Partition, rows: Sequence[Output]) -> int:
        await self.deliver(rows)
        return len(rows)


class MemoryTable:
    """Rows by partition."""

    def __init__(self) -> None:
        self.rows: dict[int, dict[bytes, bytes]] = defaultdict(dict)

    def read(self, partition: int, keys: Sequence[bytes]) -> list[bytes | None]:
        rows = self.rows[partition]
        return [rows.get(key) for key in keys]

    def scan(self, partition: int) -> Iterator[tuple[bytes, bytes]]:
        return (entry for entry in list(self.rows[partition].items()) if entry[0] != PARTITION_KEY)

    def write(self, partition: int, rows: Mapping[bytes, bytes], changelog_offset: int) -> None:
        self.rows[partition].update(rows)


class MemoryWorker:
    """One fold over topics in memory; it remembers how far it has read, as a committed offset would."""

    def __init__(self, fold: Fold[Any, Any, Any], topics: MemoryTopics, settings: Settings) -> None:
        self.table = MemoryTable()
        self.engine: BatchEngine[Any, Any] = BatchEngine(fold, self.table, topics, settings.engine, lambda: 0)
        self.committed: dict[int, int] = defaultdict(int)
        self._topics = topics
        self._open: dict[int, OpenPartition[Any, Any]] = {}

    def step(self, partition: int, batch_records: int) -> int:
        """Folds the next batch of one partition and returns how many records it had."""
        fold = self.engine.fold
        begin = self.committed[partition]
        records = self._topics.records[fold.source, partition][begin : begin + batch_records]
        if records:
            _finish(commit_batch(self.engine, self._opened(partition), records, lambda: None))
            self.committed[partition] = begin + len(records)
        return len(records)

    def drain(self, batch_records: int) -> int:
        """Folds everything there is, partitions in turn, and returns how many records that were."""
        done = 0
        while more := sum(
            self.step(partition, batch_records) for partition in range(self._topics.partitions[self.engine.fold.source])
        ):
            done += more
        return done

    def restart(self) -> None:
        """Forgets what is only in memory, as a new process would."""
        self._open.clear()

    def partition_rows(self) -> list[PartitionRow]:
        """Decodes the row of every partition."""
        return [decode_partition_row(rows[PARTITION_KEY]) for rows in self.table.rows.values() if PARTITION_KEY in rows]

    def _opened(self, partition: int) -> OpenPartition[Any, Any]:
        if partition not in self._open:
            stored = self.table.read(partition, [PARTITION_KEY])[0]
            row = PartitionRow(schema=self.engine.fold.schema) if stored is None else decode_partition_row(stored)
            state = self.engine.fold.open(row, partition, self.table.scan(partition))
            self._open[partition] = OpenPartition(
                partition, state, 0, stored or msgspec.msgpack.encode(row), HotRows(self.engine.limits.hot_bytes)
            )
        return self._open[partition]


def _finish(steps: Coroutine[Any, Any, None]) -> None:
    """Runs a coroutine that never waits, since nothing in memory does."""
    try:
        steps.send(None)
    except StopIteration:
        return
    raise RuntimeError("something in memory waited")
