"""Whatever bytes arrive, they are an event or a dead letter with a reason; nothing else comes of them."""

import json
from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.contract.errors import RejectedRecord
from streams.contract.event_kinds import EVENT_KINDS
from streams.contract.events import (
    EARLIEST_TIMESTAMP_MS,
    LATEST_TIMESTAMP_MS,
    MAX_CANDIDATES,
    MAX_EVENT_BYTES,
    MAX_SLATE,
    Event,
    decode_event,
    encode_event,
)

REQUIRED = {
    "view": {"item_id"},
    "search": {"query"},
    "add_to_cart": {"item_id"},
    "remove_from_cart": {"item_id"},
    "purchase": {"item_id"},
    "impression": {"decision_id"},
    "click": {"decision_id", "item_id", "position"},
    "rating": {"item_id", "rating"},
    "decide": set(),
}
FULL: dict[str, Any] = {
    "event_id": "e1",
    "timestamp_ms": 1_700_000_000_000,
    "kind": "view",
    "user_id": "user-1",
    "item_id": "item-1",
    "category": "shoes",
    "price": 19.99,
    "quantity": 2,
    "query": "red shoes",
    "session_id": "s1",
    "decision_id": "clickstream-0-1.0123456789ab",
    "position": 3,
    "rating": 4.5,
    "candidates": ["item-1", "item-2"],
    "n": 2,
    "surface": "home",
}
REASONS = {"empty", "oversized", "malformed", "wrong-unit", "bad-candidates", "incomplete"}

characters = st.characters(codec="utf-8")
names = st.text(characters.filter(lambda character: character != "\0"), min_size=1, max_size=128)
labels = st.text(characters, min_size=1, max_size=128)
events = st.builds(
    Event,
    event_id=labels,
    timestamp_ms=st.integers(EARLIEST_TIMESTAMP_MS, LATEST_TIMESTAMP_MS),
    kind=st.sampled_from(EVENT_KINDS),
    user_id=names,
    item_id=names,
    category=st.none() | labels,
    price=st.none() | st.floats(0.0, 1e9),
    quantity=st.none() | st.integers(1, 1_000_000),
    query=st.text(characters, min_size=1, max_size=1024),
    session_id=st.none() | labels,
    decision_id=labels,
    position=st.integers(0, 99),
    rating=st.floats(0.0, 5.0),
    candidates=st.none() | st.lists(names, min_size=1, max_size=MAX_CANDIDATES, unique=True).map(tuple),
    n=st.none() | st.integers(1, MAX_SLATE),
    surface=st.none() | labels,
)


def rejection(value: bytes | None) -> str:
    with pytest.raises(RejectedRecord) as rejected:
        decode_event(value)
    assert rejected.value.detail
    return rejected.value.reason


def with_field(name: str, value: Any) -> bytes:
    return json.dumps(FULL | {name: value}).encode()


@given(events)
def test_what_was_encoded_is_decoded(event: Event) -> None:
    assert decode_event(encode_event(event)) == event


@given(events)
def test_any_json_library_may_write_it(event: Event) -> None:
    assert decode_event(json.dumps(msgspec.to_builtins(event)).encode()) == event


def test_absent_values_are_left_out_and_stay_absent() -> None:
    value = encode_event(Event(event_id="e", timestamp_ms=FULL["timestamp_ms"], kind="view", user_id="u", item_id="i"))
    assert set(json.loads(value)) == {"event_id", "timestamp_ms", "kind", "user_id", "item_id"}
    assert decode_event(value).price is None


def test_a_shop_may_add_fields_of_its_own() -> None:
    assert decode_event(with_field("colour", {"deep": ["red"]})) == decode_event(json.dumps(FULL).encode())


def test_every_kind_is_tried_below() -> None:
    assert {*REQUIRED, "tick"} == set(EVENT_KINDS)


@pytest.mark.parametrize(
    ("kind", "field"), [(kind, field) for kind, fields in REQUIRED.items() for field in sorted({*fields, "user_id"})]
)
def test_a_field_that_the_kind_requires_is_required(kind: str, field: str) -> None:
    needed = {"event_id", "timestamp_ms", "kind", "user_id"} | REQUIRED[kind]
    event = {name: value for name, value in (FULL | {"kind": kind}).items() if name in needed}
    assert decode_event(json.dumps(event).encode()).kind == kind
    assert (
        rejection(json.dumps({name: value for name, value in event.items() if name != field}).encode()) == "incomplete"
    )
    assert rejection(json.dumps(event | {field: None}).encode()) == "incomplete"


def test_a_tick_needs_nobody() -> None:
    assert decode_event(b'{"event_id":"t","timestamp_ms":1700000000000,"kind":"tick"}').user_id is None


@pytest.mark.parametrize("field", ["event_id", "timestamp_ms", "kind"])
def test_what_every_event_has_cannot_be_missing(field: str) -> None:
    assert rejection(json.dumps({name: value for name, value in FULL.items() if name != field}).encode()) == "malformed"


OUT_OF_RANGE: list[tuple[str, Any]] = [
    *((name, "") for name in ("event_id", "user_id", "item_id", "category", "query", "session_id", "decision_id")),
    *((name, "x" * 129) for name in ("event_id", "user_id", "item_id", "category", "session_id", "decision_id")),
    ("query", "x" * 1025),
    ("timestamp_ms", -1),
    ("timestamp_ms", LATEST_TIMESTAMP_MS + 1),
    ("timestamp_ms", 1.5),
    ("timestamp_ms", "1700000000000"),
    ("timestamp_ms", 10**30),
    ("timestamp_ms", True),
    ("price", -0.01),
    ("price", 1e9 + 1),
    ("price", "19.99"),
    ("quantity", 0),
    ("quantity", 1_000_001),
    ("quantity", 1.5),
    ("position", -1),
    ("position", 100),
    ("rating", -0.5),
    ("rating", 5.1),
    ("n", 0),
    ("n", MAX_SLATE + 1),
    ("n", 2.5),
    ("surface", ""),
    ("surface", "x" * 129),
    ("kind", "stare"),
    ("kind", "View"),
    ("kind", 1),
    ("user_id", 17),
    ("item_id", ["item-1"]),
    ("item_id", {"id": "item-1"}),
]


@pytest.mark.parametrize(("field", "value"), OUT_OF_RANGE)
def test_what_is_out_of_range_or_of_another_type_is_malformed(field: str, value: Any) -> None:
    assert rejection(with_field(field, value)) == "malformed"


@pytest.mark.parametrize(
    ("candidates", "detail"),
    [
        ([], "length >= 1"),
        ([f"item-{number}" for number in range(MAX_CANDIDATES + 1)], "length <= 100"),
        (["a", "b", "a"], "'a' is there twice"),
        (["a", ""], "length >= 1"),
        (["a", "x" * 129], "length <= 128"),
        (["a", "b\0"], "NUL"),
        (["a", 7], "Expected `str`, got `int`"),
        ("item-1", "got `str`"),
        ({"item-1": 1}, "got `object`"),
    ],
)
def test_candidates_that_cannot_be_chosen_from_are_refused_with_the_reason(candidates: Any, detail: str) -> None:
    with pytest.raises(RejectedRecord) as rejected:
        decode_event(with_field("candidates", candidates))
    assert rejected.value.reason == "bad-candidates"
    assert detail in rejected.value.detail


def test_the_most_and_longest_candidates_are_taken() -> None:
    candidates = tuple(f"{number:0128}" for number in range(MAX_CANDIDATES))
    assert decode_event(with_field("candidates", candidates)).candidates == candidates


@pytest.mark.parametrize(
    ("unit", "per_s"), [("seconds", 1), ("seconds", 1.0), ("microseconds", 10**6), ("nanoseconds", 10**9)]
)
@given(at_s=st.integers(315_532_800, LATEST_TIMESTAMP_MS // 1000 - 1))
def test_a_time_in_another_unit_is_refused_and_the_unit_is_named(unit: str, per_s: float, at_s: int) -> None:
    with pytest.raises(RejectedRecord) as rejected:
        decode_event(with_field("timestamp_ms", at_s * per_s))
    assert rejected.value.reason == "wrong-unit"
    date = datetime.fromtimestamp(at_s, UTC).date()
    assert f"{date} in {unit}; send milliseconds: {at_s * 1000}" in rejected.value.detail
    assert decode_event(with_field("timestamp_ms", at_s * 1000)).timestamp_ms == at_s * 1000


@pytest.mark.parametrize("value", [0, 7200, EARLIEST_TIMESTAMP_MS - 1 - 3_900_000_000, 10**13 * 10**9])
def test_a_time_that_is_plausible_in_no_unit_is_malformed(value: int) -> None:
    assert rejection(with_field("timestamp_ms", value)) == "malformed"


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", "1e999", "-1", "1" + "0" * 400, "0x10", "1_0", ""])
def test_a_price_that_is_no_number_of_json_is_malformed(number: str) -> None:
    assert rejection(json.dumps(FULL).replace("19.99", number).encode()) == "malformed"


@pytest.mark.parametrize("field", ["user_id", "item_id"])
@pytest.mark.parametrize("key", ["\0partition", "user\0", "__faust\0offset__"])
def test_no_row_can_have_a_reserved_key(field: str, key: str) -> None:
    assert rejection(with_field(field, key)) == "malformed"


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (None, "empty"),
        (b"", "empty"),
        (b" ", "malformed"),
        (b"null", "malformed"),
        (b"[]", "malformed"),
        (b'"view"', "malformed"),
        (b"{}", "malformed"),
        (b"{} {}", "malformed"),
        (b"\xef\xbb\xbf" + json.dumps(FULL).encode(), "malformed"),
        (json.dumps(FULL).encode("utf-16"), "malformed"),
        (json.dumps(FULL).replace("shoes", "\xe9").encode("latin-1"), "malformed"),
        (json.dumps(FULL).replace("user-1", "\\ud800").encode(), "malformed"),
        (json.dumps(FULL).replace("user-1", "\\u12").encode(), "malformed"),
        (json.dumps(FULL).replace("user-1", "a\nb").encode(), "malformed"),
        (json.dumps(FULL)[:-1].encode(), "malformed"),
        (b"[" * 60_000, "malformed"),
        (b'{"a":' * 10_000, "malformed"),
        (with_field("extra", 1)[:-1] + b',"deep":' + b"[" * 20_000 + b"]" * 20_000 + b"}", "malformed"),
        (b" " * (MAX_EVENT_BYTES + 1), "oversized"),
        (json.dumps(FULL).encode().ljust(MAX_EVENT_BYTES + 1), "oversized"),
    ],
)
def test_what_is_no_event_is_rejected_with_its_reason(value: bytes | None, reason: str) -> None:
    assert rejection(value) == reason


def test_the_largest_event_that_is_taken_is_taken() -> None:
    assert decode_event(json.dumps(FULL).encode().ljust(MAX_EVENT_BYTES)).kind == "view"


def event_or_reason(value: bytes) -> None:
    reason = None
    try:
        event = decode_event(value)
    except RejectedRecord as rejected:
        reason = rejected.reason
    assert reason in REASONS if reason else decode_event(encode_event(event)) == event


@given(st.binary(max_size=200))
def test_any_bytes_are_an_event_or_rejected(value: bytes) -> None:
    event_or_reason(value)


@given(events, st.lists(st.tuples(st.integers(0, 10**6), st.integers(0, 3), st.binary(max_size=3)), max_size=4))
def test_any_event_with_bytes_changed_is_an_event_or_rejected(
    event: Event, changes: list[tuple[int, int, bytes]]
) -> None:
    value = bytearray(encode_event(event))
    for place, length, replacement in changes:
        start = place % (len(value) + 1)
        value[start : start + length] = replacement
    event_or_reason(bytes(value))


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)


@given(st.dictionaries(st.sampled_from(sorted(FULL)), values, max_size=4))
def test_any_value_in_any_field_is_an_event_or_rejected(changed: dict[str, Any]) -> None:
    event_or_reason(json.dumps(FULL | changed).encode())
