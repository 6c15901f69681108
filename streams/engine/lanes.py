"""A lane for each partition: while the batch of one waits for the broker, those of others are computed.

Within a lane one batch follows another, so it is acknowledged in order, and nothing of it is begun before what precedes
it is safe. What comes meanwhile waits, and is one batch when its turn comes: small while little comes, large where much
has been left, up to ``batch_records``.
"""

import asyncio
from collections import defaultdict, deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from faust.types import EventT

from streams.engine.transport import Batch, joined

AT_ONCE: Final = 4
"""How many batches may be under way. One more lane would not wait less for the broker, but have smaller batches."""

WAITING_BATCHES: Final = 2
"""How many full batches may wait in all lanes together; Faust buffers what comes beyond."""

FoldBatch = Callable[[int, Batch, Callable[[], None]], Awaitable[None]]
"""Takes a partition, its batch, and what acknowledges the batch."""


@dataclass
class Lane:
    """What waits of one partition, in order, and the task that takes it."""

    waiting: deque[EventT[Any]] = field(default_factory=deque)
    task: asyncio.Task[None] | None = None


class Lanes:
    """Takes the events of a stream, each a fetched run of one partition, and folds them in their partitions' lanes.

    Args:
        fold: Folds one batch; it does not raise, but ends the process.
        batch_records: Of one batch at the most, unless a single run has more.
    """

    def __init__(self, fold: FoldBatch, batch_records: int) -> None:
        self._fold = fold
        self._batch_records = batch_records
        self._lanes: dict[int, Lane] = defaultdict(Lane)
        self._waiting_records = 0
        self._room = asyncio.Event()
        self._under_way = asyncio.Semaphore(AT_ONCE)

    async def put(self, event: EventT[Any]) -> None:
        """Takes an event at once, and returns when there is room for another."""
        number = event.message.partition
        lane = self._lanes[number]
        lane.waiting.append(event)
        self._waiting_records += len(_batch(event).records)
        if lane.task is None or lane.task.done():
            lane.task = asyncio.create_task(self._empty(number, lane))
        while self._waiting_records > WAITING_BATCHES * self._batch_records:
            self._room.clear()
            await self._room.wait()

    async def drain(self) -> None:
        """Returns when all that was taken is folded."""
        while tasks := [lane.task for lane in self._lanes.values() if lane.task is not None and not lane.task.done()]:
            await asyncio.wait(tasks)

    async def _empty(self, number: int, lane: Lane) -> None:
        while lane.waiting:
            async with self._under_way:
                events = self._take(lane)

                def acknowledge(events: Sequence[EventT[Any]] = events) -> None:
                    for event in events:
                        event.ack()

                await self._fold(number, joined([_batch(event) for event in events]), acknowledge)

    def _take(self, lane: Lane) -> list[EventT[Any]]:
        """Takes what waits and follows without a gap: what lies in a gap is for the fold to judge."""
        events = [lane.waiting.popleft()]
        records = len(_batch(events[0]).records)
        while lane.waiting:
            later = _batch(lane.waiting[0])
            if later.begin != _batch(events[-1]).end or records + len(later.records) > self._batch_records:
                break
            events.append(lane.waiting.popleft())
            records += len(later.records)
        self._waiting_records -= records
        self._room.set()
        return events


def _batch(event: EventT[Any]) -> Batch:
    batch: Any = event.message.value
    return batch  # type: ignore[no-any-return]
