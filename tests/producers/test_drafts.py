"""Drafts of mappings: they name columns of the file, and are right where the names and values are usual."""

import random
import tomllib
from pathlib import Path

import pytest

from producers.formats.draft import draft_mapping
from producers.formats.format import Format
from producers.formats.mapping import NamedMapping, Time, parse_mapping
from producers.formats.reader import read_events
from streams.contract.errors import UnreadableSource
from tests.producers.samples import SAMPLES

WITH_NAMES = [
    "diginetica.purchases",
    "ga4",
    "headrace",
    "movielens",
    "otto",
    "rees46",
    "retailrocket",
    "segment",
    "trivago",
]


def draft_of(folder: Path, text: str) -> str:
    path = folder / "some.txt"
    path.write_text(text, "utf-8")
    return draft_mapping(path)


@pytest.mark.parametrize("name", WITH_NAMES)
def test_a_draft_is_a_mapping_that_names_columns_of_the_file(name: str, tmp_path: Path) -> None:
    text = draft_of(tmp_path, SAMPLES[name].write(random.Random(5)))
    mapping = parse_mapping(text, "draft")
    columns = text.partition("# columns: ")[2].partition("\n")[0].split(", ")
    assert {str(source) for source in mapping.fields.values()} <= {*columns, "..."}
    assert mapping.event_name in ([], *columns)
    assert mapping.time is not None
    assert mapping.time.column in columns


@pytest.mark.parametrize("name", ["rees46", "retailrocket", "headrace", "movielens"])
def test_a_draft_reads_the_events_once_the_names_have_kinds(name: str, tmp_path: Path) -> None:
    text = SAMPLES[name].write(random.Random(5))
    draft = draft_of(tmp_path, text)
    for event, kind in {"cart": "add_to_cart", "addtocart": "add_to_cart", "transaction": "purchase"}.items():
        draft = draft.replace(f'"{event}" = "skip"', f'"{event}" = "{kind}"')
    if name == "movielens":
        draft = draft.replace('item_id = "..."', 'item_id = "movieId"').replace('"*" = "view"', '"*" = "rating"')
    form = Format(NamedMapping("draft", parse_mapping(draft, "draft")))
    read = [event for _, event in read_events(form, tmp_path / "some.txt")]
    assert [(e.timestamp_ms, e.kind, e.user_id, e.item_id, e.price, e.rating) for e in read] == [
        (a.timestamp_ms, a.kind, a.user_id, a.item_id, a.price, a.rating) for a in SAMPLES[name].actions(text)
    ]


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (["1570000000", "1570000001.5"], Time(column="at", unit="s")),
        (["1570000000123"], Time(column="at", unit="ms")),
        (["1570000000123456"], Time(column="at", unit="us")),
        (["2019-10-02T00:00:00Z", "2019-10-02 00:00:00 UTC"], Time(column="at")),
        (["2.10.2019 12:00"], Time(column="at", format="%d/%m/%Y %H:%M")),
        ([], Time(column="at")),
    ],
)
def test_the_unit_of_a_time_is_the_one_in_which_all_values_are_times(
    values: list[str], expected: Time, tmp_path: Path
) -> None:
    draft = draft_of(tmp_path, "at,user\n" + "".join(f"{value},u\n" for value in values))
    assert parse_mapping(draft, "draft").time == expected


def test_a_name_that_is_no_kind_is_never_guessed_and_quotes_are_escaped(tmp_path: Path) -> None:
    draft = draft_of(tmp_path, 'at;user;item;event\n1;u;i;"the ""best"" \\ view"\n1;u;i;purchase\n1;u;i;tick\n')
    events = tomllib.loads(draft)["events"]
    assert events == {'the "best" \\ view': "skip", "purchase": "purchase", "tick": "skip"}


def test_lists_are_named_as_what_may_become_several_events(tmp_path: Path) -> None:
    draft = draft_of(tmp_path, '{"user": 1, "time": 1570000000, "lines": [{"sku": "a"}], "tags": []}\n')
    assert '# each = "lines"  # to make an event of each of its elements' in draft
    assert tomllib.loads(draft)["fields"] == {"user_id": "user", "item_id": "lines.sku"}


def test_an_empty_file_has_no_draft(tmp_path: Path) -> None:
    with pytest.raises(UnreadableSource, match="is empty"):
        draft_of(tmp_path, "")
