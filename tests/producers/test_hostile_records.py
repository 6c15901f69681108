"""Hostile records of foreign formats: whatever a value is replaced with, nothing is raised, and events are valid."""

import json
import random
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from producers.delimited import LeftOut
from producers.formats.format import Format, Mapped
from producers.formats.mapping import NamedMapping, parse_mapping
from producers.formats.reader import parse_events
from producers.ingest import IngestSummary, Source, outputs_of
from streams.contract.errors import UnreadableSource
from streams.contract.events import decode_event, encode_event
from tests.producers.files import form_of
from tests.producers.samples import SAMPLES

JSON_FORMATS = ["ga4", "headrace", "otto", "segment"]
RECORDS = {
    name: [json.loads(line) for line in SAMPLES[name].write(random.Random(5)).splitlines()] for name in JSON_FORMATS
}
VALUES: st.SearchStrategy[Any] = (
    st.sampled_from(
        [
            *("", " ", "\0", "x" * 10_000, "9" * 5000, "1e999999", "-1e999999", "nan", "inf", "1_000", "٣", "\ud800"),
            *("0001-01-01T00:00:00Z", "9999-12-31T23:59:59Z", "0001-01-01T00:00:00+14:00", "2026-02-30", "24:00"),
            *(0, -1, 2**63, 10**400, 1e308, -0.0, 1.5, True, False, None, [], {}, [[]], [None], {"": {}}, [1, "a"]),
        ]
    )
    | st.text(max_size=10)
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
)


def paths(value: object, path: tuple[str | int, ...] = ()) -> list[tuple[str | int, ...]]:
    parts: list[tuple[str | int, Any]] = []
    if isinstance(value, dict):
        parts = list(value.items())
    elif isinstance(value, list):
        parts = list(enumerate(value))
    return [path, *(each for key, inner in parts for each in paths(inner, (*path, key)))]


def replaced(value: Any, path: tuple[str | int, ...], new: object) -> Any:
    if not path:
        return new
    copy: Any = dict(value) if isinstance(value, dict) else list(value)
    copy[path[0]] = replaced(copy[path[0]], path[1:], new)
    return copy


def check(mapped: Mapped) -> None:
    for event in mapped.events:
        assert decode_event(encode_event(event)) == event
    assert all(0 < len(reason) < 1000 for reason in mapped.refused)


@pytest.mark.parametrize("name", JSON_FORMATS)
@given(data=st.data())
def test_a_value_of_any_kind_gives_valid_events_or_a_reason(name: str, data: st.DataObject) -> None:
    record = data.draw(st.sampled_from(RECORDS[name]))
    for _ in range(data.draw(st.integers(1, 3))):
        record = replaced(record, data.draw(st.sampled_from(paths(record))), data.draw(VALUES))
    value = json.dumps(record).encode()
    check(form_of(name).map_json(value, "x"))
    outputs = list(outputs_of(form_of(name), Source("t", 0, 0, None, value), 4096, IngestSummary()))
    assert all(output.key for output in outputs if output.topic == "clickstream")


EVERY_KEY = Format(
    NamedMapping(
        "every",
        parse_mapping(
            r"""
            title = "Every key"
            layout = "json"
            event_name = ["name", "type"]
            missing = ["NA"]
            decimal = ","
            drop = { order = "C*" }
            [time]
            column = ["at", "day"]
            format = "%d/%m/%Y %H:%M"
            zone = "Europe/Berlin"
            plus = { column = "more", unit = "ms" }
            [fields]
            event_id = { text = "{a}-{b.c}" }
            user_id = ["who", { value = 7 }]
            item_id = { column = "lines.sku", cut = 5 }
            price = { column = "lines.price", scale = 0.01, missing = ["0"] }
            quantity = "lines.n"
            position = { column = "#" }
            [[events.buy]]
            kind = "purchase"
            each = ["lines"]
            [[events.buy]]
            kind = "click"
            otherwise = ["view"]
            each = "lines"
            only = { "lines.sku" = "b.c" }
            [events.list]
            kind = "view"
            each = ["xs", "ys"]
            split = "|"
            fields = { item_id = "xs", price = "ys" }
            """,
            "every.toml",
        ),
    )
)
EVERY_RECORD: list[dict[str, Any]] = [
    {
        "name": "buy",
        "order": "R1",
        "at": "31/01/2026 13:05",
        "more": 5,
        "a": 1,
        "b": {"c": "s1"},
        "who": "u",
        "lines": [{"sku": "s1", "price": "79,90", "n": 2}, {"sku": "s2", "price": 5, "n": "1"}],
    },
    {"type": "list", "day": "31/01/2026 13:05", "xs": "a|b", "ys": "1,5|2"},
]


def test_the_record_with_every_key_is_mapped() -> None:
    assert [len(EVERY_KEY.map(record, "x").events) for record in EVERY_RECORD] == [3, 2]


@given(data=st.data())
def test_no_key_of_a_mapping_lets_a_value_raise(data: st.DataObject) -> None:
    record: Any = data.draw(st.sampled_from(EVERY_RECORD))
    for _ in range(data.draw(st.integers(1, 3))):
        record = replaced(record, data.draw(st.sampled_from(paths(record))), data.draw(VALUES))
    check(EVERY_KEY.map_json(json.dumps(record).encode(), "x"))


@pytest.mark.parametrize("name", sorted(set(SAMPLES) - set(JSON_FORMATS)))
@given(data=st.data())
def test_a_cell_of_any_text_gives_valid_events_or_a_bad_row(name: str, data: st.DataObject) -> None:
    lines = SAMPLES[name].write(random.Random(5)).splitlines()[-10:]
    text = data.draw(VALUES.filter(lambda value: isinstance(value, str) and value.isprintable()))
    separator = {"movielens.1m": "::", "movielens.100k": "\t"}.get(name, ";" if "diginetica" in name else ",")
    cells = lines[3].split(separator)
    cells[data.draw(st.integers(0, len(cells) - 1))] = text
    header = SAMPLES[name].write(random.Random(5)).splitlines()[0]
    whole = "\n".join([header, *lines[:3], separator.join(cells), *lines[4:], ""]).encode("utf-8", "replace")
    try:
        for _, event in parse_events(form_of(name), Path("x"), whole.splitlines(keepends=True), LeftOut()):
            assert decode_event(encode_event(event)) == event
    except UnreadableSource as error:
        assert "quot" in str(error) or "expected after" in str(error) or "unexpected end" in str(error)  # noqa: PT017
