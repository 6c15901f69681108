"""Runs a fold on a Faust worker: opens partitions, takes batches through the protocol, ends the process on failure."""

import sys
import traceback
from collections.abc import Callable
from time import time
from typing import Any, cast

import msgspec
from faust import Stream
from faust.types import StreamT

from streams.contract.errors import BrokenInvariant, FencedWorker, HeadraceError, RefusedStart
from streams.contract.fold import PARTITION_KEY, Fold, PartitionRow, decode_partition_row
from streams.contract.settings import Settings
from streams.engine.exits import FAILED, FENCED, REFUSED, end_process
from streams.engine.hot_rows import HotRows
from streams.engine.lanes import Lanes
from streams.engine.offsets import Offsets
from streams.engine.outputs import Outputs
from streams.engine.protocol import BatchEngine, OpenPartition, commit_batch
from streams.engine.tables import BatchStore, BatchTable
from streams.engine.transport import Batch


class FoldWorker:
    """One fold on this worker: the body of its agent.

    Args:
        refresh: Called before each batch; brings the feeds up to date.
    """

    def __init__(
        self,
        fold: Fold[Any, Any, Any],
        table: BatchTable,
        outputs: Outputs,
        offsets: Offsets,
        settings: Settings,
        refresh: Callable[[], None] = lambda: None,
    ) -> None:
        rows = cast(BatchStore, table.data)
        self.engine: BatchEngine[Any, Any] = BatchEngine(
            fold, rows, outputs, settings.engine, lambda: int(time() * 1000)
        )
        self.partitions: dict[int, OpenPartition[Any, Any]] = {}
        self._offsets = offsets
        self._refresh = refresh
        table.on_change(self._forget)
        table.watchdog.watch(fold.source, self.positions)

    def _forget(self, number: int) -> None:
        self.partitions.pop(number, None)

    def positions(self) -> dict[int, int]:
        """Returns by open partition the source offset that comes next; other threads may ask."""
        return {number: partition.position for number, partition in self.partitions.copy().items()}

    async def run(self, stream: StreamT[Any]) -> None:
        """Folds every batch of the stream; what was taken from it is finished before a cancellation is heard."""
        lanes = Lanes(self._fold, self.engine.limits.batch_records)
        try:
            async for event in cast(Stream[Any], stream).noack().events():
                await lanes.put(event)
        finally:
            await lanes.drain()

    async def _fold(self, number: int, batch: Batch, acknowledge: Callable[[], None]) -> None:
        try:
            partition = self._open(number)
            lost = self._lost(partition, batch) if batch.records else 0
            self._refresh()
            await commit_batch(self.engine, partition, batch.records, acknowledge, lost)
            if batch.records or batch.begin <= partition.position:
                partition.position = batch.end
        except RefusedStart as refusal:
            end_process(REFUSED, str(refusal))
        except FencedWorker as fenced:
            end_process(FENCED, str(fenced))
        except HeadraceError as error:
            end_process(FAILED, f"{type(error).__name__}: {error}")
        except BaseException:  # noqa: BLE001 - whatever it is, nothing of the batch may be acknowledged
            traceback.print_exc(file=sys.__stderr__)
            end_process(FAILED, f"folding {self.engine.fold.source} failed; nothing of the batch was acknowledged")

    def _lost(self, partition: OpenPartition[Any, Any], batch: Batch) -> int:
        """Counts the offsets that retention removed before the batch; where something else is between, it ends here.

        Between the guard and the batch there may be markers of transactions, too, when a worker has just started.
        """
        if batch.begin <= partition.position:
            return batch.jumped
        source = self.engine.fold.source
        unread = self._offsets.next_record(source, partition.number, partition.position)
        if unread is not None and unread < batch.begin:
            raise BrokenInvariant(f"{source}[{partition.number}] came at {batch.begin}, but {unread} was never folded")
        first = self._offsets.coverage(source, partition.number).first
        return batch.jumped + max(min(first, batch.begin) - partition.position, 0)

    def _open(self, number: int) -> OpenPartition[Any, Any]:
        if number not in self.partitions:
            self.partitions[number] = self._read(number)
        return self.partitions[number]

    def _read(self, number: int) -> OpenPartition[Any, Any]:
        fold, table = self.engine.fold, self.engine.table
        stored = table.read(number, [PARTITION_KEY])[0]
        row = PartitionRow(schema=fold.schema) if stored is None else decode_partition_row(stored)
        if row.schema != fold.schema:
            raise RefusedStart(
                f"the rows of {fold.changelog}[{number}] are of schema {row.schema}, this version writes "
                f"{fold.schema}: use the version that wrote them, or another engine.app_id and fresh topics"
            )
        end = self._offsets.coverage(fold.source, number).end
        if row.guard >= end:
            raise RefusedStart(
                f"{fold.source}[{number}] ends at offset {end}, the rows have seen offset {row.guard}: the tables "
                "belong to another cluster. Remove the data directory and the changelog topics, or use the right one."
            )
        return OpenPartition(
            number,
            fold.open(row, number, table.scan(number)),
            self._offsets.coverage(fold.changelog, number).end,
            stored or msgspec.msgpack.encode(row),
            HotRows(self.engine.limits.hot_bytes),
            row.guard + 1,
        )
