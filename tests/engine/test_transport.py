"""How batches are handed over and what is committed of them."""

import asyncio
from collections import defaultdict
from functools import partial
from types import SimpleNamespace
from typing import Any, NamedTuple

import pytest
from faust.transport.drivers import aiokafka as driver
from faust.types import TP
from hypothesis import given
from hypothesis import strategies as st

from streams.contract.settings import Kafka, Settings
from streams.engine.app import BatchApp
from streams.engine.transport import Batch, BatchConsumer, HoldBuffer, joined

HELD, DIRECT = "examples", "clickstream"
HOLD_MS, BATCH_RECORDS, LEAST_WAIT_S = 500, 10, 0.05


class Fetched(NamedTuple):
    offset: int
    at_s: float


Fetches = st.lists(
    st.tuples(
        st.floats(0.0, 0.4),
        st.dictionaries(st.tuples(st.sampled_from([HELD, DIRECT]), st.integers(0, 1)), st.integers(0, 7), max_size=4),
    ),
    max_size=30,
)


@given(fetches=Fetches)
def test_holding_loses_nothing_keeps_the_order_and_never_holds_too_long(
    fetches: list[tuple[float, dict[tuple[str, int], int]]],
) -> None:
    buffer = HoldBuffer({HELD: HOLD_MS}, BATCH_RECORDS)
    now_s = 0.0
    ends: dict[TP, int] = defaultdict(int)
    passed: dict[TP, list[int]] = defaultdict(list)

    def take(fetched: dict[TP, Batch]) -> None:
        ready = buffer.release(fetched, now_s)
        for tp, batch in ready.items():
            assert batch.begin == len(passed[tp])
            passed[tp] += [record.offset for record in batch.records]
            assert (batch.end, batch.skipped) == (len(passed[tp]), 0)
            assert len(batch.records) < BATCH_RECORDS + 7
            # A fetch ends when the oldest is due, or after the least wait that a fetch is given.
            assert all(now_s - record.at_s <= HOLD_MS / 1000 + LEAST_WAIT_S for record in batch.records)

    for pause_s, sizes in fetches:
        wait_s = buffer.wait_s(1.0, now_s)
        assert LEAST_WAIT_S <= wait_s <= 1.0
        now_s += min(pause_s, wait_s)
        fetched: dict[TP, Batch] = {}
        for (topic, number), size in sizes.items():
            tp = TP(topic, number)
            records = [Fetched(ends[tp] + index, now_s) for index in range(size)]
            fetched[tp] = Batch(records, ends[tp], ends[tp] + size)
            ends[tp] += size
        take(fetched)
        for tp, end in ends.items():
            assert tp.topic == HELD or passed[tp] == list(range(end))
    now_s += buffer.wait_s(1.0, now_s)
    while any(len(passed[tp]) < end for tp, end in ends.items()):
        take({})
        now_s += buffer.wait_s(1.0, now_s)
    assert {tp: passed[tp] for tp in ends} == {tp: list(range(end)) for tp, end in ends.items()}


def test_what_is_forgotten_is_not_passed_on() -> None:
    buffer = HoldBuffer({HELD: HOLD_MS}, BATCH_RECORDS)
    buffer.release({TP(HELD, 0): Batch([Fetched(0, 0.0)], 0, 1)}, 0.0)
    buffer.forget()
    assert buffer.release({}, 10.0) == {}
    assert buffer.wait_s(1.0, 10.0) == 1.0


@pytest.fixture
def consumer() -> Any:
    """A consumer as far as its book of acknowledged offsets goes; the rest of it needs a broker."""
    consumer = object.__new__(BatchConsumer)
    consumer._acked = defaultdict(list)
    consumer._acked_index = defaultdict(set)
    return consumer


@given(batches=st.lists(st.integers(0, 4), max_size=20))
def test_after_every_commit_exactly_what_is_acknowledged_is_committed(batches: list[int]) -> None:
    consumer: Any = object.__new__(BatchConsumer)
    consumer._acked, consumer._acked_index = defaultdict(list), defaultdict(set)
    tp = TP(DIRECT, 0)
    last, committed = -1, None
    for acknowledged in batches:
        for _ in range(acknowledged):
            last += 3  # a batch of three
            consumer._acked[tp].append(last)
            consumer._acked_index[tp].add(last)
        offset = consumer._new_offset(tp)
        assert (offset is None) == (acknowledged == 0)
        committed = committed if offset is None else offset
        assert committed == (None if last < 0 else last + 1)
        assert consumer._new_offset(tp) is None
        assert not consumer._acked_index[tp]


def test_a_batch_is_one_message_at_the_last_offset_that_it_covers(consumer: Any) -> None:
    consumer.app = SimpleNamespace(consumer_generation_id=7)
    records = [SimpleNamespace(offset=offset, timestamp=1000 * offset) for offset in (4, 5, 9)]
    batch = Batch(records, 4, 11)
    message = consumer._to_message(TP(DIRECT, 1), batch)
    assert (message.topic, message.partition, message.offset, message.timestamp) == (DIRECT, 1, 10, 9.0)
    assert message.value is batch
    assert message.generation_id == 7


def test_every_bootstrap_server_is_one_of_its_own() -> None:
    app = BatchApp(Settings(kafka=Kafka(bootstrap_servers="127.0.0.1:9092,127.0.0.1:9093, other:9094")))
    assert driver.server_list(app.transport.url, 9092) == ["127.0.0.1:9092", "127.0.0.1:9093", "other:9094"]


def test_markers_between_two_fetches_are_no_jump_and_what_the_broker_dropped_is_one() -> None:
    first, marker, later = Batch(["a"], 3, 4), Batch([], 4, 6), Batch(["b"], 9, 10)
    whole = joined([joined([first, marker]), later])
    assert (whole.records, whole.begin, whole.end, whole.skipped) == (["a", "b"], 3, 10, 3)


def test_what_is_fetched_while_the_flow_stops_is_messages_too(consumer: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Faust iterates over them, to drop them."""
    batch = Batch(["a"], 0, 1)

    async def getmany(self: Any, active: Any, timeout: float) -> Any:
        return {TP(DIRECT, 0): batch}

    monkeypatch.setattr(driver.Consumer, "_getmany", getmany)
    consumer._hold_buffer, consumer._seeks = HoldBuffer({}, 10), 0
    for consumer.flow_active in (False, True):
        assert asyncio.run(consumer._getmany(None, 1.0)) == {TP(DIRECT, 0): [batch]}


def test_partitions_with_more_to_read_than_the_buffer_takes_take_turns(consumer: Any) -> None:
    """As Faust's conductor hands over: what finds the buffer full waits, and is not told of."""
    consumer.app = SimpleNamespace(in_recovery=False)
    tps = [TP(DIRECT, number) for number in range(4)]
    consumer._active_partitions, consumer._buffered_partitions = set(tps), set()
    high = {tp: partial(consumer.on_buffer_full, tp) for tp in tps}
    drop = {tp: partial(consumer.on_buffer_drop, tp) for tp in tps}
    taken: list[TP] = []

    async def hand_over(queue: Any) -> None:
        while True:
            await asyncio.sleep(0)
            for tp in sorted(consumer._active_partitions):
                if queue.full():
                    await queue.put(tp)
                else:
                    queue.put_nowait_enhanced(tp, on_pressure_high=high[tp], on_pressure_drop=drop[tp])

    async def fold() -> None:
        app = BatchApp(Settings())
        app.flow_control.resume()
        consumer._room = asyncio.Event()
        queue = app.FlowControlQueue(Settings().engine.buffer_batches)
        handing_over = asyncio.ensure_future(hand_over(queue))
        while len(taken) < 400:
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            taken.append(await queue.get())
        handing_over.cancel()

    asyncio.run(fold())
    assert all(95 <= taken.count(tp) <= 105 for tp in tps), [taken.count(tp) for tp in tps]
