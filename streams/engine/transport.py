"""How records are handed over: the whole fetched run of one partition as one message.

Faust's own gap bookkeeping is left out for batched topics: a batch has no gaps, only a last offset, and the batches of
a partition are acknowledged in order.
"""

import asyncio
from collections.abc import Mapping, Sequence
from time import monotonic
from typing import Any, Final, cast

import faust
from aiokafka import AIOKafkaConsumer
from faust.tables.manager import TableManager
from faust.transport.drivers import aiokafka as driver
from faust.types import TP, ConsumerMessage
from yarl import URL

_IDLE_S: Final = 0.05


class Batch:
    """The records of one partition that one fetch brought, in offset order; never empty."""

    __slots__ = ("last", "records")

    def __init__(self, records: Sequence[Any]) -> None:
        self.records = records
        self.last = records[-1]


class Holding:
    """Gathers the records of some topics for a while, so that a fold that can wait gets larger batches."""

    def __init__(self, hold_ms: Mapping[str, int], batch_records: int) -> None:
        self._hold_s = {topic: hold / 1000 for topic, hold in hold_ms.items()}
        self._batch_records = batch_records
        self._held: dict[TP, list[Any]] = {}
        self._since: dict[TP, float] = {}

    def pass_on(self, fetched: Mapping[TP, Sequence[Any]], now: float) -> dict[TP, Sequence[Any]]:
        """Takes what was fetched and returns what is due, held records before newer ones."""
        ready: dict[TP, Sequence[Any]] = {}
        for tp, records in fetched.items():
            if tp.topic in self._hold_s and records:
                self._held.setdefault(tp, []).extend(records)
                self._since.setdefault(tp, now)
            else:
                ready[tp] = records
        for tp in list(self._held):
            if now - self._since[tp] >= self._hold_s[tp.topic] or len(self._held[tp]) >= self._batch_records:
                ready[tp] = self._held.pop(tp)
                del self._since[tp]
        return ready

    def wait_s(self, timeout_s: float, now: float) -> float:
        """Returns how long the next fetch may wait so that nothing is held too long."""
        due = (self._since[tp] + self._hold_s[tp.topic] - now for tp in self._held)
        return max(_IDLE_S, min(timeout_s, *due, timeout_s))

    def forget(self) -> None:
        """Drops what is held; it will be fetched again from the committed offset."""
        self._held.clear()
        self._since.clear()


class BatchConsumerThread(driver.AIOKafkaConsumerThread):
    """aiokafka's consumer, with the fetch wait that Faust hard-codes replaced."""

    def _create_worker_consumer(self, transport: Any) -> AIOKafkaConsumer:
        consumer = super()._create_worker_consumer(transport)
        consumer._fetch_max_wait_ms = transport.fetch_wait_ms
        return consumer


class BatchConsumer(driver.Consumer):
    """Faust's consumer, handing over batches."""

    def __init__(self, transport: "BatchTransport", *args: Any, **kwargs: Any) -> None:
        super().__init__(transport, *args, **kwargs)
        self._holding = Holding(transport.hold_ms, transport.batch_records)
        self._room = asyncio.Event()
        self._seeks = 0

    def _new_consumer_thread(self) -> BatchConsumerThread:
        return BatchConsumerThread(self, loop=self.loop, beacon=self.beacon)

    def on_buffer_drop(self, tp: TP) -> None:
        super().on_buffer_drop(tp)
        self._room.set()

    async def _wait_next_records(self, timeout: float) -> Any:
        """Waits for room where every partition's buffer is full; Faust would sleep for a second, room or not."""
        if self._buffered_partitions and not self._get_active_partitions():
            self._room.clear()
            await self.wait_first(self._room.wait(), self.suspend_flow.wait(), timeout=timeout)
        return await super()._wait_next_records(timeout)

    async def _getmany(self, active_partitions: set[TP] | None, timeout: float) -> Any:
        seeks = self._seeks
        fetched = await super()._getmany(active_partitions, self._holding.wait_s(timeout, monotonic()))
        if not self.flow_active:
            return fetched  # Faust drops them, and seeks back.
        if fetched and self._seeks != seeks:
            await self._seek_back()  # They may be of before the seek.
            return {}
        ready = self._holding.pass_on(fetched, monotonic())
        return {tp: [Batch(records)] if records else records for tp, records in ready.items()}

    async def perform_seek(self) -> None:
        """Seeks to the committed offsets; the caller resumes the flow.

        Faust seeks while its fetcher delivers, and empties the agents' queues afterwards: what a recovery delivered in
        between would never be folded. So nothing is delivered until the flow is resumed.
        """
        self.stop_flow()
        await self._seek_back()

    async def _seek_back(self) -> None:
        self._seeks += 1
        self._holding.forget()
        await super().perform_seek()
        recovery = cast(TableManager, self.app.tables).recovery
        applied = {tp: recovery.standby_offsets.get(tp) for tp in recovery.standby_tps}
        await self.seek_wait({tp: offset + 1 for tp, offset in applied.items() if offset is not None})

    async def seek_to_committed(self) -> Mapping[TP, int]:
        """Seeks to the committed offsets, and to the beginning where there are none, which Faust leaves as it is."""
        committed = await super().seek_to_committed()
        fresh = [tp for tp, offset in committed.items() if not offset and not self._is_changelog_tp(tp)]
        await self.seek_wait(await self.earliest_offsets(*fresh))
        return committed

    async def _seek(self, partition: TP, offset: int) -> None:
        self._holding.forget()
        await super()._seek(partition, offset)

    async def on_partitions_revoked(self, revoked: set[TP]) -> None:
        self._holding.forget()
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
        last = record.last
        return ConsumerMessage(
            tp.topic,
            tp.partition,
            last.offset,
            last.timestamp / 1000,
            last.timestamp_type,
            [],
            None,
            record.records,
            None,
            0,
            0,
            tp,
            generation_id=self.app.consumer_generation_id,
        )


class BatchTransport(driver.Transport):
    """Faust's aiokafka transport, with :class:`BatchConsumer`."""

    Consumer = BatchConsumer

    def __init__(
        self, url: URL, app: faust.App, *, batch_records: int, fetch_wait_ms: int, hold_ms: Mapping[str, int]
    ) -> None:
        self.batch_records = batch_records
        self.fetch_wait_ms = fetch_wait_ms
        self.hold_ms = hold_ms
        super().__init__([url], app)


class Undecoded(faust.Schema[Any, Any]):
    """Hands a batch on as it came; the fold decodes it."""

    def loads_key(self, app: Any, message: Any, **_: Any) -> Any:
        return message.key

    def loads_value(self, app: Any, message: Any, **_: Any) -> Any:
        return message.value
