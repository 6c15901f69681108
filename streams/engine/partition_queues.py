"""One queue per partition: while the batch of one partition waits for the broker, batches of others are computed.

Within a queue, batches run one after another: each starts when the previous one is durable, and they are acknowledged
in order. Records that arrive meanwhile are joined to the next batch, up to ``batch_records``. So batches are small at
low load and large after a backlog.
"""

import asyncio
from collections import defaultdict, deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from faust.types import EventT

from streams.engine.transport import Batch, joined

MAX_CONCURRENT_BATCHES: Final = 4
"""Batches that run at once. More would not shorten the wait for the broker, and would make batches smaller."""

MAX_WAITING_BATCHES: Final = 2
"""Full batches that may wait in all queues together; beyond that, Faust buffers."""

FoldBatch = Callable[[int, Batch, Callable[[], None]], Awaitable[None]]
"""Function of a partition, its batch, and the callback that acknowledges the batch."""


@dataclass
class PartitionQueue:
    """Waiting events of one partition, in order, and the task that folds them."""

    waiting: deque[EventT[Any]] = field(default_factory=deque)
    task: asyncio.Task[None] | None = None


class PartitionQueues:
    """Folds the events of a stream, each a fetched run of records, in the queues of their partitions.

    Args:
        fold: Folds one batch; it ends the process instead of raising.
        batch_records: Maximum size of a batch, unless a single fetched run is larger.
    """

    def __init__(self, fold: FoldBatch, batch_records: int) -> None:
        self._fold = fold
        self._batch_records = batch_records
        self._queues: dict[int, PartitionQueue] = defaultdict(PartitionQueue)
        self._waiting_records = 0
        self._room = asyncio.Event()
        self._running = asyncio.Semaphore(MAX_CONCURRENT_BATCHES)

    async def put(self, event: EventT[Any]) -> None:
        """Queues an event at once, and returns when there is room for another."""
        number = event.message.partition
        queue = self._queues[number]
        queue.waiting.append(event)
        self._waiting_records += len(_batch(event).records)
        if queue.task is None or queue.task.done():
            queue.task = asyncio.create_task(self._run(number, queue))
        while self._waiting_records > MAX_WAITING_BATCHES * self._batch_records:
            self._room.clear()
            await self._room.wait()

    async def drain(self) -> None:
        """Waits until all queued events are folded."""
        while tasks := [
            queue.task for queue in self._queues.values() if queue.task is not None and not queue.task.done()
        ]:
            await asyncio.wait(tasks)

    async def _run(self, number: int, queue: PartitionQueue) -> None:
        while queue.waiting:
            async with self._running:
                events = self._take(queue)

                def acknowledge(events: Sequence[EventT[Any]] = events) -> None:
                    for event in events:
                        event.ack()

                await self._fold(number, joined([_batch(event) for event in events]), acknowledge)

    def _take(self, queue: PartitionQueue) -> list[EventT[Any]]:
        """Takes waiting events up to the first gap between offsets; the fold worker checks what a gap holds."""
        events = [queue.waiting.popleft()]
        records = len(_batch(events[0]).records)
        while queue.waiting:
            later = _batch(queue.waiting[0])
            if later.begin != _batch(events[-1]).end or records + len(later.records) > self._batch_records:
                break
            events.append(queue.waiting.popleft())
            records += len(later.records)
        self._waiting_records -= records
        self._room.set()
        return events


def _batch(event: EventT[Any]) -> Batch:
    batch: Any = event.message.value
    return batch  # type: ignore[no-any-return]
