"""Faust's RocksDB tables, read and written a batch at a time, and recovered from the changelog at full speed."""

import asyncio
import sys
import traceback
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Final, cast

import faust
import msgspec
import rocksdict
from faust.stores import rocksdb
from faust.tables.manager import TableManager
from faust.tables.recovery import Recovery
from faust.types import TP
from yarl import URL

from streams.contract.errors import BrokenInvariant, RefusedStart
from streams.contract.fold import PARTITION_KEY, RowHeader
from streams.engine.databases import Databases
from streams.engine.exits import FAILED, REFUSED, end_process
from streams.engine.offsets import Coverage
from streams.engine.transport import Batch
from streams.engine.watchdog import Watchdog

_read_header: Final = msgspec.msgpack.Decoder(RowHeader).decode

Changed = Callable[[int], None]


def standby_left(recovery: Recovery) -> int:
    """Counts the offsets that this worker's standbys have to read until they are where their changelogs were.

    That is where they ended when the last rebalance did; Faust's own count leaves out those that have read nothing.
    """
    left = 0
    for tp in recovery.standby_tps:
        reached = recovery.standby_offsets.get(tp)
        left += max(recovery.standby_highwaters.get(tp, -1) - (-1 if reached is None else reached), 0)
    return left


class BatchStore(rocksdb.Store):
    """Faust's RocksDB store with a multi-get, one atomic write a batch, and recovery by batches.

    Attributes:
        coverage: Asks the broker for a changelog partition's offsets; set by the table.
        on_change: Called with a partition whose rows are recovered, or whose database is about to be closed: what is
            known of them in memory is out of date.
        on_recovered: Called with a partition and a batch of its changelog that was applied.
        on_gap: Called with a partition and an offset of its changelog: what came lies behind it, so that it has to be
            read again from there.
    """

    coverage: Callable[[int], Coverage]
    on_change: Changed
    on_recovered: Callable[[int, Batch], None]
    on_gap: Callable[[int, int], None]

    def read(self, partition: int, keys: Sequence[bytes]) -> list[bytes | None]:
        """Reads many keys at once, ``None`` for those that are not there, in their order."""
        return list(self._db_for_partition(partition).get(list(keys))) if keys else []

    def scan(self, partition: int) -> Iterator[tuple[bytes, bytes]]:
        """Iterates over the rows, without the partition's row and Faust's own entries."""
        for key, value in self._db_for_partition(partition).items():
            if key not in (PARTITION_KEY, self.offset_key):
                yield key, value

    def write(self, partition: int, rows: Mapping[bytes, bytes], changelog_offset: int) -> None:
        """Writes rows and the offset of the changelog that they reach, atomically."""
        batch = rocksdict.WriteBatch(raw_mode=True)
        for key, value in rows.items():
            batch.put(key, value)
        batch.put(self.offset_key, str(changelog_offset).encode())
        self._db_for_partition(partition).write(batch)

    def apply_changelog_batch(self, batch: Iterable[Any], to_key: Any, to_value: Any) -> None:
        """Applies fetched changelog batches; for each key the row with the highest guard stays.

        A batch that does not join what the disk has is left out. It was read before its partition was sought back, and
        what precedes it was dropped: Faust empties its queue whenever the flow is resumed.

        Faust would only log an error here and spin, so any ends the process.
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
        except BaseException:  # noqa: BLE001 - Faust would go on without these rows
            traceback.print_exc(file=sys.__stderr__)
            end_process(FAILED, "a changelog could not be applied")

    def _recover(self, partition: int, records: Sequence[Any], reached: int) -> None:
        newest: dict[bytes, tuple[int, bytes]] = {}
        for record in records:
            guard = _read_header(record.value).guard
            if record.key not in newest or guard >= newest[record.key][0]:
                newest[record.key] = guard, record.value
        stored = self.read(partition, list(newest))
        rows = {
            key: value
            for (key, (guard, value)), old in zip(newest.items(), stored, strict=True)
            if old is None or guard >= _read_header(old).guard
        }
        self.write(partition, rows, reached)

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
                "rows would be missing. Keep the changelog compacted, or bring the data directory that belongs to it."
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


class BatchTable(faust.Table[bytes, bytes]):
    """A Faust table whose rows are bytes, written by the engine alone.

    Args:
        changelog: Name of its changelog topic.
        coverage: See :class:`BatchStore`.
        databases: How the partitions' databases are opened.

    Attributes:
        watchdog: Hears of recovered rows here, and of the partitions' positions from the fold that owns the rows.
    """

    def __init__(
        self,
        app: faust.App,
        *,
        changelog: str,
        coverage: Callable[[str, int], Coverage],
        watchdog: Watchdog,
        databases: Databases,
        **kwargs: Any,
    ) -> None:
        self._changelog = changelog
        self._coverage = coverage
        self._databases = databases
        self.watchdog = watchdog
        self._on_change: list[Changed] = []
        super().__init__(
            app,
            key_type=bytes,
            value_type=bytes,
            # A fetched batch counts as one here; 1 would switch on a special case of Faust's recovery.
            recovery_buffer_size=2,
            standby_buffer_size=1,
            options={"driver": "rocksdict"},
            **kwargs,
        )

    def on_change(self, callback: Changed) -> None:
        """Registers what to call with a partition whose rows change other than by the engine's writing them."""
        self._on_change.append(callback)

    def _changelog_topic_name(self) -> str:
        return self._changelog

    def _new_store_by_url(self, url: str | URL) -> BatchStore:
        store = BatchStore(url, self.app, self, table_name=self.name, loop=self.loop, options=dict(self.options or {}))
        store.rocksdb_options = self._databases
        store.coverage = lambda partition: self._coverage(self._changelog, partition)
        store.on_change = self._tell_change
        store.on_recovered = self._tell_recovered
        store.on_gap = self._read_again
        return store

    def _tell_change(self, partition: int) -> None:
        for callback in self._on_change:
            callback(partition)

    def _read_again(self, partition: int, offset: int) -> None:
        changelog = TP(self._changelog, partition)
        recovery = cast(TableManager, self.app.tables).recovery
        if changelog not in recovery.standby_tps:
            raise BrokenInvariant(f"{changelog.topic}[{partition}] was not read from offset {offset} on")
        recovery.standby_offsets[changelog] = offset - 1
        self._seeking = asyncio.ensure_future(self.app.consumer.seek_wait({changelog: offset}))

    def _tell_recovered(self, partition: int, batch: Batch) -> None:
        recovery = cast(TableManager, self.app.tables).recovery
        if TP(self._changelog, partition) in recovery.standby_tps:
            self.watchdog.followed(len(batch.records), standby_left(recovery))
            return
        left = sum(max(offsets, 0) for offsets in recovery.active_remaining().values())
        self.watchdog.recovered(len(batch.records), batch.end - batch.begin, left)
