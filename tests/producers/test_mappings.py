"""Mappings: what they say, what is refused about them, and what becomes of values."""

import json
from datetime import UTC, datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from producers.delimited import STRICT, LeftOut
from producers.formats.detection import detect
from producers.formats.event_fields import FIELD_TYPES
from producers.formats.format import Format, Mapped
from producers.formats.mapping import NamedMapping, Time, Unit, load_mapping, parse_mapping
from producers.formats.reader import parse_events
from producers.formats.times import MS_PER_UNIT, BadTime, time_parser
from streams.contract.errors import ConfigurationError, UnreadableSource
from streams.contract.event_kinds import KINDS
from streams.contract.events import EARLIEST_TIMESTAMP_MS, LATEST_TIMESTAMP_MS, Event, encode_event

TIMES = st.integers(EARLIEST_TIMESTAMP_MS, LATEST_TIMESTAMP_MS)
OWN = """
title = "mine"
event_name = "what"
[time]
column = "at"
unit = "s"
[fields]
user_id = "who"
item_id = "sku"
[events]
look = "view"
"""


def form(text: str) -> Format:
    return Format(NamedMapping("mine", parse_mapping(text, "mine.toml")))


def mapped(more: str, **record: object) -> Mapped:
    """Maps a view, with more keys under [fields]."""
    whole = {"what": "look", "at": 1_570_000_000, "who": "u", "sku": "i", **record}
    return form(OWN.replace("[events]", f"{more}\n[events]")).map(whole, "x")


@pytest.mark.parametrize(
    ("old", "new", "complaint"),
    [
        ('title = "mine"', 'titel = "mine"', "unknown key titel; did you mean title?"),
        ('title = "mine"', "", "the key title is missing"),
        ('title = "mine"', "title = 3", "title: Expected `str`, got `int`"),
        ('title = "mine"', 'title = "mine', "not TOML"),
        ('title = "mine"', 'title = "mine"\nlayout = "csv"', "layout: Invalid enum value 'csv'"),
        ('title = "mine"', 'title = "mine"\nlayout = "native"', "layout: native events need no time"),
        ('title = "mine"', 'title = "mine"\nhook = "ga"', "hook: there is no 'ga'; known: ga4, segment"),
        ('title = "mine"', 'title = "mine"\nencoding = "utf-7-bit"', "encoding: there is no encoding 'utf-7-bit'"),
        ('event_name = "what"', "", r"event_name: names are listed in \[events\]"),
        ('look = "view"', '"*" = "view"', r'events: "\*" is for files without event_name'),
        ('look = "view"', 'look = "tick"', "events.look: a tick is no action of a shopper"),
        ('look = "view"', 'look = "watch"', r"events\.<name>: Invalid enum value 'watch'"),
        ('look = "view"', 'look = { kynd = "view" }', r"unknown key events\.<name>\.kynd; did you mean kind?"),
        ('look = "view"', "", "events: the table is missing"),
        ('[time]\ncolumn = "at"\nunit = "s"', "", "time: the table is missing"),
        ('unit = "s"', 'unit = "seconds"', "time.unit: Invalid enum value 'seconds'"),
        ('unit = "s"', 'zone = "Europe/Bonn"', "time.zone: there is no zone 'Europe/Bonn'"),
        ('unit = "s"', 'zone = "/etc/passwd"', "time.zone: there is no zone"),
        ('unit = "s"', 'format = "dd.mm.yyyy"', "time.format: 'dd.mm.yyyy' is neither iso nor a format of strptime"),
        ('unit = "s"', 'unit = "s"\nformat = "%d"', "time: give either unit"),
        ('user_id = "who"', 'user = "who"', "fields.user: an event has no such field; did you mean user_id?"),
        ('user_id = "who"', "user_id = {}", "fields.user_id: give one of column, text and value"),
        ('user_id = "who"', 'user_id = { column = "who", value = 1 }', "fields.user_id: give one of column"),
        ('user_id = "who"', 'price = { value = "5" }', "fields.price: the field is a number"),
        ('user_id = "who"', 'timestamp_ms = "who"', "fields.timestamp_ms: an event has no such field"),
    ],
)
def test_a_wrong_mapping_is_refused_with_its_file_and_key(old: str, new: str, complaint: str, tmp_path: Path) -> None:
    assert old in OWN
    path = tmp_path / "mine.toml"
    path.write_text(OWN.replace(old, new))
    with pytest.raises(ConfigurationError, match=rf"mine\.toml: {complaint}"):
        load_mapping(path)


def test_a_mapping_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="nowhere"):
        load_mapping(tmp_path / "nowhere.toml")


@given(TIMES, st.sampled_from(["s", "ms", "us", "ns"]))
def test_a_time_in_any_unit_is_the_millisecond_that_it_is_in(timestamp_ms: int, unit: Unit) -> None:
    text = str(timestamp_ms / MS_PER_UNIT[unit]) if unit == "s" else f"{timestamp_ms / MS_PER_UNIT[unit]:f}"
    assert time_parser(Time(column="at", unit=unit))(text) == timestamp_ms


@given(
    TIMES.map(lambda ms: max(ms, EARLIEST_TIMESTAMP_MS + 86_400_000)),
    st.sampled_from(["UTC", "Europe/Berlin", "Asia/Shanghai", "America/St_Johns", "Australia/Lord_Howe"]),
)
def test_a_local_time_is_the_moment_at_which_its_zones_clocks_show_it(timestamp_ms: int, zone: str) -> None:
    seconds = timestamp_ms // 1000
    local = datetime.fromtimestamp(seconds, ZoneInfo(zone))
    iso = time_parser(Time(column="at", zone=zone))
    day_first = time_parser(Time(column="at", zone=zone, format="%d/%m/%Y %H:%M:%S"))
    assert iso(local.isoformat()) == seconds * 1000
    # An hour that comes twice is the first one.
    first = int(local.replace(fold=0).timestamp()) * 1000
    assert iso(local.strftime("%Y-%m-%d %H:%M:%S")) == day_first(local.strftime("%d/%m/%Y %H:%M:%S")) == first
    assert iso(local.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S UTC")) == seconds * 1000


@pytest.mark.parametrize(
    ("declared", "text", "advice"),
    [
        ({"unit": "s"}, "1570000000000", r'with unit = "ms" under \[time\] it would be 2019-10-02'),
        ({"unit": "ms"}, "1570000000", 'with unit = "s"'),
        ({"unit": "ms"}, "1570000000000000", 'with unit = "us"'),
        ({"unit": "s"}, "2019-10-02 00:00:00", "remove unit and format"),
        ({"unit": "s"}, "2.10.2019 00:00", 'format = "%d/%m/%Y %H:%M" or the like'),
        ({}, "1570000000", 'with unit = "s"'),
        ({}, "12", "no time since the epoch in any unit"),
        ({"format": "%d.%m.%Y"}, "2019-10-02", 'set format = "iso"'),
        ({}, "1961-10-02", "not between 1970-02-17 and 2100"),
        ({"unit": "s"}, "nan", "not a number of s"),
    ],
)
def test_a_time_that_cannot_be_read_says_what_to_change(declared: dict[str, str], text: str, advice: str) -> None:
    with pytest.raises(BadTime, match=advice):
        time_parser(msgspec.convert({"column": "at", **declared}, Time))(text)


@pytest.mark.parametrize(
    ("more", "record", "expected"),
    [
        ("", {"who": 17}, {"user_id": "17"}),
        ("", {"who": 17.0}, {"user_id": "17"}),
        ("", {"sku": "007"}, {"item_id": "007"}),
        ('category = "c"', {"c": ""}, {"category": None}),
        ('category = "c"', {"c": "  "}, {"category": None}),
        ('category = "c"', {}, {"category": None}),
        ('category = "c"', {"c": None}, {"category": None}),
        ('category = { column = "c", missing = ["-"] }', {"c": "-"}, {"category": None}),
        ('category = { column = "c", cut = 6 }', {"c": "Home > Garden"}, {"category": "Home >"}),
        ('category = ["c", "d"]', {"c": "", "d": "shoes"}, {"category": "shoes"}),
        ('category = ["c", { value = "other" }]', {}, {"category": "other"}),
        ('category = "deep.er"', {"deep": {"er": "shoes"}}, {"category": "shoes"}),
        ('category = "deep.er"', {"deep.er": "shoes"}, {"category": "shoes"}),
        ('category = "deep.er"', {"deep": "flat"}, {"category": None}),
        ('session_id = { text = "{a}/{b}" }', {"a": 1, "b": "x"}, {"session_id": "1/x"}),
        ('session_id = { text = "{a}/{b}" }', {"a": 0, "b": ""}, {"session_id": None}),
        ('price = "p"', {"p": "79.9"}, {"price": 79.9}),
        ('price = "p"', {"p": 79}, {"price": 79.0}),
        ('price = { column = "p", scale = 0.01 }', {"p": "1999"}, {"price": 19.99}),
        ('quantity = "q"', {"q": "2.0"}, {"quantity": 2}),
        ('position = { column = "n", first = 1 }', {"n": "1"}, {"position": 0}),
    ],
)
def test_values_are_read_as_a_mapping_says(more: str, record: dict[str, object], expected: dict[str, object]) -> None:
    [event] = mapped(more, **record).events
    for field, value in expected.items():
        assert getattr(event, field) == (pytest.approx(value) if isinstance(value, float) else value)


@pytest.mark.parametrize(
    ("more", "record", "complaint"),
    [
        ("", {"who": ""}, "a view needs user_id, and who has no value"),
        ("", {"who": {"id": 1}}, "is an object, not a text or a number; name a part of it"),
        ("", {"who": True}, "True is a truth value"),
        ("", {"sku": "9" * 129}, "item_id '9999.*length <= 128; set cut to shorten it"),
        ("", {"sku": "a\0"}, "may not contain NUL"),
        ("", {"at": ""}, "there is no time: at has no value"),
        ('price = "p"', {"p": "79,90"}, r"'79,90' in p is not a number; set decimal = \",\""),
        ('price = "p"', {"p": "free"}, "'free' in p is not a number; list it under missing"),
        ('price = "p"', {"p": "nan"}, "'nan' in p is not a number"),
        ('price = "p"', {"p": "inf"}, "'inf' in p is not a number"),
        ('price = "p"', {"p": -5}, "price '-5.*>= 0.0; list it under missing.*or leave such records out with drop"),
        ('quantity = "q"', {"q": "2.5"}, "'2.5' in q is not a whole number"),
        ('rating = "r"', {"r": "11"}, "rating '11.*<= 5.0"),
        ('position = { column = "n", first = 1 }', {"n": "0"}, "position '-1.*>= 0"),
    ],
)
def test_a_value_that_cannot_be_read_says_what_to_change(more: str, record: dict[str, object], complaint: str) -> None:
    result = mapped(more, **record)
    assert result.events == []
    [reason] = result.refused
    with pytest.raises(ValueError, match=complaint):
        raise ValueError(reason)


def test_a_field_without_a_column_is_named() -> None:
    text = OWN.replace('item_id = "sku"\n', "")
    assert form(text).map({"what": "look", "at": 1_570_000_000, "who": "u"}, "x").refused == [
        'a view needs item_id, and [fields] does not say which column has it: add item_id = "..."'
    ]


def test_every_field_that_a_kind_requires_can_be_mapped() -> None:
    others = set(Event.__struct_fields__) - set(FIELD_TYPES)
    assert {"timestamp_ms", "kind"} <= others
    assert not others & {field for kind in KINDS.values() for field in kind.required}
    assert {FIELD_TYPES[field] for field in ("price", "rating")} == {"number"}
    assert {FIELD_TYPES[field] for field in ("quantity", "position")} == {"integer"}


@given(
    st.builds(
        Event,
        event_id=st.text("abc", min_size=1),
        timestamp_ms=TIMES,
        kind=st.just("view"),
        user_id=st.text("abü ", min_size=1, max_size=5).filter(str.strip),
        item_id=st.text("12", min_size=1, max_size=5),
        category=st.none() | st.just("c"),
        price=st.none() | st.floats(0, 1e6),
        quantity=st.none() | st.integers(1, 99),
    )
)
def test_an_event_that_goes_through_a_mapping_of_its_own_fields_stays_the_same(event: Event) -> None:
    fields = "\n".join(f'{field} = "{field}"' for field in FIELD_TYPES)
    own = 'title = "own"\nlayout = "json"\nevent_name = "kind"\n[time]\ncolumn = "timestamp_ms"\nunit = "ms"\n'
    record = json.loads(encode_event(event))
    [read] = form(f'{own}[fields]\n{fields}\n[events]\nview = "view"').map(record, "x").events
    user_id = (event.user_id or "").strip()
    assert read == msgspec.structs.replace(event, user_id=user_id)


def lines_of(form: Format, text: bytes, left_out: LeftOut = STRICT) -> list[Event]:
    return [event for _, event in parse_events(form, Path("mine.csv"), text.splitlines(keepends=True), left_out)]


def test_the_mark_of_decimals_the_encoding_and_the_separator_are_those_of_the_mapping() -> None:
    text = OWN.replace('title = "mine"', 'title = "mine"\ndecimal = ","\nencoding = "latin-1"\nseparator = "~~"')
    own = form(text.replace("[events]", 'price = "p"\n[events]'))
    [event] = lines_of(own, "at~~what~~who~~sku~~p\n1570000000~~look~~Jürgen~~a,b~~1.079,90\n".encode("latin-1"))
    assert (event.user_id, event.item_id, event.price) == ("Jürgen", "a,b", 1079.9)


@pytest.mark.parametrize(
    ("header", "complaint"),
    [
        ("at,what,who", "there is no column sku for item_id"),
        ("what,who,sku", "there is no column at for the time"),
        ("at,who,sku", "there is no column what for the event's name"),
        ("a,b", "no column at for the time; .*what for the event's name; .*who for user_id; .*Its columns are a, b"),
    ],
)
def test_a_file_without_a_column_says_which_one_is_missing_for_what(header: str, complaint: str) -> None:
    with pytest.raises(UnreadableSource, match=complaint):
        lines_of(form(OWN), f"{header}\n".encode())


def test_an_optional_column_may_be_missing_and_is_said_to_stay_empty(tmp_path: Path) -> None:
    path = tmp_path / "mine.csv"
    path.write_text("at,what,who,sku\n1570000000,look,u,i\n")
    guess = detect(path, [form(OWN.replace("[events]", 'price = "p"\ncategory = ["c", "d"]\n[events]'))])
    assert guess.empty_fields == ("category", "price")
    assert len(guess.examples) == 1


def test_what_fits_two_mappings_is_not_guessed(tmp_path: Path) -> None:
    path = tmp_path / "mine.csv"
    path.write_text("at,what,who,sku\n1570000000,look,u,i\n")
    twin = Format(NamedMapping("twin", parse_mapping(OWN, "twin.toml")))
    with pytest.raises(UnreadableSource, match="fits several formats: mine, twin"):
        detect(path, [form(OWN), twin])
