"""A broker, a disk and a worker in memory, where the worker can be cut off after any step and within any delivery.

The fold and the commit protocol are the real ones.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import msgspec

from streams.contract.fold import PARTITION_KEY, PartitionRow, RowHeader, decode_partition_row
from streams.contract.outputs import Output
from streams.contract.settings import Engine
from streams.contract.topics import USERS_CHANGELOG
from streams.engine.outputs import Partition
from streams.engine.protocol import BatchEngine, OpenPartition, Step, commit_batch
from streams.engine.row_cache import RowCache
from streams.testing import Crashed
from tests.engine.counting import CountingFold

PARTITION = 0
LIMITS = Engine()


class Record(NamedTuple):
    offset: int
    value: bytes | None
    key: bytes | None = None
    timestamp: int = 0
    timestamp_type: int = 0


class Broker:
    """Everything that was delivered, in that order, and the changelog again, by offset."""

    def __init__(self) -> None:
        self.delivered: list[Output] = []
        self.changelog: dict[int, Output] = {}
        self.changelog_end = 0
        self.budget: int | None = None

    async def deliver(self, outputs: Sequence[Output]) -> None:
        """Takes the outputs one by one; where ``budget`` runs out, the worker is cut off with the rest undelivered."""
        for output in outputs:
            if self.budget is not None:
                if not self.budget:
                    raise Crashed
                self.budget -= 1
            self.delivered.append(output)
            if output.topic == USERS_CHANGELOG:
                self.changelog[self.changelog_end] = output
                self.changelog_end += 1

    async def emit(self, source: Partition, outputs: Sequence[Output]) -> None:
        await self.deliver(outputs)

    async def log(self, source: Partition, rows: Sequence[Output]) -> int:
        await self.deliver(rows)
        return len(rows)

    def compact(self) -> None:
        """Keeps the last record of each key."""
        newest = {output.key: offset for offset, output in self.changelog.items()}
        self.changelog = {offset: self.changelog[offset] for offset in sorted(newest.values())}


class Disk:
    """One partition's table; a write is whole or not at all."""

    def __init__(self) -> None:
        self.rows: dict[bytes, bytes] = {}
        self.changelog_offset = -1

    def read(self, partition: int, keys: Sequence[bytes]) -> list[bytes | None]:
        return [self.rows.get(key) for key in keys]

    def scan(self, partition: int) -> Iterator[tuple[bytes, bytes]]:
        return ((key, row) for key, row in list(self.rows.items()) if key != PARTITION_KEY)

    def write(self, partition: int, rows: Mapping[bytes, bytes], changelog_offset: int) -> None:
        self.rows.update(rows)
        self.changelog_offset = changelog_offset

    def recover(self, broker: Broker) -> None:
        """Applies what the changelog has beyond the offset that the table reaches; the higher applied offset stays."""
        for offset, entry in broker.changelog.items():
            old = self.rows.get(entry.key or b"")
            if offset > self.changelog_offset and (old is None or guard_of(entry.value) >= guard_of(old)):
                self.rows[entry.key or b""] = entry.value
        self.changelog_offset = broker.changelog_end - 1


class Worker:
    """One process: all of it but the disk is gone after a crash."""

    def __init__(
        self,
        broker: Broker,
        disk: Disk,
        limits: Engine = LIMITS,
        after_step: Callable[[str, Step], object] = lambda source, step: None,
    ) -> None:
        disk.recover(broker)
        fold = CountingFold()
        self._engine: BatchEngine[Any, Any] = BatchEngine(fold, disk, broker, limits, lambda: 0, after_step=after_step)
        stored = disk.rows.get(PARTITION_KEY) or msgspec.msgpack.encode(PartitionRow(rows_schema=fold.schema))
        self._partition: OpenPartition[Any, Any] = OpenPartition(
            PARTITION,
            fold.open(decode_partition_row(stored), PARTITION, disk.scan(PARTITION)),
            changelog_end=broker.changelog_end,
            committed=stored,
            opened_with=stored,
            row_cache=RowCache(limits.row_cache_bytes),
        )

    def hot(self, keys: Sequence[bytes]) -> list[bytes]:
        """Those of the keys whose rows are in memory."""
        return [key for key, row in self._partition.row_cache.find(keys).items() if row is not None]

    def fold(self, batch: Sequence[Record]) -> bool:
        """Takes one batch through the protocol and says whether it was acknowledged."""
        acknowledged: list[bool] = []
        applied_offset = self._partition.state.row.applied_offset
        lost = max(batch[-1].offset - applied_offset, 0) - sum(record.offset > applied_offset for record in batch)
        steps = commit_batch(self._engine, self._partition, batch, lambda: acknowledged.append(True), lost)
        try:
            steps.send(None)
        except StopIteration:
            return acknowledged == [True]
        raise AssertionError("something in memory waited")


def guard_of(row: bytes) -> int:
    return msgspec.msgpack.decode(row, type=RowHeader).applied_offset
