"""Mapping of a foreign format to Headrace's events: a TOML file, its schema and the errors in it."""

import difflib
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Final, Literal, NamedTuple
from zoneinfo import ZoneInfo

import msgspec

from producers.formats.event_fields import FIELD_TYPES
from producers.formats.hooks import HOOKS
from streams.contract.errors import ConfigurationError
from streams.contract.event_kinds import Kind

Unit = Literal["s", "ms", "us", "ns"]
Text = str | list[str]
SKIP: Final = "skip"
ANY_NAME: Final = "*"
"""Name of all records of a format without names."""


class _Part(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Base of the tables of a mapping; an unknown key is an error."""


class Source(_Part, frozen=True, kw_only=True):
    """Value of one field. Exactly one of ``column``, ``text`` and ``value`` is given.

    Attributes:
        column: Column, or path into a JSON object with dots.
        text: Text with columns in braces, such as ``{session_id}-{step}``; missing if one of them is.
        value: Constant.
        missing: Further texts that mean that there is no value.
        scale: Factor of a number, such as 0.01 for cents.
        first: Number of the first place, where places do not begin at 0.
        cut: Longest text; the rest is dropped.
    """

    column: str = ""
    text: str = ""
    value: str | int | float | None = None
    missing: list[str] = []
    scale: float = 1.0
    first: int = 0
    cut: int = 0


FieldSource = str | Source | list[str | Source]
"""A column, a :class:`Source`, or several, of which the first that has a value counts."""


class Fan(_Part, frozen=True, kw_only=True):
    """Elements that a record, or a part of it, consists of; each becomes an event of its own.

    Attributes:
        each: Columns with a list each; within an element, their names stand for its own part of them. ``#`` is the
            number of the element, from 0.
        split: Separator of the elements, where a list is text.
        only: Elements to keep: a column, and the column that it must equal.
    """

    each: Text = []
    split: str = ""
    only: dict[str, str] = {}


class Rule(Fan, frozen=True, kw_only=True):
    """Events that a record of one name becomes.

    Attributes:
        kind: Kind of the event.
        otherwise: Kinds to try in their order if a field that ``kind`` requires has no value; the last may be ``skip``.
        fields: Fields that differ from those of all events.
    """

    kind: Kind
    otherwise: list[Kind | Literal["skip"]] = []
    fields: dict[str, FieldSource] = {}


class Duration(_Part, frozen=True, kw_only=True):
    """A time that is added to another one."""

    column: str
    unit: Unit


class Time(_Part, frozen=True, kw_only=True):
    """Time of an event.

    Attributes:
        column: Column, or several, of which the first that has a value counts.
        unit: Unit since the epoch; without it, the time is a text.
        format: ``iso``, or a format of ``strptime``.
        zone: IANA name of the zone of texts that have none.
        plus: Column with what is to be added.
    """

    column: Text
    unit: Unit | None = None
    format: str = "iso"
    zone: str = "UTC"
    plus: Duration | None = None


class Mapping(Fan, frozen=True, kw_only=True):
    """Description of one format.

    Attributes:
        title: Name of the format, for people.
        source: Public address of its description.
        notes: Sentences for the documentation.
        layout: ``delimited`` text, ``json`` (an object a line), or ``native``: Headrace's own events, which are decoded
            strictly and need nothing else.
        separator: One or more characters; found in the first line if empty.
        encoding: Encoding of the text.
        columns: Names of the columns. A header must have all of them; a file without one has them in this order.
        missing: Texts that mean that there is no value, besides the empty one.
        decimal: Decimal mark.
        drop: Records to leave out: a column, and patterns as in a shell, such as ``C*``.
        hook: Function of :data:`~producers.formats.hooks.HOOKS` that is applied to each record first.
        time: Time of the event.
        event_name: Column with the event's name, or several; without it, all records have the name ``*``.
        fields: Fields of all events.
        events: What becomes of a record of each name: a kind, ``skip``, a rule, or several rules.
    """

    title: str
    source: str = ""
    notes: str = ""
    layout: Literal["delimited", "json", "native"] = "delimited"
    separator: str = ""
    encoding: str = "utf-8"
    columns: list[str] = []
    missing: list[str] = []
    decimal: Literal[".", ","] = "."
    drop: dict[str, Text] = {}
    hook: str = ""
    time: Time | None = None
    event_name: Text = []
    fields: dict[str, FieldSource] = {}
    events: dict[str, Kind | Literal["skip"] | Rule | list[Rule]] = {}

    def rules(self, name: str) -> list[Rule] | None:
        """Returns what becomes of the records of a name: nothing if they are skipped, ``None`` if it is unknown."""
        declared = self.events.get(name)
        if declared is None or isinstance(declared, list):
            return declared
        if isinstance(declared, Rule):
            return [declared]
        return [] if declared == SKIP else [Rule(kind=declared)]


class NamedMapping(NamedTuple):
    """A mapping and its name, with which the ids of its events begin."""

    name: str
    mapping: Mapping


def listed(text: Text) -> list[str]:
    """Returns a list of one or several texts."""
    return [text] if isinstance(text, str) else list(text)


def sources_of(declared: FieldSource) -> list[Source]:
    """Returns the sources of a field in their order."""
    parts = declared if isinstance(declared, list) else [declared]
    return [Source(column=part) if isinstance(part, str) else part for part in parts]


def load_mapping(path: Path) -> NamedMapping:
    """Reads a mapping; its name is that of the file.

    Raises:
        ConfigurationError: The file cannot be read, or is no mapping; the message names file and key.
    """
    try:
        text = path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{path}: {error}") from error
    return NamedMapping(path.name.removesuffix(".toml"), parse_mapping(text, str(path)))


def parse_mapping(text: str, place: str) -> Mapping:
    r"""Reads a mapping from the text of a TOML file.

    Args:
        place: Its file, for messages.

    Raises:
        ConfigurationError: It is no mapping; the message names ``place`` and the key.

    >>> parse_mapping('title = "x"\nlayuot = "json"', "x.toml")
    Traceback (most recent call last):
    streams.contract.errors.ConfigurationError: x.toml: unknown key layuot; did you mean layout?
    """
    try:
        tree = tomllib.loads(text)
        mapping = msgspec.convert(tree, Mapping)
        for key, complaint in _complaints(mapping):
            raise ConfigurationError(f"{place}: {key}: {complaint}")
    except tomllib.TOMLDecodeError as error:
        raise ConfigurationError(f"{place}: not TOML: {error}") from error
    except msgspec.ValidationError as error:
        raise ConfigurationError(f"{place}: {_explained(str(error))}") from error
    return mapping


def _explained(error: str) -> str:
    complaint, _, path = error.partition(" - at `$")
    key = path.removesuffix("`").removeprefix(".").replace("[...]", ".<name>")
    if complaint.startswith("Object contains unknown field"):
        unknown = complaint.split("`")[1]
        known = {name for part in _TABLES for name in part.__struct_fields__}
        near = difflib.get_close_matches(unknown, sorted(known), n=1, cutoff=0.0)[0]
        return f"unknown key {f'{key}.' if key else ''}{unknown}; did you mean {near}?"
    if complaint.startswith("Object missing required field"):
        missing = complaint.split("`")[1]
        return f"the key {f'{key}.' if key else ''}{missing} is missing"
    return f"{key}: {complaint}"


_TABLES: Final = (Mapping, Rule, Source, Time, Duration)


def _complaints(mapping: Mapping) -> Iterator[tuple[str, str]]:
    """Lists keys that do not fit together, each with what to do."""
    if mapping.layout == "native":
        if mapping.events or mapping.fields or mapping.time:
            yield "layout", "native events need no time, fields and events; remove them"
        return
    if mapping.hook and mapping.hook not in HOOKS:
        yield "hook", f"there is no {mapping.hook!r}; known: {', '.join(HOOKS)}"
    if mapping.time is None:
        yield "time", 'the table is missing: [time] with column = "..." and unit = "s", "ms", "us" or "ns", or format'
    else:
        yield from _time_complaints(mapping.time)
    if not mapping.events:
        yield "events", 'the table is missing: [events] with "name in the file" = "kind", or "*" = "kind" for all'
    if mapping.event_name and ANY_NAME in mapping.events:
        yield "events", '"*" is for files without event_name; list the names'
    if not mapping.event_name and set(mapping.events) - {ANY_NAME}:
        yield "event_name", "names are listed in [events]: say which column has them"
    try:
        "".encode(mapping.encoding)
    except LookupError:
        yield "encoding", f"there is no encoding {mapping.encoding!r}; examples: utf-8, latin-1, cp1252"
    yield from _field_complaints("fields", mapping.fields)
    for name in mapping.events:
        for rule in mapping.rules(name) or ():
            if "tick" in {rule.kind, *rule.otherwise}:
                yield f"events.{name}", "a tick is no action of a shopper; use skip"
            yield from _field_complaints(f"events.{name}.fields", rule.fields)


def _time_complaints(time: Time) -> Iterator[tuple[str, str]]:
    try:
        ZoneInfo(time.zone)
    except (LookupError, ValueError, OSError):
        yield "time.zone", f"there is no zone {time.zone!r}; use a name such as Europe/Berlin or UTC"
    if time.unit and time.format != "iso":
        yield "time", "give either unit, for numbers, or format, for texts"
    if time.format != "iso" and "%" not in time.format:
        yield "time.format", f"{time.format!r} is neither iso nor a format of strptime such as %d/%m/%Y %H:%M"


def _field_complaints(key: str, fields: dict[str, FieldSource]) -> Iterator[tuple[str, str]]:
    for name, declared in fields.items():
        if name not in FIELD_TYPES:
            near = difflib.get_close_matches(name, FIELD_TYPES, n=1, cutoff=0.0)[0]
            yield f"{key}.{name}", f"an event has no such field; did you mean {near}?"
        for source in sources_of(declared):
            if [bool(source.column), bool(source.text), source.value is not None].count(True) != 1:
                yield f"{key}.{name}", "give one of column, text and value"
            is_text = source.text or isinstance(source.value, str)
            if is_text and FIELD_TYPES.get(name, "text") != "text":
                yield f"{key}.{name}", "the field is a number; give a column or a number as value"
