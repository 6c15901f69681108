"""Files of each built-in format: what is read from them is what plain Python counts in them."""

import json
import random
import tracemalloc
from datetime import datetime
from functools import partial
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from producers.delimited import STRICT, LeftOut
from producers.formats.detection import detect
from producers.formats.reader import read_events
from producers.formats.registry import FORMATS
from producers.replay.recording import Recording, examine
from producers.replay.replay import replay
from producers.replay.timeline import in_order
from streams.contract.errors import UnreadableSource
from streams.contract.events import Event, decode_event, encode_event
from tests.producers.fakes import ListSink
from tests.producers.files import form_of
from tests.producers.samples import SAMPLES, Action

ALL = [form for forms in FORMATS.values() for form in forms]


def said(event: Event) -> Action:
    return Action(*(getattr(event, field) for field in Action._fields))


def sample(folder: Path, name: str, seed: int = 5) -> tuple[Path, list[Action]]:
    text = SAMPLES[name].write(random.Random(seed))
    path = folder / f"{name}.txt"
    path.write_text(text, "utf-8", newline="")
    return path, SAMPLES[name].actions(text)


def examined(name: str, path: Path, part: str = "") -> Recording:
    return examine(partial(read_events, form_of(name), part=part), path, LeftOut())


def test_every_built_in_format_has_a_sample() -> None:
    assert sorted(SAMPLES) == sorted(form.name for form in ALL)


@pytest.mark.parametrize("seed", [1, 2])
@pytest.mark.parametrize("name", SAMPLES)
def test_what_is_read_from_a_file_is_what_plain_python_counts_in_it(name: str, seed: int, tmp_path: Path) -> None:
    path, expected = sample(tmp_path, name, seed)
    left_out = LeftOut()
    events = [event for _, event in read_events(form_of(name), path, left_out)]
    assert [said(event) for event in events] == expected
    assert (left_out.count, left_out.unknown) == (0, {})
    assert len({event.event_id for event in events}) == len(events)
    assert [decode_event(encode_event(event)) for event in events] == events


@pytest.mark.parametrize("name", SAMPLES)
def test_a_replay_publishes_them_in_the_order_of_time(name: str, tmp_path: Path) -> None:
    path, expected = sample(tmp_path, name)
    sink = ListSink(partitions=2)
    with in_order([examined(name, path)]) as timeline:
        assert timeline.n_events == len(expected)
        summary = replay(timeline.events(), sink)
    assert summary.produced == len(expected) + 2
    assert [said(event) for event in sink.events[:-2]] == sorted(expected, key=lambda action: action.timestamp_ms)


@pytest.mark.parametrize("name", SAMPLES)
def test_the_format_of_a_file_is_found_among_all(name: str, tmp_path: Path) -> None:
    path, expected = sample(tmp_path, name)
    guess = detect(path, ALL)
    assert guess.form.name == name
    assert [said(event) for event in guess.examples] == expected[:3]


@pytest.mark.parametrize("name", SAMPLES)
def test_a_file_that_was_cut_is_refused_or_lacks_its_end_and_nothing_else(name: str, tmp_path: Path) -> None:
    path, _ = sample(tmp_path, name)
    whole = path.read_bytes()
    before, _, last = whole.rstrip(b"\n").rpartition(b"\n")
    path.write_bytes(before + b"\n")
    kept = list(read_events(form_of(name), path))
    for end in sorted({1, *range(2, len(last), 1 + len(last) // 12)}):
        path.write_bytes(whole[:-end])
        try:
            read = list(read_events(form_of(name), path))
        except UnreadableSource as error:
            assert "the last one, has no end" in str(error)  # noqa: PT017  # some cuts nobody can tell
        else:
            assert read[: len(kept)] == kept
            assert {line for line, _ in read[len(kept) :]} <= {whole.count(b"\n")}


@given(order=st.permutations(range(30)))
def test_the_order_of_the_lines_changes_no_timeline(order: list[int], tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("order")
    lines = [f"{1_433_221_000_000 + 1000 * n},{n % 3},view,{n},\n" for n in range(30)]
    path = folder / "events.csv"
    path.write_text("timestamp,visitorid,event,itemid,transactionid\n" + "".join(lines[n] for n in order))
    with in_order([examined("retailrocket", path)]) as timeline:
        assert [event.item_id for event in timeline.events()] == [str(n) for n in range(30)]
    with in_order([examined("retailrocket", path)], keep_order=True) as timeline:
        assert [event.item_id for event in timeline.events()] == [str(n) for n in order]


def test_several_files_are_merged_by_time_and_no_id_is_in_two(tmp_path: Path) -> None:
    clicks, expected = sample(tmp_path, "yoochoose.clicks")
    buys, more = sample(tmp_path, "yoochoose.buys")
    recordings = [examined("yoochoose.clicks", clicks, "1"), examined("yoochoose.buys", buys, "2")]
    with in_order(recordings) as timeline:
        events = list(timeline.events())
    assert sorted(map(said, events), key=str) == sorted(expected + more, key=str)
    assert [event.timestamp_ms for event in events] == sorted(event.timestamp_ms for event in events)
    assert len({event.event_id for event in events}) == len(events)


def test_equal_times_keep_the_order_of_their_lines(tmp_path: Path) -> None:
    path = tmp_path / "events.csv"
    rows = [f"{1_433_221_000_000 - n // 50},7,view,{n},\n" for n in range(200)]
    path.write_text("timestamp,visitorid,event,itemid,transactionid\n" + "".join(rows))
    with in_order([examined("retailrocket", path)]) as timeline:
        items = [int(event.item_id or "") for event in timeline.events()]
    assert items == [n for block in (3, 2, 1, 0) for n in range(50 * block, 50 * block + 50)]


def test_a_file_out_of_order_is_never_whole_in_memory(tmp_path: Path) -> None:
    path = tmp_path / "events.csv"
    rows = (f"{1_433_221_000_000 + 7919 * n % 15_013},{n % 7},view,{n},\n" for n in range(15_000))
    path.write_text("timestamp,visitorid,event,itemid,transactionid\n" + "".join(rows))
    tracemalloc.start()
    try:
        with in_order([examined("retailrocket", path)]) as timeline:
            times = sum(1 for _ in timeline.events())
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert times == 15_000
    # As a list, the events alone would take more than twice as much.
    assert peak < 2_000_000


def test_a_file_whose_times_are_equal_is_in_the_order_of_time(tmp_path: Path) -> None:
    path = tmp_path / "events.csv"
    path.write_text("timestamp,visitorid,event,itemid,transactionid\n" + "1433221000000,7,view,1,\n" * 3)
    assert examined("retailrocket", path).is_ordered


def test_a_header_without_rows_has_a_format_and_no_events(tmp_path: Path) -> None:
    path = tmp_path / "events.csv"
    path.write_text("timestamp,visitorid,event,itemid,transactionid\n")
    assert detect(path, ALL).form.name == "retailrocket"
    with pytest.raises(UnreadableSource, match="has no events"):
        examined("retailrocket", path)


def test_items_of_ga4_without_an_id_are_counted_as_skipped() -> None:
    row = {"event_timestamp": "1570000000000000", "user_pseudo_id": "u", "items": [{"item_id": "(not set)"}, {}]}
    for name in ("view_item", "select_item", "add_to_cart", "purchase", "view_item_list"):
        mapped = form_of("ga4").map({**row, "event_name": name}, "x")
        assert (mapped.events, mapped.refused, len(mapped.skipped)) == ([], [], 2)
    mapped = form_of("ga4").map({**row, "event_name": "view_search_results", "items": []}, "x")
    assert mapped.skipped == ["view_search_results without query"]


def test_a_folder_that_cannot_take_the_sorted_file_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, _ = sample(tmp_path, "retailrocket")
    failing = tmp_path / "sort"
    failing.write_text("#!/bin/sh\necho 'write failed: No space left on device' >&2\nexit 2\n")
    failing.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(UnreadableSource, match=r"cannot be sorted: .*No space left.*TMPDIR"):
        in_order([examined("retailrocket", path)]).__enter__()
    failing.unlink()
    with pytest.raises(UnreadableSource, match="there is no program `sort`"):
        in_order([examined("retailrocket", path)]).__enter__()


def test_unknown_events_are_counted_and_named_and_never_guessed(tmp_path: Path) -> None:
    path, expected = sample(tmp_path, "retailrocket")
    with path.open("a") as file:
        file.write("1570000000000,7,refund,3,\n1570000000001,7,View,3,\n1570000000002,7,refund,3,\n")
    recording = examined("retailrocket", path)
    assert [said(event) for event in recording.events()] == expected
    assert recording.left_out.unknown == {"refund": 2, "View": 1}
    [sentence] = recording.left_out.sentences(path)
    assert "3 events are left out: the mapping does not know the event 'refund' (2), 'View' (1)" in sentence
    with pytest.raises(UnreadableSource, match="line 62: the mapping does not know the event 'refund'"):
        list(read_events(form_of("retailrocket"), path, STRICT))


def test_a_column_of_ids_taken_for_names_fills_no_memory(tmp_path: Path) -> None:
    path = tmp_path / "events.csv"
    path.write_text(
        "timestamp,visitorid,event,itemid,transactionid\n1570000000000,1,view,2,\n"
        + "".join(f"1570000000000,1,{n},2,\n" for n in range(500))
    )
    left_out = examined("retailrocket", path).left_out
    assert left_out.unknown.total() == 500
    assert len(left_out.unknown) <= 101


def test_what_segment_retries_has_the_same_ids_and_an_orders_products_their_own(tmp_path: Path) -> None:
    path = tmp_path / "messages.jsonl"
    order = {
        "type": "track",
        "event": "Order Completed",
        "messageId": "m-1",
        "userId": "u",
        "timestamp": "2026-01-01T12:00:00.250Z",
        "properties": {"products": [{"sku": "a"}, {"price": 3}, {"product_id": "b"}]},
    }
    path.write_text(f"{json.dumps(order)}\n{json.dumps(order)}\n")
    left_out = LeftOut()
    events = [event for _, event in read_events(form_of("segment"), path, left_out)]
    assert [(event.event_id, event.item_id) for event in events] == [("m-1.0", "a"), ("m-1.2", "b")] * 2
    assert {event.timestamp_ms for event in events} == {1_767_268_800_250}
    assert left_out.count == 2
    assert (
        "a purchase needs item_id, and properties.products.product_id and properties.products.sku have no value"
        in (left_out.shown[0])
    )


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        ({"timestamp": "2026-01-01T12:00:00Z"}, "2026-01-01T12:00:00Z"),
        (
            {"originalTimestamp": "2026-01-01T15:00:00Z", "sentAt": "2026-01-01T15:00:05Z"},
            "2026-01-01T12:00:00Z",
        ),
        ({"timestamp": "2026-01-01T15:00:00Z", "sentAt": "2026-01-01T15:00:05Z"}, "2026-01-01T12:00:00Z"),
        (
            {
                "timestamp": "2026-01-01T11:59:00Z",
                "originalTimestamp": "2026-01-01T15:00:00Z",
                "sentAt": "2026-01-01T15:00:05Z",
            },
            "2026-01-01T11:59:00Z",
        ),
        ({"timestamp": "2026-01-01T12:00:00Z", "sentAt": None}, "2026-01-01T12:00:00Z"),
    ],
)
def test_the_wrong_clock_of_a_device_is_corrected_as_segment_does(message: dict[str, str], expected: str) -> None:
    received = {"event": "Product Viewed", "userId": "u", "properties": {"sku": "a"}} | {
        "receivedAt": "2026-01-01T12:00:05Z"
    }
    view = {"event_id": "x", "kind": "view", "user_id": "u", "item_id": "a"}
    [event] = form_of("segment").map({**received, **message}, "x").events
    assert event == Event(timestamp_ms=int(datetime.fromisoformat(expected).timestamp() * 1000), **view)  # type: ignore[arg-type]


def test_an_order_without_products_is_counted_as_skipped() -> None:
    record = {"event": "Order Completed", "messageId": "m", "userId": "u", "timestamp": "2026-01-01T12:00:00Z"}
    mapped = form_of("segment").map(record, "x")
    assert mapped.skipped == ["Order Completed without properties.products"]
    mapped = form_of("segment").map({**record, "properties": {"products": {"sku": "a"}}}, "x")
    assert "not a list" in mapped.refused[0]


def test_a_session_without_events_is_refused() -> None:
    for record in ({"session": 1}, {"session": 1, "events": []}):
        assert form_of("otto").map(record, "x").refused == ["a record needs events, and there is none"]


def test_slates_of_different_lengths_are_refused() -> None:
    record = {"action_type": "clickout item", "impressions": "1|2|3", "prices": "5|6"}
    assert form_of("trivago").map(record, "x").refused == [
        "lists of one record differ in their number of elements: impressions has 3, prices has 2"
    ]


def test_headraces_own_events_are_decoded_as_strictly_as_records(tmp_path: Path) -> None:
    path = tmp_path / "own.jsonl"
    good = {"event_id": "e", "user_id": "u", "timestamp_ms": 1_570_000_000_000, "kind": "view", "item_id": "i"}
    bad = [good | {"category": ""}, good | {"user_id": 17}, good | {"price": "79.9"}, good | {"item_id": None}]
    tick = {"event_id": "t", "timestamp_ms": 1_570_000_000_000, "kind": "tick"}
    path.write_text("".join(json.dumps(each) + "\n" for each in [good, *bad, tick]))
    left_out = LeftOut()
    assert len(list(read_events(form_of("headrace"), path, left_out))) == 1
    assert left_out.count == len(bad)
    assert left_out.skipped == {"tick": 1}


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (b"a,b\n1,2\n", r"in no known format .* its columns are a, b\. Say which column is what with --mapping"),
        (
            b"event_time,event_type,product_id,price,user_session\n2019-10-01 00:00:00 UTC,view,1,2,3\n",
            r"The nearest is rees46: .*there is no column user_id for user_id",
        ),
        (b'{"event":"Product Viewed","userId":"u"}\n', r"The nearest is segment: line 1: a view needs item_id"),
        (
            b'{"event_id":"e","user_id":"u","timestamp_ms":1570000000000,"kind":"view","item_id":"i","category":""}\n',
            r"The nearest is headrace: line 1: .*category",
        ),
        (b'[{"event":"Product Viewed"}]\n', "is a list in JSON"),
        (b"PAR1\x15\x04", "is a Parquet file: convert it"),
        (b"PK\x03\x04\x14", "is a zip archive: unpack it"),
        (b"7z\xbc\xaf\x27\x1c", "is a 7z archive: unpack it"),
        (b" \n\n", "is empty"),
        (b"\x00\xff\xfe", "not UTF-8"),
        (b'{"a":"\xff"}\n', "not UTF-8"),
        (b'{"a":' + b"[" * 700 + b"]" * 700 + b"}\n", "in no known format"),
    ],
)
def test_a_file_of_another_kind_is_refused_with_what_is_missing(content: bytes, complaint: str, tmp_path: Path) -> None:
    path = tmp_path / "other"
    path.write_bytes(content)
    with pytest.raises(UnreadableSource, match=complaint):
        detect(path, ALL)
