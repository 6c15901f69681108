"""A watermark that one clock cannot move: laws over any events, and the shop of the issue with one client ahead."""

import random
from typing import Final

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.contract.events import Event, encode_event
from streams.contract.fold import LOG_APPEND_TIME, PartitionRow
from streams.contract.settings import Kafka, Settings, Target, Time
from streams.core.behaviour.watermark import TimedEvent, Watermark, watermark_of
from streams.testing import MemoryRecord, Pipeline

START_MS: Final = 1_700_000_040_000
HOUR_MS: Final = 3_600_000
LATENESS_MS: Final = 300_000
K: Final = 3
SETTINGS: Final = Settings(
    kafka=Kafka(partitions=1),
    time=Time(allowed_lateness_s=LATENESS_MS / 1000, confirming_users=K),
    targets=(Target(name="cart", label="add_to_cart", horizon_s=600, sampling_rate=1.0, prior=0.1),),
)


def view(user: str, at_ms: int, number: int = 0) -> Event:
    return Event(
        event_id=f"{user}-{number}-{at_ms}", timestamp_ms=at_ms, kind="view", user_id=user, item_id=f"i{number % 20}"
    )


def record(event: Event, written_ms: int, *, by_broker: bool) -> MemoryRecord:
    key = None if event.user_id is None else event.user_id.encode()
    return MemoryRecord(0, written_ms, key, encode_event(event), (), LOG_APPEND_TIME if by_broker else 0)


def folded(records: list[MemoryRecord], batch_records: int = 100) -> Pipeline:
    it = Pipeline(SETTINGS, log={0: [each._replace(offset=offset) for offset, each in enumerate(records)]})
    it.behaviour.drain(batch_records)
    return it


def row_of(it: Pipeline) -> PartitionRow:
    return it.behaviour.partition_rows()[0]


def at_the_end(events: list[TimedEvent], k: int = K) -> int:
    watermark = Watermark(-1, [], LATENESS_MS, k)
    for event in events:
        watermark.advance(event)
    return watermark.reached_ms


users = st.sampled_from([f"u{number}" for number in range(7)])
times = st.integers(START_MS, START_MS + 20 * HOUR_MS)
unconfirmed = st.builds(lambda user, at_ms: TimedEvent(view(user, at_ms)), users, times)
wild = st.builds(
    lambda user, at_ms: TimedEvent(view(user, at_ms)), st.sampled_from(["wild-0", "wild-1"]), times.map(lambda t: 2 * t)
)
timed = st.builds(lambda each, is_confirmed: each._replace(is_confirmed=is_confirmed), unconfirmed, st.booleans())


@given(st.lists(unconfirmed, max_size=40), st.integers(1, 4))
def test_it_is_the_kth_largest_of_the_users_latest_times(events: list[TimedEvent], k: int) -> None:
    watermark = Watermark(-1, [], LATENESS_MS, k)
    latest: dict[str, int] = {}
    for event, _, _ in events:
        user = event.user_id or ""
        latest[user] = max(latest.get(user, 0), event.timestamp_ms)
        expected = sorted(latest.values())[-k] - LATENESS_MS if len(latest) >= k else -1
        assert watermark.advance(TimedEvent(event)) == expected
    assert len(watermark.latest) <= k


@given(st.lists(timed, max_size=30), st.lists(wild, max_size=20), st.randoms())
def test_any_events_of_fewer_users_than_confirm_raise_it_no_higher_than_the_others(
    others: list[TimedEvent], attack: list[TimedEvent], draw: random.Random
) -> None:
    mixed = [*others, *attack]
    draw.shuffle(mixed)
    latest_ms = max((event.timestamp_ms for event, _, _ in others), default=-1)
    assert at_the_end(mixed) <= max(latest_ms - LATENESS_MS, -1)


@given(st.lists(timed, max_size=30), st.integers(0, 30))
def test_it_goes_on_from_the_stored_row_as_if_never_stored(events: list[TimedEvent], place: int) -> None:
    row = PartitionRow()
    for part in (events[:place], events[place:]):
        watermark = watermark_of(row, LATENESS_MS, K)
        for event in part:
            watermark.advance(event)
        row = PartitionRow(watermark_ms=watermark.reached_ms, latest=watermark.latest)
        row = msgspec.msgpack.decode(msgspec.msgpack.encode(row), type=PartitionRow)
    assert row.watermark_ms == at_the_end(events)


def shopping(wild_every: int, wild_ahead_ms: int, *, by_broker: bool) -> list[MemoryRecord]:
    """600 views of 20 users, one a second; one of them is sent by a client whose clock is ahead, stamps and all."""
    records = []
    for number in range(600):
        now_ms = START_MS + 1000 * number
        user = f"u{number % 19}"
        at_ms = now_ms
        if number % wild_every == wild_every - 1:
            user, at_ms = "wild", now_ms + wild_ahead_ms
        records.append(record(view(user, at_ms, number), now_ms if by_broker else at_ms, by_broker=by_broker))
    return records


@pytest.mark.parametrize("by_broker", [False, True])
@pytest.mark.parametrize("ahead_ms", [4 * 60_000, 55 * 60_000, HOUR_MS])
def test_with_one_client_ahead_all_views_of_the_others_are_answered(ahead_ms: int, *, by_broker: bool) -> None:
    it = folded(shopping(10, ahead_ms, by_broker=by_broker))
    answered = [each.user_id for each in it.recommendations() if each.user_id != "wild"]
    assert len(answered) == 540
    assert row_of(it).counts.get("late", 0) == 0


@pytest.mark.parametrize("batch_records", [1, 7, 600])
def test_the_same_log_gives_the_same_rows_in_any_batches(batch_records: int) -> None:
    records = shopping(7, HOUR_MS, by_broker=False)
    assert folded(records, batch_records).behaviour.table.rows == folded(records, 100).behaviour.table.rows


def lone(by_broker: bool) -> list[MemoryRecord]:
    times_ms = [START_MS + minute * 60_000 for minute in range(30)]
    return [record(view("lone", at_ms, number), at_ms, by_broker=by_broker) for number, at_ms in enumerate(times_ms)]


def test_a_lone_shoppers_labels_mature_where_the_broker_stamps_the_records() -> None:
    it = folded(lone(by_broker=True))
    assert row_of(it).watermark_ms == START_MS + 29 * 60_000 - LATENESS_MS
    assert len(it.outcomes("cart")) == 15


def test_where_producers_stamp_them_it_takes_a_tick() -> None:
    records = lone(by_broker=False)
    assert row_of(folded(records)).watermark_ms == -1
    tick = Event(event_id="t", timestamp_ms=START_MS + HOUR_MS, kind="tick")
    it = folded([*records, record(tick, tick.timestamp_ms, by_broker=False)])
    assert row_of(it).watermark_ms == START_MS + HOUR_MS - LATENESS_MS
    assert len(it.outcomes("cart")) == 30


@pytest.mark.parametrize("kind", ["view", "tick"])
def test_no_clock_passes_that_of_the_broker(kind: str) -> None:
    at_ms = START_MS + 200_000
    event = view("u", at_ms) if kind == "view" else Event(event_id="t", timestamp_ms=at_ms, kind="tick")
    it = folded([record(event, START_MS, by_broker=True)])
    assert row_of(it).watermark_ms == START_MS - LATENESS_MS
    assert row_of(it).counts["clock_ahead"] == 1
    assert all(each.timestamp_ms == START_MS for each in it.recommendations())


def test_an_old_event_on_a_topic_of_the_brokers_time_advances_nothing_alone() -> None:
    it = folded([record(view("u", START_MS), START_MS + LATENESS_MS + 1, by_broker=True)])
    assert row_of(it).watermark_ms == -1


def test_one_wild_event_loads_no_row_that_it_makes_not_due() -> None:
    it = folded([record(view(f"u{number}", START_MS), START_MS, by_broker=False) for number in range(50)])
    fold = it.behaviour.fold
    state = fold.open(row_of(it), 0, [(key, row) for (_, key), row in it.behaviour.rows().items()])
    ahead = record(view("wild", START_MS + 9 * HOUR_MS), START_MS + 9 * HOUR_MS, by_broker=False)
    assert set(fold.keys(state, [(50, fold.decode(ahead, 0))])) == {b"wild"}


def test_a_jump_of_more_than_a_day_is_counted_and_no_smaller_one() -> None:
    day_ms = 24 * HOUR_MS
    times_ms = [START_MS, START_MS + day_ms, START_MS + 2 * day_ms + 1]
    ticks = [Event(event_id=f"t{at_ms}", timestamp_ms=at_ms, kind="tick") for at_ms in times_ms]
    it = folded([record(tick, tick.timestamp_ms, by_broker=False) for tick in ticks])
    assert row_of(it).counts["watermark_jumps"] == 1
