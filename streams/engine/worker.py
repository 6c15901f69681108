"""Fold worker: opens partitions, runs batches through the commit protocol, ends the process on failure."""

import sys
import traceback
from collections.abc import Callable
from functools import partial
from time import time
from typing import Any, cast

import msgspec
from faust import Stream
from faust.types import StreamT
from msgspec.structs import replace

from streams.contract.errors import BrokenInvariant, FencedWorker, HeadraceError, RefusedStart
from streams.contract.fold import PARTITION_KEY, Fold, Identity, PartitionRow, decode_partition_row
from streams.contract.settings.row_shape import NO_SHAPE, RowShape, consequence_of
from streams.contract.source_epoch import plain_offset
from streams.engine.app import BatchApp
from streams.engine.exit_codes import FAILED, FENCED, REFUSED, end_process
from streams.engine.identity import changes, difference, is_anew
from streams.engine.incidents import SETTING_CHANGED, SOURCE_MADE_ANEW, report
from streams.engine.partition_queues import PartitionQueues
from streams.engine.protocol import BatchEngine, OpenPartition, commit_batch, open_partition
from streams.engine.tables import BatchStore, BatchTable
from streams.engine.transport import Batch
from streams.engine.watchdog import Position


def add_fold(
    app: BatchApp,
    fold: Fold[Any, Any, Any],
    partitions: int,
    *,
    table: str,
    hold_ms: int = 0,
    refresh: Callable[[], None] = lambda: None,
    origin: str = "",
    shape: RowShape = NO_SHAPE,
) -> "FoldWorker":
    """Adds a fold to the app: its source topic, its table and its agent.

    Args:
        partitions: Number of partitions of the source and of the changelog.
        table: Name of the table, as in the data directory.
        hold_ms: How long records are collected, for larger batches.
        refresh: Called before each batch, to apply news of global tables.
        origin: Topic whose offsets the source's records carry; the source itself if it is empty.
        shape: Settings that shape the rows.
    """
    identity = Identity(
        app_id=app.settings.engine.app_id, partitions=partitions, shape=shape.fixed, followed=shape.followed
    )
    app.origins.add(origin or fold.source)
    rows = app.rows(table, fold.changelog, partitions)
    worker = FoldWorker(fold, rows, app, refresh, identity=identity)
    # With a higher concurrency, Faust would commit offsets beyond unfinished batches.
    app.agent(app.batches(fold.source, partitions, hold_ms), name=fold.source, concurrency=1)(worker.run)
    return worker


class FoldWorker:
    """Body of a fold's agent.

    Args:
        refresh: Called before each batch, to apply news of global tables.

    Attributes:
        identity: What rows have to belong to, but for the ids of the topics.
    """

    def __init__(
        self,
        fold: Fold[Any, Any, Any],
        table: BatchTable,
        app: BatchApp,
        refresh: Callable[[], None],
        *,
        identity: Identity,
    ) -> None:
        self.engine: BatchEngine[Any, Any] = BatchEngine(
            fold, cast(BatchStore, table.data), app.outputs, app.settings.engine, lambda: int(time() * 1000)
        )
        self.partitions: dict[int, OpenPartition[Any, Any]] = {}
        self._offsets = app.offsets
        self._topic_ids = app.topic_ids
        self._how_to_begin_anew = app.how_to_begin_anew
        self._how_to_reset_offset = partial(app.how_to_reset_offset, fold.source)
        self.identity = identity
        self._refresh = refresh
        self._said: set[str] = set()
        table.on_change(self._forget)
        table.watchdog.watch(fold.source, self.positions)

    def _forget(self, number: int) -> None:
        self.partitions.pop(number, None)

    def positions(self) -> dict[int, Position]:
        """Returns the position of each open partition; callable from any thread."""
        return {
            number: Position(partition.position, partition.stores)
            for number, partition in self.partitions.copy().items()
        }

    async def run(self, stream: StreamT[Any]) -> None:
        """Folds every batch of the stream; after a cancellation it finishes the queued batches first."""
        queues = PartitionQueues(self._fold, self.engine.limits.batch_records)
        try:
            async for event in cast(Stream[Any], stream).noack().events():
                await queues.put(event)
        finally:
            await queues.drain()

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
        except BaseException:  # noqa: BLE001 - after any error nothing of the batch may be acknowledged
            traceback.print_exc(file=sys.__stderr__)
            end_process(FAILED, f"folding {self.engine.fold.source} failed; nothing of the batch was acknowledged")

    def _lost(self, partition: OpenPartition[Any, Any], batch: Batch) -> int:
        """Counts the offsets before and within the batch that retention removed unread.

        After a start there may also be transaction markers between the applied offset and the batch.

        Raises:
            BrokenInvariant: There is a record that was not folded.
        """
        if batch.begin <= partition.position:
            return batch.skipped
        source = self.engine.fold.source
        unread = self._offsets.next_record(source, partition.number, partition.position)
        if unread is not None and unread < batch.begin:
            raise BrokenInvariant(
                f"{source}[{partition.number}] was delivered from offset {batch.begin} on, but the record at offset "
                f"{unread} was never folded; {self._how_to_reset_offset(partition.number, unread)}"
            )
        first = self._offsets.coverage(source, partition.number).first
        return batch.skipped + max(min(first, batch.begin) - partition.position, 0)

    def _open(self, number: int) -> OpenPartition[Any, Any]:
        if number not in self.partitions:
            self.partitions[number] = self._read(number)
        return self.partitions[number]

    def _read(self, number: int) -> OpenPartition[Any, Any]:
        fold = self.engine.fold
        changelog_end = self._offsets.coverage(fold.changelog, number).end
        identity = replace(self.identity, topic_ids=self._topic_ids.read({fold.source, fold.changelog}))
        self._refuse_foreign(number, identity)
        try:
            opened = open_partition(fold, self.engine.table, self.engine.limits, number, changelog_end, identity)
        except RefusedStart as refusal:
            raise RefusedStart(f"{refusal}; or, {self._how_to_begin_anew()}") from refusal
        end = self._offsets.coverage(fold.source, number).end
        if opened.position > end:
            raise RefusedStart(
                f"{fold.source}[{number}] ends at offset {end}, but offset {opened.position - 1} is applied: the "
                f"tables belong to another cluster. Use that one; or {self._how_to_begin_anew()}"
            )
        return opened

    def _refuse_foreign(self, number: int, identity: Identity) -> None:
        """Compares what the stored rows of a partition belong to with what there is now.

        Raises:
            RefusedStart: They belong to something else; the message says how to begin anew.
        """
        fold = self.engine.fold
        stored = self.engine.table.read(number, [PARTITION_KEY])[0]
        if stored is None:
            return
        try:
            row = decode_partition_row(stored)
        except msgspec.DecodeError as error:
            raise RefusedStart(
                f"the partition's row of {fold.changelog}[{number}] is none of this version ({error}): use the version "
                f"that wrote it; {self._how_to_begin_anew()}"
            ) from error
        why = difference(row.identity, identity, fold.changelog)
        has_id = fold.source in row.identity.topic_ids.keys() & identity.topic_ids.keys()
        if not why and not has_id and row.last_record != PartitionRow().last_record:
            applied_offset = plain_offset(row.applied_offset)
            digest = self._offsets.digest(fold.source, number, applied_offset)
            if digest is not None and digest != row.last_record:
                why = (
                    f"the record at offset {applied_offset} of {fold.source}[{number}] is another one than was "
                    "applied: the topic was made anew, or the tables belong to another cluster"
                )
        if why:
            raise RefusedStart(f"{fold.changelog}[{number}]: {why}; {self._how_to_begin_anew()}")
        self._say_changes(row.identity, identity)

    def _say_changes(self, stored: Identity, identity: Identity) -> None:
        """Reports a source that was made anew, and the settings that changed and that rows follow, each once."""
        source = self.engine.fold.source
        if is_anew(stored, identity, source) and source not in self._said:
            self._said.add(source)
            report(SOURCE_MADE_ANEW, topic=source, begin_anew=self._how_to_begin_anew())
        for key, (before, now) in changes(stored, identity).items():
            if key not in self._said:
                self._said.add(key)
                what = consequence_of(key) if key in identity.followed else "it was added, and changes no row"
                report(SETTING_CHANGED, topic=self.engine.fold.changelog, setting=key, was=before, now=now, what=what)
