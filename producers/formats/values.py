"""Values of a record, by column or path, and their conversion to the fields of an event."""

import math
import re
from collections.abc import Callable, Iterator
from typing import Any, Final

import msgspec

from producers.formats.event_fields import FIELD_TYPES
from producers.formats.hooks import Record
from producers.formats.mapping import FieldSource, Mapping, Source, sources_of

Scalar = str | int | float
Getter = Callable[[Record], Scalar | None]
"""Function that reads a value from a record; ``None`` if it is missing."""

_BRACES: Final = re.compile(r"{([^{}]+)}")


class BadValue(ValueError):
    """A value that cannot be that of its field, with the reason and what to change."""


def reader_of(path: str) -> Callable[[Record], object]:
    """Returns a function that reads what a record has at a path; ``None`` if there is nothing.

    >>> reader_of("a.b")({"a": {"b": 1}}), reader_of("a.b")({"a.b": 2}), reader_of("a.b")({"a": 3})
    (1, 2, None)
    """
    head, *rest = path.split(".")
    if not rest:
        return lambda record: record.get(path)

    def walk(record: Record) -> object:
        inner: Any = record.get(head)
        for key in rest:
            if type(inner) is not dict:
                return record.get(path)
            inner = inner.get(key)
        return inner

    return walk


def with_value(record: Record, path: str, value: object) -> Record:
    """Returns a copy of a record with another value at a path.

    >>> with_value({"a": {"b": [1, 2]}, "c": 3}, "a.b", 1)
    {'a': {'b': 1}, 'c': 3}
    """
    head, _, rest = path.partition(".")
    inner = record.get(head)
    if path in record or not rest or not isinstance(inner, dict):
        return {**record, path: value}
    return {**record, head: with_value(inner, rest, value)}


def scalar(value: object, missing: frozenset[str]) -> Scalar | None:
    """Returns a text or number without surrounding spaces; ``None`` if it means that there is none.

    Raises:
        BadValue: It is a list, an object or a truth value.
    """
    if isinstance(value, str):
        text = value.strip()
        return None if text in missing else text
    if value is None:
        return None
    if isinstance(value, int | float) and not isinstance(value, bool):
        return None if missing and text_of(value) in missing else value
    kind = {list: "a list", dict: "an object", bool: "a truth value"}.get(type(value), type(value).__name__)
    raise BadValue(f"{str(value)[:40]} is {kind}, not a text or a number; name a part of it, as in order.id")


def text_of(value: Scalar) -> str:
    """Returns a value as text; a whole number has no decimals.

    >>> text_of(17.0), text_of(17), text_of("017")
    ('17', '17', '017')
    """
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)


def field_getter(field: str, declared: FieldSource, mapping: Mapping) -> Getter:
    """Returns a function that reads a field of an event from a record.

    It raises :class:`BadValue` for a value that cannot be that field's.
    """
    getters = [_converted(field, source, mapping) for source in sources_of(declared)]
    if len(getters) == 1:
        return getters[0]

    def first(record: Record) -> Scalar | None:
        for getter in getters:
            value = getter(record)
            if value is not None:
                return value
        return None

    return first


def columns_of(declared: FieldSource) -> Iterator[list[str]]:
    """Lists the columns that each source of a field needs."""
    for source in sources_of(declared):
        yield [source.column] if source.column else _BRACES.findall(source.text)


def _converted(field: str, source: Source, mapping: Mapping) -> Getter:
    missing = frozenset({"", *mapping.missing, *source.missing})
    if source.value is not None:
        constant = text_of(source.value) if FIELD_TYPES[field] == "text" else source.value
        return lambda record: constant
    if source.text:
        return _template(source.text, missing)
    text = _text_getter(source, missing)
    return text if FIELD_TYPES[field] == "text" else _number_getter(field, source, missing, mapping.decimal)


def _text_getter(source: Source, missing: frozenset[str]) -> Getter:
    read, cut = reader_of(source.column), source.cut

    def text(record: Record) -> str | None:
        value = read(record)
        if value is None:
            return None
        if type(value) is not str:
            found = scalar(value, missing)
            if found is None:
                return None
            value = text_of(found)
        whole = value.strip()
        if whole in missing:
            return None
        return whole[:cut].rstrip() if cut else whole

    return text


def _number_getter(field: str, source: Source, missing: frozenset[str], decimal: str) -> Getter:
    read, scale, first = reader_of(source.column), source.scale, source.first
    is_integer = FIELD_TYPES[field] == "integer"

    def number(record: Record) -> float | None:
        found = read(record)
        if found is None:
            return None
        value = found if type(found) is float else scalar(found, missing)
        if value is None:
            return None
        try:
            parsed = scale * (_number(value, source.column, decimal) if isinstance(value, str) else value)
            if not is_integer:
                return parsed
            if not float(parsed).is_integer():
                raise BadValue(f"{text_of(value)!r} in {source.column} is not a whole number")
            return int(parsed) - first
        except OverflowError as error:
            raise BadValue(f"the number in {source.column} is too large") from error

    return number


def _template(template: str, missing: frozenset[str]) -> Getter:
    readers = [(column, reader_of(column)) for column in _BRACES.findall(template)]

    def filled(record: Record) -> Scalar | None:
        texts: dict[str, str] = {}
        for column, read in readers:
            value = scalar(read(record), missing)
            if value is None:
                return None
            texts[column] = text_of(value)
        return _BRACES.sub(lambda found: texts[found[1]], template)

    return filled


def _number(value: str, column: str, decimal: str) -> float:
    text = value.replace(".", "").replace(",", ".") if decimal == "," else value
    try:
        number = msgspec.convert(text, float, strict=False)
    except msgspec.ValidationError:
        number = math.nan
    if not math.isfinite(number):
        advice = "list it under missing, if it means that there is none"
        if "," in value and decimal == ".":
            advice = 'set decimal = "," if the comma is the decimal mark'
        raise BadValue(f"{value[:40]!r} in {column} is not a number; {advice}")
    return number
