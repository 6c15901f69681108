"""Replays: what a file says, when it is published, and how it ends."""

import itertools
import math
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from producers.replay.replay import parse_speed, replay
from streams.contract.errors import ConfigurationError, UndeliveredOutput, UnreadableSource
from streams.contract.event_kinds import Kind
from streams.contract.events import Event, decode_event, encode_event
from tests.producers.fakes import ListSink
from tests.producers.files import read_taobao

HEADER = "user_id,item_id,category_id,behavior,timestamp\n"
LINES = "7,100,5,pv,1511658000\n8,101,6,cart,1511658002\n7,100,5,buy,1511658001\n7,102,5,fav,1511658010\n"


def file_of(folder: Path, text: str | bytes) -> Path:
    path = folder / "behavior.csv"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def views(*seconds: float) -> Iterator[Event]:
    for number, second in enumerate(seconds):
        yield Event(
            event_id=f"e{number}", timestamp_ms=int(second * 1000), kind="view", user_id=f"u{number}", item_id="i"
        )


def test_lines_become_events_in_file_order(tmp_path: Path) -> None:
    events = list(read_taobao(file_of(tmp_path, LINES)))
    expected: list[tuple[int, str, str, str, Kind, int]] = [
        (1, "7", "100", "5", "view", 1511658000),
        (2, "8", "101", "6", "add_to_cart", 1511658002),
        (3, "7", "100", "5", "purchase", 1511658001),
        (4, "7", "102", "5", "rating", 1511658010),
    ]
    assert events == [
        Event(
            event_id=f"taobao-{line}",
            timestamp_ms=seconds * 1000,
            kind=kind,
            user_id=user,
            item_id=item,
            category=category,
            rating=5.0 if kind == "rating" else None,
        )
        for line, user, item, category, kind, seconds in expected
    ]
    assert all(decode_event(encode_event(event)) == event for event in events)


def test_a_header_counts_as_a_line_and_nothing_else(tmp_path: Path) -> None:
    bare = list(read_taobao(file_of(tmp_path, LINES)))
    headed = list(read_taobao(file_of(tmp_path, (HEADER + LINES).replace("\n", "\r\n"))))
    assert [event.event_id for event in headed] == [f"taobao-{line}" for line in (2, 3, 4, 5)]
    assert [(e.user_id, e.kind, e.timestamp_ms) for e in headed] == [(e.user_id, e.kind, e.timestamp_ms) for e in bare]


@pytest.mark.parametrize(
    "line",
    [
        HEADER.encode(),
        b"7,100,5,pv",
        b"7,100,5,pv,1511658000,1",
        b"7,100,5,look,1511658000",
        b"7,100,5,pv,soon",
        b"7,100,5,pv,-1",
        b"7,100,5,pv,99999999999",
        b",100,5,pv,1511658000",
        b"7," + b"9" * 129 + b",5,pv,1511658000",
        b"7,\xff,5,pv,1511658000",
    ],
)
def test_a_line_that_is_not_of_the_format_is_named(tmp_path: Path, line: bytes) -> None:
    events = read_taobao(file_of(tmp_path, HEADER.encode() + LINES.encode() + line + b"\n"))
    assert len(list(itertools.islice(events, 4))) == 4
    with pytest.raises(UnreadableSource, match="line 6"):
        next(events)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(UnreadableSource, match="nowhere"):
        next(read_taobao(tmp_path / "nowhere.csv"))


@pytest.mark.parametrize(("text", "speed"), [("max", math.inf), ("1x", 1.0), ("60x", 60.0), ("0.5x", 0.5), ("2", 2.0)])
def test_speeds_are_read(text: str, speed: float) -> None:
    assert parse_speed(text) == speed


@pytest.mark.parametrize("text", ["", "x", "fast", "0x", "-1x", "inf", "nan"])
def test_what_is_no_speed_is_refused(text: str) -> None:
    with pytest.raises(ConfigurationError, match="speed"):
        parse_speed(text)


class TimedSink(ListSink):
    """A sink and a clock in one: only polling lets time pass."""

    def __init__(self) -> None:
        super().__init__(on_poll=self._pass)
        self.now_s = 500.0
        self.at_s: list[float] = []

    def _pass(self, timeout_s: float) -> None:
        self.now_s += timeout_s

    def publish(self, event: Event, on_delivered: object = None, *, partition: int | None = None) -> None:
        super().publish(event, partition=partition)
        if event.kind != "tick":
            self.at_s.append(self.now_s - 500.0)


@given(st.lists(st.integers(0, 300), min_size=1, max_size=8), st.sampled_from([0.5, 1.0, 60.0, math.inf]))
def test_an_event_is_published_when_it_is_due_and_never_before_its_predecessor(
    seconds: list[int], speed: float
) -> None:
    sink = TimedSink()
    summary = replay(views(*seconds), sink, speed, monotonic=lambda: sink.now_s)
    due = [max(0.0, (second - seconds[0]) / speed) for second in itertools.accumulate(seconds, max)]
    assert sink.at_s == pytest.approx(due)
    assert [event.event_id for event in sink.events[: len(seconds)]] == [f"e{n}" for n in range(len(seconds))]
    assert summary.last_timestamp_ms == max(seconds) * 1000
    assert summary.produced == len(sink.events) == len(seconds) + 4


def test_ticks_come_last_one_a_partition_two_hours_on() -> None:
    sink = ListSink(partitions=3)
    summary = replay(views(10, 30, 20), sink)
    assert [(partition, event.kind, event.timestamp_ms) for partition, event in sink.published[3:]] == [
        (partition, "tick", 30_000 + 7_200_000) for partition in range(3)
    ]
    assert (summary.produced, summary.undelivered, summary.stopped) == (6, 0, False)


def test_an_empty_file_publishes_nothing() -> None:
    sink = ListSink()
    assert replay(iter(()), sink).produced == 0
    assert sink.events == []


def test_a_stop_ends_the_pacing_and_still_ticks() -> None:
    sink = TimedSink()
    summary = replay(views(0, 10), sink, 1.0, should_stop=lambda: sink.now_s > 503, monotonic=lambda: sink.now_s)
    assert summary.stopped
    assert sink.now_s < 504
    assert [event.kind for event in sink.events] == ["view", "tick", "tick", "tick", "tick"]


def test_a_stop_ends_the_waiting_for_workers_and_still_ticks() -> None:
    sink = ListSink()
    answers = iter([False, False, False, True])

    def fill(_: int) -> None:
        sink.has_room = False

    summary = replay(views(0, 0), sink, on_progress=fill, should_stop=lambda: next(answers))
    assert summary.stopped
    assert [event.kind for event in sink.events] == ["view", "tick", "tick", "tick", "tick"]


def test_an_error_in_the_middle_is_said_and_the_ticks_come_all_the_same() -> None:
    def broken() -> Iterator[Event]:
        yield from views(10, 30, 20)
        raise UnreadableSource("behavior.csv, line 4: not a line")

    sink = ListSink()
    summary = replay(broken(), sink)
    assert summary.error == "behavior.csv, line 4: not a line"
    assert [event.kind for event in sink.events] == ["view"] * 3 + ["tick"] * 4
    assert (summary.produced, summary.last_timestamp_ms) == (7, 30_000)


def test_a_client_that_can_never_deliver_again_says_how_many_events_it_was_given() -> None:
    class DeadSink(ListSink):
        def publish(self, event: Event, on_delivered: object = None, *, partition: int | None = None) -> None:
            if len(self.events) == 2:
                raise UndeliveredOutput("clickstream: fenced")
            super().publish(event, partition=partition)

    with pytest.raises(UndeliveredOutput, match="clickstream: fenced; 2 events were handed to the client before"):
        replay(views(10, 30, 20), DeadSink())


@pytest.mark.data
@pytest.mark.parametrize(("name", "n_events"), [("user_histories.csv", 104_180), ("dense_slice.csv", 110_300)])
def test_the_public_files_are_read_whole(data_dir: Path, name: str, n_events: int) -> None:
    events = list(read_taobao(data_dir / "taobao_userbehavior" / name))
    assert len(events) == len({event.event_id for event in events}) == n_events
    assert set(Counter(event.kind for event in events)) == {"view", "add_to_cart", "purchase", "rating"}
    assert all(decode_event(encode_event(event)) == event for event in events[:1000])
