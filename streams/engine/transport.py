"""Faust transport that delivers each fetched run of records of one partition as one message.

Faust's gap bookkeeping is not used: a batch has no gaps, only a last offset, and the batches of a partition are
acknowledged in order.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from itertools import chain, pairwise
from time import monotonic
from typing import Any, Final, cast

import faust
from aiokafka import AIOKafkaConsumer
from aiokafka.consumer import fetcher as fetching
from faust.tables.manager import TableManager
from faust.transport.drivers import aiokafka as driver
from faust.types import TP, ConsumerMessage
from yarl import URL

from streams.engine.leave_group import leave_rebalance

_IDLE_S: Final = 0.05


class Batch:
    """Records read from one partition, in offset order, with the offsets ``[begin, end)`` that they cover.

    Offsets without a record belong to transaction markers or to records of aborted transactions. A batch without any
    record reports that there is none up to ``end``.

    Attributes:
        skipped: Number of offsets within that were never read, because the broker no longer had them.
    """

    __slots__ = ("begin", "end", "records", "skipped")

    def __init__(self, records: Sequence[Any], begin: int, end: int, skipped: int = 0) -> None:
        self.records = records
        self.begin = begin
        self.end = end
        self.skipped = skipped


def joined(batches: Sequence[Batch]) -> Batch:
    """Joins consecutive batches; offsets between them count as skipped."""
    if len(batches) == 1:
        return batches[0]
    records = list(chain.from_iterable(batch.records for batch in batches))
    between = sum(max(later.begin - earlier.end, 0) for earlier, later in pairwise(batches))
    return Batch(records, batches[0].begin, batches[-1].end, sum(batch.skipped for batch in batches) + between)


class HoldBuffer:
    """Buffer that holds the records of some topics back for a while, for larger batches."""

    def __init__(self, hold_ms: Mapping[str, int], batch_records: int) -> None:
        self._hold_s = {topic: hold / 1000 for topic, hold in hold_ms.items() if hold}
        self._batch_records = batch_records
        self._held: dict[TP, Batch] = {}
        self._since: dict[TP, float] = {}

    def release(self, fetched: Mapping[TP, Batch], now: float) -> dict[TP, Batch]:
        """Adds fetched batches and returns those that are due, held records before newer ones."""
        ready: dict[TP, Batch] = {}
        for tp, batch in fetched.items():
            if tp.topic in self._hold_s:
                self._held[tp] = joined([self._held[tp], batch]) if tp in self._held else batch
                self._since.setdefault(tp, now)
            else:
                ready[tp] = batch
        for tp in list(self._held):
            if now - self._since[tp] >= self._hold_s[tp.topic] or len(self._held[tp].records) >= self._batch_records:
                ready[tp] = self._held.pop(tp)
                del self._since[tp]
        return ready

    def wait_s(self, timeout_s: float, now: float) -> float:
        """Returns the longest wait of the next fetch with which no record is held too long."""
        due = (self._since[tp] + self._hold_s[tp.topic] - now for tp in self._held)
        return max(_IDLE_S, min(timeout_s, *due, timeout_s))

    def forget(self) -> None:
        """Drops held records; they will be fetched again from the committed offset."""
        self._held.clear()
        self._since.clear()


class PlainRecords(fetching.PartitionRecords):  # type: ignore[misc]  # aiokafka has no types
    """aiokafka's reader of one fetched partition, without its copy of each record into a dataclass of eleven fields.

    The copy took a third of the consumer thread's time.
    """

    def _consumer_record(self, tp: Any, record: Any) -> Any:
        return record


fetching.PartitionRecords = PlainRecords


class BatchConsumerThread(driver.AIOKafkaConsumerThread):
    """Thread of aiokafka's consumer; sets options that Faust hard-codes, and returns batches with their offsets."""

    def _create_worker_consumer(self, transport: Any) -> AIOKafkaConsumer:
        consumer = super()._create_worker_consumer(transport)
        consumer._fetch_max_wait_ms = transport.fetch_wait_ms
        consumer._isolation_level = "read_committed"
        return consumer

    async def on_thread_stop(self) -> None:
        """Stops aiokafka's consumer.

        While no broker answers, aiokafka cancels and awaits a task of its own, and the cancellation reaches this
        thread. Without the suppression, stopping it would take a minute.
        """
        with suppress(asyncio.CancelledError):
            if self._consumer is not None:
                await leave_rebalance(self._consumer)
            await super().on_thread_stop()

    async def _fetch_records(
        self,
        consumer: AIOKafkaConsumer,
        active_partitions: set[TP],
        timeout: float | None = None,
        max_records: int | None = None,
    ) -> Any:
        """Reads as Faust does, and also reports transaction markers: they move the position without a record."""
        fetcher, subscription = consumer._fetcher, consumer._subscription
        deadline = monotonic() + (timeout or 0.0)
        while self.consumer.flow_active:
            if subscription.reassignment_in_progress:
                await subscription.wait_for_assignment()
            before = _positions(consumer)
            # With timeout 0 no other task runs meanwhile, so only this call moves positions.
            records = await super()._fetch_records(consumer, active_partitions, timeout=0, max_records=max_records)
            batches = {
                tp: Batch(records.get(tp, ()), before[tp], position)
                for tp, position in _positions(consumer).items()
                if tp in before and position > before[tp]
            }
            left = deadline - monotonic()
            if batches or left <= 0:
                return batches
            waiter = fetcher._create_fetch_waiter()
            done, _ = await asyncio.wait([waiter], timeout=left)
            if not done:
                waiter.cancel()
                return {}
            waiter.result()  # raises the fetcher's error, if any
        return {}


def _positions(consumer: AIOKafkaConsumer) -> dict[TP, int]:
    subscription = consumer._subscription.subscription
    assignment = subscription and subscription.assignment
    if not assignment:
        return {}
    states = ((tp, assignment.state_value(tp)) for tp in assignment.tps)
    return {TP(*tp): state.position for tp, state in states if state is not None and state.has_valid_position}


class BatchConsumer(driver.Consumer):
    """Faust's consumer, delivering batches."""

    def __init__(self, transport: "BatchTransport", *args: Any, **kwargs: Any) -> None:
        super().__init__(transport, *args, **kwargs)
        self._hold_buffer = HoldBuffer(transport.hold_ms, transport.batch_records)
        self._room = asyncio.Event()
        self._seeks = 0

    def _new_consumer_thread(self) -> BatchConsumerThread:
        return BatchConsumerThread(self, loop=self.loop, beacon=self.beacon)

    def on_buffer_full(self, tp: TP) -> None:
        """Pauses all partitions of the topic, because they share a buffer.

        Faust would pause one and continue with the others. They would keep the buffer full, and the paused one would
        wait until their whole backlog is folded.
        """
        for each in [each for each in self._get_active_partitions() if each.topic == tp.topic]:
            super().on_buffer_full(each)

    def on_buffer_drop(self, tp: TP) -> None:
        for each in [each for each in self._buffered_partitions if each.topic == tp.topic]:
            super().on_buffer_drop(each)
        self._room.set()

    async def _wait_next_records(self, timeout: float) -> Any:
        """Waits for room if every partition's buffer is full; Faust would always sleep for a second."""
        if self._buffered_partitions and not self._get_active_partitions():
            self._room.clear()
            await self.wait_first(self._room.wait(), self.suspend_flow.wait(), timeout=timeout)
        return await super()._wait_next_records(timeout)

    async def _getmany(self, active_partitions: set[TP] | None, timeout: float) -> Any:
        seeks = self._seeks
        fetched: Any = await super()._getmany(active_partitions, self._hold_buffer.wait_s(timeout, monotonic()))
        if not self.flow_active:
            return _as_messages(fetched)  # Faust drops them and seeks back
        if fetched and self._seeks != seeks:
            await self._seek_back()  # they may have been fetched before the seek
            return {}
        ready = self._hold_buffer.release(fetched, monotonic())
        return _as_messages(ready)

    async def perform_seek(self) -> None:
        """Seeks to the committed offsets; the caller resumes the flow.

        Faust seeks while its fetcher delivers, and empties the agents' queues afterwards: records delivered in between
        would never be folded. So the flow is stopped first.
        """
        self.stop_flow()
        await self._seek_back()

    async def _seek_back(self) -> None:
        self._seeks += 1
        self._hold_buffer.forget()
        await super().perform_seek()
        recovery = cast(TableManager, self.app.tables).recovery
        applied = {tp: recovery.standby_offsets.get(tp) for tp in recovery.standby_tps}
        await self.seek_wait({tp: offset + 1 for tp, offset in applied.items() if offset is not None})

    async def seek_to_committed(self) -> Mapping[TP, int]:
        """Seeks to the committed offsets, and to the beginning where there are none, which Faust does not do."""
        committed = await super().seek_to_committed()
        fresh = [tp for tp, offset in committed.items() if not offset and not self._is_changelog_tp(tp)]
        await self.seek_wait(await self.earliest_offsets(*fresh))
        return committed

    async def _seek(self, partition: TP, offset: int) -> None:
        self._hold_buffer.forget()
        await super()._seek(partition, offset)

    async def on_partitions_assigned(self, assigned: set[TP], generation_id: int = 0) -> None:
        """Fences the previous owners before the changelogs are read, so that none of them can still write."""
        await cast("BatchTransport", self.transport).take_over(assigned)
        await super().on_partitions_assigned(assigned, generation_id)

    async def on_partitions_revoked(self, revoked: set[TP]) -> None:
        self._hold_buffer.forget()
        await super().on_partitions_revoked(revoked)

    async def _add_gap(self, tp: TP, offset_from: int, offset_to: int) -> None:
        pass

    def _new_offset(self, tp: TP) -> int | None:
        acked = self._acked[tp]
        if not acked:
            return None
        last = max(acked)
        acked.clear()
        self._acked_index[tp].clear()
        return int(last) + 1

    def _to_message(self, tp: TP, record: Any) -> ConsumerMessage:
        return ConsumerMessage(
            tp.topic,
            tp.partition,
            record.end - 1,
            record.records[-1].timestamp / 1000 if record.records else 0.0,
            0,
            [],
            None,
            record,
            None,
            0,
            0,
            tp,
            generation_id=self.app.consumer_generation_id,
        )


def _as_messages(batches: Mapping[TP, Batch]) -> dict[TP, list[Batch]]:
    """Wraps each batch in a list, which Faust iterates over."""
    return {tp: [batch] for tp, batch in batches.items()}


class BatchTransport(driver.Transport):
    """Faust's aiokafka transport, with :class:`BatchConsumer`."""

    Consumer = BatchConsumer

    def __init__(
        self,
        urls: list[URL],
        app: faust.App,
        *,
        batch_records: int,
        fetch_wait_ms: int,
        hold_ms: Mapping[str, int],
        take_over: Callable[[set[TP]], Awaitable[None]],
    ) -> None:
        self.take_over = take_over
        self.batch_records = batch_records
        self.fetch_wait_ms = fetch_wait_ms
        self.hold_ms = hold_ms
        super().__init__(urls, app)


class Undecoded(faust.Schema[Any, Any]):
    """Faust schema that leaves batches undecoded; the fold decodes their records."""

    def loads_key(self, app: Any, message: Any, **_: Any) -> Any:
        return message.key

    def loads_value(self, app: Any, message: Any, **_: Any) -> Any:
        return message.value
