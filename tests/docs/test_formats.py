"""The pages about formats: the reference is what the mappings say, and the example of the how-to is run."""

import json
import re
from pathlib import Path
from typing import Final

import msgspec
import pytest

from producers.delimited import STRICT
from producers.formats.format import Format
from producers.formats.mapping import Duration, Fan, Mapping, NamedMapping, Rule, Source, Time, parse_mapping
from producers.formats.reader import parse_events
from producers.formats.registry import FORMATS
from streams.cli.main import run
from streams.contract.event_kinds import EVENT_KINDS
from tests.docs.pages import ROOT

REFERENCE: Final = (ROOT / "docs/reference/formats.md").read_text("utf-8")
HOW_TO: Final = (ROOT / "docs/how-to/bring-your-own-data.md").read_text("utf-8")
ALL: Final = [form for forms in FORMATS.values() for form in forms]


def row(form: Format) -> str:
    mapping = form.mapping
    rules = [rule for name in mapping.events for rule in mapping.rules(name) or ()]
    made = {kind for rule in rules for kind in (rule.kind, *rule.otherwise)}
    kinds = [kind for kind in EVENT_KINDS if kind in made and kind != "tick"]
    place = mapping.source if mapping.source.startswith("https") else f"[topics.md]({Path(mapping.source).name})"
    return f"| `{form.name}` | {mapping.title} | {', '.join(kinds) or 'all'} | {place} |"


def notes(form: Format) -> str:
    return f"- `{form.name}`: {' '.join(form.mapping.notes.split())}"


def test_the_reference_lists_the_formats_as_their_mappings_describe_them() -> None:
    table = REFERENCE.partition("| format |")[2].partition("\n\n")[0].splitlines()[2:]
    assert table == [row(form) for form in ALL]
    written = re.sub(r"\n  ", " ", REFERENCE.partition("## Notes\n\n")[2].partition("\n\n")[0]).splitlines()
    assert written == [notes(form) for form in ALL if form.mapping.notes]


@pytest.mark.parametrize("form", ALL, ids=lambda form: form.name)
def test_every_format_names_where_it_is_described(form: Format) -> None:
    assert form.mapping.source.startswith("https://") or (ROOT / form.mapping.source).exists()


@pytest.mark.parametrize(
    ("heading", "table"),
    [
        ("Keys of a mapping", Mapping),
        ("`[time]`", Time),
        ("A field", Source),
        ("A rule", Rule),
        ("Elements of a list", Fan),
    ],
)
def test_the_reference_lists_the_keys_of_a_mapping(heading: str, table: type[msgspec.Struct]) -> None:
    section = re.split(r"^##+ ", REFERENCE.partition(f" {heading}\n")[2], flags=re.MULTILINE)[0]
    keys = re.findall(r"^\| `(\w+)` \|", section, re.MULTILINE)
    inherited = set(Fan.__struct_fields__) if issubclass(table, Fan) and table is not Fan else set()
    assert sorted(keys) == sorted(set(table.__struct_fields__) - inherited)


def test_the_units_of_a_duration_are_those_of_a_time() -> None:
    assert set(Duration.__struct_fields__) == {"column", "unit"}


def blocks(language: str) -> list[str]:
    found = re.findall(rf"^( *)```{language}\n(.*?)^ *```$", HOW_TO, re.MULTILINE | re.DOTALL)
    return [re.sub(rf"^{indent}", "", text, flags=re.MULTILINE) for indent, text in found]


def test_the_example_of_the_how_to_is_read_as_it_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("actions.csv").write_text(blocks("csv")[0], "utf-8")
    Path("my-shop.toml").write_text(blocks("toml")[0], "utf-8")
    assert run(["replay", "actions.csv", "--mapping", "my-shop.toml", "--dry-run"]) == 0
    assert json.loads(capsys.readouterr().out) == json.loads(blocks("json")[0])


def test_the_order_of_the_how_to_becomes_its_purchases() -> None:
    form = Format(NamedMapping("my-orders", parse_mapping(blocks("toml")[1], "page")))
    [line] = blocks("jsonl")
    events = [event for _, event in parse_events(form, Path("orders.jsonl"), [line.encode()], STRICT)]
    assert [(e.event_id, e.user_id, e.item_id, e.price, e.quantity) for e in events] == [
        ("o-1.0", "17", "a", pytest.approx(19.99), 2),
        ("o-1.1", "17", "b", 5.0, None),
    ]
