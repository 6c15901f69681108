"""Batches of several partitions under way at once, cut off at any moment: the same rows, each partition in order."""

import asyncio
from collections import defaultdict
from collections.abc import Callable, Sequence
from types import SimpleNamespace
from typing import Any

import orjson
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from streams.contract.events import Event, encode_event
from streams.contract.fold import PARTITION_KEY, PartitionRow, decode_partition_row
from streams.contract.outputs import Output
from streams.contract.settings import Settings
from streams.contract.topics import CLICKSTREAM, PREDICTIONS, USERS_CHANGELOG
from streams.engine.outputs import Partition
from streams.engine.partition_queues import MAX_WAITING_BATCHES, PartitionQueues
from streams.engine.protocol import BatchEngine, OpenPartition, commit_batch
from streams.engine.row_cache import RowCache
from streams.engine.transport import Batch
from streams.testing import MemoryTable, MemoryTopics
from tests.engine.counting import Count, CountingFold
from tests.engine.mutants import replaced

BATCH_RECORDS = 10
PARTITIONS = 3


class SlowTopics(MemoryTopics):
    """Topics that acknowledge what they have when they are told to."""

    def __init__(self) -> None:
        super().__init__({PREDICTIONS: Settings().kafka.partitions})
        self.unacknowledged: list[asyncio.Event] = []

    async def emit(self, source: Partition, outputs: Sequence[Output]) -> None:
        self.extend(outputs)
        acknowledged = asyncio.Event()
        self.unacknowledged.append(acknowledged)
        await acknowledged.wait()

    async def log(self, source: Partition, rows: Sequence[Output]) -> int:
        await self.emit(source, rows)
        return len(rows)


class OverlappingWork:
    """A worker with queues on topics that outlive it, as its table does unless the disk is lost."""

    def __init__(self) -> None:
        self.topics = SlowTopics()
        self.table = MemoryTable()
        self.acknowledged: dict[int, int] = defaultdict(int)
        self.most_under_way = 0
        self._start()

    def _start(self) -> None:
        self._engine: BatchEngine[Any, Any] = BatchEngine(
            CountingFold(), self.table, self.topics, Settings().engine, lambda: 0
        )
        self._open: dict[int, OpenPartition[Any, Any]] = {}
        self._read = dict(self.acknowledged)
        self.queues = PartitionQueues(self._fold, BATCH_RECORDS)
        self._puts: list[asyncio.Task[None]] = []

    async def _fold(self, number: int, batch: Batch, acknowledge: Callable[[], None]) -> None:
        await commit_batch(self._engine, self._opened(number), batch.records, acknowledge)

    def _opened(self, number: int) -> OpenPartition[Any, Any]:
        if number not in self._open:
            stored = self.table.read(number, [PARTITION_KEY])[0]
            row = PartitionRow() if stored is None else decode_partition_row(stored)
            state = CountingFold().open(row, number, ())
            self._open[number] = OpenPartition(number, state, 0, stored or b"", stored or b"", RowCache(0))
        return self._open[number]

    async def publish(self, number: int, users: Sequence[int]) -> None:
        for user in users:
            event = Event(event_id="e", timestamp_ms=10**12, kind="view", user_id=f"u{user}", item_id="i", price=0.5)
            self.topics.append(Output(CLICKSTREAM, f"u{user}".encode(), encode_event(event), number))
        await self.read(number)

    async def read(self, number: int) -> None:
        """Hands over what was not yet read of a partition, as a consumer would."""
        records = self.topics.records[CLICKSTREAM, number]
        begin, end = self._read.get(number, 0), len(records)
        self._read[number] = end
        if end > begin:
            put = self.queues.put(event_of(number, Batch(records[begin:end], begin, end), self._acknowledge))
            self._puts.append(asyncio.create_task(put))
        await settled()
        self.most_under_way = max(self.most_under_way, len(self.topics.unacknowledged))

    def _acknowledge(self, number: int, batch: Batch) -> None:
        assert batch.begin == self.acknowledged[number]
        self.acknowledged[number] = batch.end

    async def confirm(self, which: int) -> None:
        """Lets one of the deliveries be acknowledged, in whatever order."""
        if self.topics.unacknowledged:
            self.topics.unacknowledged.pop(which % len(self.topics.unacknowledged)).set()
        await settled()

    async def crash(self, *, disk_lost: bool) -> None:
        for task in [*self._puts, *(queue.task for queue in self.queues._queues.values() if queue.task)]:
            task.cancel()
        await settled()
        self.topics.unacknowledged.clear()
        if disk_lost:
            self.table = MemoryTable()
            for number in range(PARTITIONS):
                self.table.recover(number, self.topics.records[USERS_CHANGELOG, number])
        self._start()
        for number in range(PARTITIONS):
            await self.read(number)

    async def finish(self) -> None:
        work = [*self._puts, asyncio.create_task(self.queues.drain())]
        while not all(task.done() for task in work):
            await self.confirm(0)
        await asyncio.gather(*work)

    def check(self) -> None:
        for number in range(PARTITIONS):
            records = self.topics.records[CLICKSTREAM, number]
            assert self.acknowledged[number] == len(records)
            self._check_outputs(number, len(records))
            fold = CountingFold()
            expected: dict[bytes, Count] = {}
            for record in records:
                event = fold.decode(record, number)
                fold.apply(expected.setdefault(fold.key(event), Count()), record.offset, event)
            assert {key: fold.decode_row(row) for key, row in self.table.scan(number)} == expected

    def _check_outputs(self, number: int, events: int) -> None:
        """There is one for every event, and in each partition of the topic they came in the events' order."""
        place = f"{CLICKSTREAM}-{number}-"
        found: set[int] = set()
        for partition in range(self.topics.partitions[PREDICTIONS]):
            refs = [orjson.loads(out.value or b"")["event_ref"] for out in self.topics.records[PREDICTIONS, partition]]
            offsets = list(dict.fromkeys(int(ref.removeprefix(place)) for ref in refs if ref.startswith(place)))
            assert offsets == sorted(offsets)
            found.update(offsets)
        assert found == set(range(events))


def event_of(number: int, batch: Batch, acknowledge: Callable[[int, Batch], None]) -> Any:
    return SimpleNamespace(
        message=SimpleNamespace(partition=number, value=batch), ack=lambda: acknowledge(number, batch)
    )


async def settled() -> None:
    """Lets every task run until it waits for something."""
    for _ in range(20):
        await asyncio.sleep(0)


Publications = st.tuples(st.just("publish"), st.integers(0, PARTITIONS - 1), st.lists(st.integers(0, 3), max_size=8))
Confirmations = st.tuples(st.just("confirm"), st.integers(0, 5))
Crashes = st.tuples(st.just("crash"), st.booleans())


Steps = st.lists(Publications | Confirmations | Crashes, max_size=40)


def work_through(steps: list[Any]) -> None:
    async def work() -> None:
        it = OverlappingWork()
        for step, *arguments in steps:
            match step:
                case "publish":
                    await it.publish(*arguments)
                case "confirm":
                    await it.confirm(*arguments)
                case _:
                    await it.crash(disk_lost=arguments[0])
        await it.finish()
        it.check()

    asyncio.run(work())


@settings(deadline=None)
@given(steps=Steps)
def test_work_that_overlaps_and_is_cut_off_anywhere_ends_where_work_in_turn_does(steps: list[Any]) -> None:
    work_through(steps)


def test_each_partition_has_one_batch_under_way_and_what_comes_meanwhile_is_one_batch() -> None:
    async def work() -> None:
        it = OverlappingWork()
        for number in (0, 1, 2, 0, 0):
            await it.publish(number, [1, 2])
        assert it.most_under_way == PARTITIONS
        assert len(it.topics.values(PREDICTIONS)) == 2 * PARTITIONS
        await it.confirm(0)
        await it.confirm(PARTITIONS - 1)
        # The first batch of partition 0 is safe, and the other two are out together.
        assert len(it.topics.values(PREDICTIONS)) == 2 * PARTITIONS + 4
        await it.finish()
        it.check()

    asyncio.run(work())


def test_the_law_misses_the_order_within_a_partition() -> None:
    """With two tasks in one queue, a batch is acknowledged before what precedes it, or applied over it."""

    async def put(self: PartitionQueues, event: Any) -> None:
        number = event.message.partition
        self._queues[number].waiting.append(event)
        await self._run(number, self._queues[number])

    law = settings(database=None, derandomize=True, deadline=None, phases=[Phase.generate])(given(Steps)(work_through))
    with replaced(PartitionQueues, "put", put), pytest.raises((AssertionError, ExceptionGroup)):
        law()


async def gather(*runs: tuple[int, int]) -> list[tuple[int, int]]:
    """Puts runs ``[begin, end)`` of one partition while a batch is under way; returns the batches that came of them."""
    folded: list[tuple[int, int]] = []
    first_may_end = asyncio.Event()

    async def fold(number: int, batch: Batch, acknowledge: Callable[[], None]) -> None:
        folded.append((batch.begin, batch.end))
        await first_may_end.wait()

    queues = PartitionQueues(fold, BATCH_RECORDS)
    await queues.put(event_of(0, Batch(["r"], 0, 1), lambda *_: None))
    await settled()
    for begin, end in runs:
        await queues.put(event_of(0, Batch(["r"] * (end - begin), begin, end), lambda *_: None))
    first_may_end.set()
    await queues.drain()
    return folded[1:]


def test_what_does_not_follow_without_a_gap_is_a_batch_of_its_own() -> None:
    assert asyncio.run(gather((1, 3), (3, 4), (6, 7), (7, 8))) == [(1, 4), (6, 8)]
    assert asyncio.run(gather((1, 5), (2, 5), (5, 6))) == [(1, 5), (2, 6)]


def test_a_batch_has_no_more_records_than_it_may() -> None:
    assert asyncio.run(gather((1, 7), (7, 11), (11, 12))) == [(1, 11), (11, 12)]


def test_no_more_is_taken_than_may_wait_and_a_cancellation_loses_nothing() -> None:
    async def work() -> None:
        folded: list[int] = []
        may_end = asyncio.Event()

        async def fold(number: int, batch: Batch, acknowledge: Callable[[], None]) -> None:
            await may_end.wait()
            folded.append(batch.end)

        queues = PartitionQueues(fold, BATCH_RECORDS)
        taken: list[int] = []

        async def take() -> None:
            try:
                for begin in range(0, 100, BATCH_RECORDS):
                    taken.append(begin)
                    await queues.put(
                        event_of(0, Batch(["r"] * BATCH_RECORDS, begin, begin + BATCH_RECORDS), lambda *_: None)
                    )
                    await asyncio.sleep(0)
            finally:
                await queues.drain()

        taking = asyncio.create_task(take())
        await settled()
        # One is under way, those wait that may, and one more was in hand.
        assert len(taken) == 1 + MAX_WAITING_BATCHES + 1
        taking.cancel()
        await settled()
        assert not taking.done()
        may_end.set()
        with pytest.raises(asyncio.CancelledError):
            await taking
        assert folded == [begin + BATCH_RECORDS for begin in taken]

    asyncio.run(work())
