"""Faust's RocksDB tables with reads, writes and recovery in batches."""

import asyncio
import sys
import traceback
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Final, NamedTuple, cast

import faust
import msgspec
import rocksdict
from faust.stores import rocksdb
from faust.tables.manager import TableManager
from faust.tables.recovery import Recovery
from faust.types import TP
from yarl import URL

from streams.contract.errors import BrokenInvariant, RefusedStart
from streams.contract.fold import PARTITION_KEY, RowHeader, decode_partition_row
from streams.contract.settings import Engine
from streams.engine.exit_codes import FAILED, REFUSED, end_process
from streams.engine.incidents import CHANGELOG_RECORD_REFUSED, RefusedRecords
from streams.engine.offsets import Coverage
from streams.engine.transport import Batch
from streams.engine.watchdog import Watchdog

_read_header: Final = msgspec.msgpack.Decoder(RowHeader).decode

_FILTER_BITS: Final = 10
"""Per key; about 1 % of the look-ups of missing rows then read the disk."""
_BUFFER_SHARE: Final = 8
"""A database may use 1/8 of the write buffer limit, so that a few do not force the others to flush small files."""

Changed = Callable[[int], None]


class Databases(rocksdb.RocksDBOptions):
    """RocksDB options whose memory is bounded for all databases together, whatever the number of partitions."""

    def __init__(self, engine: Engine) -> None:
        super().__init__(use_rocksdict=True, write_buffer_size=max(engine.write_buffer_bytes // _BUFFER_SHARE, 1))
        self.cache = rocksdict.Cache(engine.block_cache_bytes)
        self.buffers = rocksdict.WriteBufferManager(engine.write_buffer_bytes, False)

    def as_options(self) -> rocksdict.Options:
        options: rocksdict.Options = super().as_options()
        blocks = rocksdict.BlockBasedOptions()
        blocks.set_block_cache(self.cache)
        blocks.set_bloom_filter(_FILTER_BITS, block_based=False)
        options.set_block_based_table_factory(blocks)
        options.set_write_buffer_manager(self.buffers)
        return options


def standby_left(recovery: Recovery) -> int:
    """Counts the offsets until this worker's standbys reach the changelog ends of the last rebalance.

    Faust's own count leaves out standbys that have read nothing.
    """
    left = 0
    for tp in recovery.standby_tps:
        reached = recovery.standby_offsets.get(tp)
        left += max(recovery.standby_highwaters.get(tp, -1) - (-1 if reached is None else reached), 0)
    return left


class _Version(NamedTuple):
    """A record of a changelog.

    Attributes:
        value: The row; ``None`` for a tombstone.
        replaces: Whether it stands for the row whatever the table holds: it is a tombstone, or comes after one.
    """

    applied_offset: int
    value: bytes | None
    replaces: bool


class BatchStore(rocksdb.Store):
    """Faust's RocksDB store with a multi-get, one atomic write a batch, and recovery by batches.

    Attributes:
        coverage: Returns a changelog partition's retained offsets; set by the table.
        on_change: Called with a partition whose rows are recovered, or whose database is about to be closed: cached
            rows of it are out of date.
        on_recovered: Called with a partition and a batch of its changelog that was applied.
        on_gap: Called with a partition and a changelog offset from which it must be read again, because a later batch
            arrived first.
        refused: Reports records of the changelog that are no rows.
        how_to_begin_anew: Says it, where rows are lost.
    """

    coverage: Callable[[int], Coverage]
    on_change: Changed
    on_recovered: Callable[[int, Batch], None]
    on_gap: Callable[[int, int], None]
    refused: RefusedRecords
    how_to_begin_anew: Callable[[], str]

    def read(self, partition: int, keys: Sequence[bytes]) -> list[bytes | None]:
        """Reads keys in one multi-get; returns their values in order, ``None`` for missing ones."""
        return list(self._db_for_partition(partition).get(list(keys))) if keys else []

    def scan(self, partition: int) -> Iterator[tuple[bytes, bytes]]:
        """Iterates over all rows but the partition's row and Faust's own entry."""
        for key, value in self._db_for_partition(partition).items():
            if key not in (PARTITION_KEY, self.offset_key):
                yield key, value

    def write(self, partition: int, rows: Mapping[bytes, bytes | None], changelog_offset: int) -> None:
        """Writes rows, deleting those that are ``None``, and their changelog offset, atomically."""
        batch = rocksdict.WriteBatch(raw_mode=True)
        for key, value in rows.items():
            if value is None:
                batch.delete(key)
            else:
                batch.put(key, value)
        batch.put(self.offset_key, str(changelog_offset).encode())
        self._db_for_partition(partition).write(batch)

    def apply_changelog_batch(self, batch: Iterable[Any], to_key: Any, to_value: Any) -> None:
        """Applies fetched changelog batches; per key, the row with the highest applied offset wins.

        A tombstone deletes the row, whatever came before. A record that is no row is refused alone, and reported.

        A batch that does not follow the last applied one is skipped, and its partition is read again from the gap. Such
        a batch was fetched before a seek, and the batches before it were dropped: Faust empties its queue whenever the
        flow is resumed.

        Any error ends the process; Faust would only log it and retry for ever.
        """
        try:
            for event in batch:
                partition, fetched = event.message.partition, event.message.value
                changelog = TP(cast("BatchTable", self.table).changelog_topic_name, partition)
                reached = self.persisted_offset(changelog)
                follows = 0 if reached is None else reached + 1
                if fetched.begin > follows:
                    self._refuse_gap(changelog)
                    self.on_gap(partition, follows)
                    continue
                self.on_change(partition)
                self._recover(partition, fetched.records, event.message.offset)
                self.on_recovered(partition, fetched)
        except RefusedStart as refusal:
            end_process(REFUSED, f"{cast('BatchTable', self.table).changelog_topic_name}: {refusal}")
        except BaseException:  # noqa: BLE001 - Faust would continue without these rows
            traceback.print_exc(file=sys.__stderr__)
            end_process(FAILED, "a changelog could not be applied")

    def _recover(self, partition: int, records: Sequence[Any], reached: int) -> None:
        newest: dict[bytes, _Version] = {}
        for record in records:
            try:
                version = self._version(record)
            except ValueError as error:
                self.refused.add("no row", f"{partition}-{record.offset}: {error}")
                continue
            earlier = newest.get(record.key)
            if version.value is None:
                newest[record.key] = version
            elif earlier is None or version.applied_offset >= earlier.applied_offset:
                newest[record.key] = version._replace(replaces=earlier is not None and earlier.replaces)
        stored = self.read(partition, list(newest))
        rows = {
            key: version.value
            for (key, version), old in zip(newest.items(), stored, strict=True)
            if version.replaces or old is None or version.applied_offset >= _read_header(old).applied_offset
        }
        self.write(partition, rows, reached)

    def _version(self, record: Any) -> "_Version":
        """Reads as much of a changelog's record as recovery needs.

        Raises:
            ValueError: It is no row, or it would delete or spoil what belongs to the whole partition.
        """
        key, value = record.key, record.value
        if key is None or key == self.offset_key:
            raise ValueError(f"{key!r} is no key of a row")
        if value is None:
            if key == PARTITION_KEY:
                raise ValueError("the partition's own row cannot be deleted")
            return _Version(-1, None, replaces=True)
        try:
            header = decode_partition_row(value) if key == PARTITION_KEY else _read_header(value)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise ValueError(str(error)) from error
        return _Version(header.applied_offset, value, replaces=False)

    async def assign_partitions(self, table: Any, tps: set[TP], generation_id: int = 0) -> None:
        await super().assign_partitions(table, tps, generation_id)
        for partition in sorted(tp.partition for tp in tps if tp.topic in table.changelog_topic.topics):
            try:
                self._refuse_gap(TP(table.changelog_topic_name, partition))
            except RefusedStart as error:
                end_process(REFUSED, str(error))

    def _refuse_gap(self, changelog: TP) -> None:
        first, end = self.coverage(changelog.partition)
        persisted = self.persisted_offset(changelog)
        if persisted is None and first > 0:
            raise RefusedStart(
                f"{changelog.topic}[{changelog.partition}] begins at offset {first} and there is no local table: "
                "rows would be missing. Keep the changelog compacted, and use the data directory that belongs to it; "
                f"or, {self.how_to_begin_anew()}"
            )
        if persisted is not None and not first - 1 <= persisted < max(end, 1):
            raise RefusedStart(
                f"the table in {self.path} reaches offset {persisted} of {changelog.topic}[{changelog.partition}], the "
                f"broker has [{first}, {end}): they do not belong together. Remove the data directory, or point the "
                "worker at the cluster it came from."
            )

    def revoke_partitions(self, table: Any, tps: set[TP]) -> None:
        for tp in tps:
            if tp.topic in table.changelog_topic.topics:
                self.on_change(tp.partition)
        super().revoke_partitions(table, tps)


class BatchTableManager(TableManager):
    """Faust's table manager without its second of sleep at the start: no table is added after the app was built."""

    async def on_start(self) -> None:
        await self._update_channels()
        await self.recovery.start()


class BatchTable(faust.Table[bytes, bytes]):
    """Faust table whose rows are bytes and are written only by the engine.

    Args:
        changelog: Name of the changelog topic on the cluster.
        coverage: See :class:`BatchStore`.
        databases: RocksDB options.
        how_to_begin_anew: See :class:`BatchStore`.

    Attributes:
        watchdog: Notified of recovered rows, and of positions by the fold that owns the table.
    """

    def __init__(
        self,
        app: faust.App,
        *,
        changelog: str,
        coverage: Callable[[int], Coverage],
        watchdog: Watchdog,
        databases: Databases,
        how_to_begin_anew: Callable[[], str],
        **kwargs: Any,
    ) -> None:
        self._changelog = changelog
        self._coverage = coverage
        self._databases = databases
        self._how_to_begin_anew = how_to_begin_anew
        self.watchdog = watchdog
        self._on_change: list[Changed] = []
        super().__init__(
            app,
            key_type=bytes,
            value_type=bytes,
            # Counted in fetched batches; 1 would enable a special case of Faust's recovery.
            recovery_buffer_size=2,
            standby_buffer_size=1,
            options={"driver": "rocksdict"},
            **kwargs,
        )

    def on_change(self, callback: Changed) -> None:
        """Registers a callback for partitions whose rows change other than by the engine's own writes."""
        self._on_change.append(callback)

    def _changelog_topic_name(self) -> str:
        return self._changelog

    def _new_store_by_url(self, url: str | URL) -> BatchStore:
        store = BatchStore(url, self.app, self, table_name=self.name, loop=self.loop, options=dict(self.options or {}))
        store.rocksdb_options = self._databases
        store.coverage = self._coverage
        store.how_to_begin_anew = self._how_to_begin_anew
        store.on_change = self._notify_change
        store.on_recovered = self._notify_recovered
        store.on_gap = self._read_again
        store.refused = RefusedRecords(CHANGELOG_RECORD_REFUSED, self._changelog)
        return store

    def _notify_change(self, partition: int) -> None:
        for callback in self._on_change:
            callback(partition)

    def _read_again(self, partition: int, offset: int) -> None:
        changelog = TP(self._changelog, partition)
        recovery = cast(TableManager, self.app.tables).recovery
        if changelog not in recovery.standby_tps:
            raise BrokenInvariant(f"{changelog.topic}[{partition}] was not read from offset {offset} on")
        recovery.standby_offsets[changelog] = offset - 1
        self._seeking = asyncio.ensure_future(self.app.consumer.seek_wait({changelog: offset}))

    def _notify_recovered(self, partition: int, batch: Batch) -> None:
        recovery = cast(TableManager, self.app.tables).recovery
        if TP(self._changelog, partition) in recovery.standby_tps:
            self.watchdog.standby_rows_applied(len(batch.records), standby_left(recovery))
            return
        left = sum(max(offsets, 0) for offsets in recovery.active_remaining().values())
        self.watchdog.rows_recovered(len(batch.records), batch.end - batch.begin, left)
