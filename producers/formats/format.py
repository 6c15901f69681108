"""A format ready for use: turns a foreign record into events. Pure, for files and live records alike."""

from collections.abc import Callable, Iterable, Iterator
from fnmatch import fnmatchcase
from typing import Final, NamedTuple

import msgspec

from producers.formats.hooks import HOOKS, Record
from producers.formats.mapping import ANY_NAME, SKIP, Fan, Mapping, NamedMapping, Rule, listed
from producers.formats.times import BadTime, checked_ms, duration_ms, time_parser
from producers.formats.values import BadValue, columns_of, field_getter, reader_of, scalar, text_of, with_value
from streams.contract.errors import ConfigurationError, RejectedRecord
from streams.contract.event_kinds import KINDS, Kind
from streams.contract.events import Event, check_event, decode_event

NUMBER_OF_ELEMENT: Final = "#"
_SHOWN: Final = 80
_LONGEST_REASON: Final = 400
"""The decoder repeats a value whole."""


class Mapped(NamedTuple):
    """Result of mapping one record.

    Attributes:
        events: Events in the order of the rules and elements.
        refused: Reasons why an event could not be made, each with what to change.
        unknown: Names of events that the mapping does not know.
        skipped: Reasons why an event was left out on purpose: its name, or what it lacks.
    """

    events: list[Event]
    refused: list[str]
    unknown: list[str]
    skipped: list[str]


class Format:
    """A mapping ready for use.

    Attributes:
        name: Its name; ids of events begin with it where the records have none.
        mapping: The mapping.
    """

    def __init__(self, named: NamedMapping) -> None:
        self.name = named.name
        self.mapping = mapping = named.mapping
        self._missing = frozenset({"", *mapping.missing})
        self._hook = HOOKS.get(mapping.hook)
        self._drop = [(column, reader_of(column), listed(patterns)) for column, patterns in mapping.drop.items()]
        self._names = [reader_of(column) for column in listed(mapping.event_name)]
        self._elements = _Elements(mapping, self._missing)
        self._makers = {
            name: [_Maker(name, rule, mapping) for rule in mapping.rules(name) or ()] for name in mapping.events
        }

    def map_json(self, value: bytes, own_id: str) -> Mapped:
        """Maps one record in JSON, as :meth:`map` does; one of the layout ``native`` is decoded strictly."""
        if self.mapping.layout == "native":
            return _decoded(value)
        try:
            record = msgspec.json.decode(value)
            if not isinstance(record, dict):
                return Mapped([], [f"not a JSON object: {value[:_SHOWN]!r}"], [], [])
            return self.map(record, own_id)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            return Mapped([], [f"not JSON: {error}"], [], [])

    def map(self, record: Record, own_id: str) -> Mapped:
        """Maps one record.

        Args:
            own_id: Id of its event, if the mapping has no ``event_id``. Where a record may become several events, their
                ids have ``.0``, ``.1`` and so on behind it.
        """
        mapped = Mapped([], [], [], [])
        place = 0
        try:
            if self._hook is not None:
                record = self._hook(record)
            if (dropped := self._dropped(record)) is not None:
                mapped.skipped.append(dropped)
                return mapped
            parts = list(self._elements.of(record))
            if not parts:
                mapped.refused.append(f"a record needs {self._elements.lacking()}, and there is none")
            for part in parts:
                place = self._map_part(part, own_id, place, mapped)
        except BadValue as error:
            mapped.refused.append(str(error))
        return mapped

    def _map_part(self, part: Record, own_id: str, place: int, mapped: Mapped) -> int:
        """Maps one element of a record; returns the number of the record's next event."""
        name = self._name_of(part)
        makers = self._makers.get(name)
        if makers is None:
            mapped.unknown.append(name)
            return place
        if not makers:
            mapped.skipped.append(name)
        is_one = not self._elements.columns and len(makers) == 1 and not makers[0].elements.columns
        for maker in makers:
            n_elements = 0
            for element in maker.elements.of(part):
                n_elements += 1
                try:
                    event = maker.event(element, own_id, "" if is_one else f".{place}")
                except (BadTime, BadValue) as error:
                    mapped.refused.append(str(error))
                else:
                    (mapped.events if isinstance(event, Event) else mapped.skipped).append(event)  # type: ignore[arg-type]  # each list has its own
                place += 1
            if not n_elements:
                mapped.skipped.append(f"{name} without {maker.elements.lacking()}")
        return place

    def _dropped(self, record: Record) -> str | None:
        for column, read, patterns in self._drop:
            value = scalar(read(record), self._missing)
            text = "" if value is None else text_of(value)
            for pattern in patterns:
                if fnmatchcase(text, pattern):
                    return f"{column} = {pattern!r}"
        return None

    def _name_of(self, part: Record) -> str:
        for read in self._names:
            value = scalar(read(part), self._missing)
            if value is not None:
                return text_of(value)
        return "" if self._names else ANY_NAME


def _decoded(value: bytes) -> Mapped:
    """Decodes an event of our own; a tick is skipped, since it is of one partition of another topic."""
    try:
        event = decode_event(value)
    except RejectedRecord as error:
        return Mapped([], [error.detail[:_LONGEST_REASON]], [], [])
    return Mapped([], [], [], ["tick"]) if event.kind == "tick" else Mapped([event], [], [], [])


class _Elements:
    """Elements of a record, as a :class:`Fan` declares them; without one, the record itself."""

    def __init__(self, fan: Fan, missing: frozenset[str]) -> None:
        self.columns = listed(fan.each)
        self._readers = [reader_of(column) for column in self.columns]
        self._split = fan.split
        self._only = fan.only
        self._pairs = [(reader_of(column), reader_of(other)) for column, other in fan.only.items()]
        self._missing = missing

    def of(self, record: Record) -> Iterable[Record]:
        return self._parts(record) if self.columns else (record,)

    def _parts(self, record: Record) -> Iterator[Record]:
        lists = [self._list(read(record), column) for read, column in zip(self._readers, self.columns, strict=True)]
        if len({len(values) for values in lists}) > 1:
            sizes = ", ".join(f"{column} has {len(values)}" for column, values in zip(self.columns, lists, strict=True))
            raise BadValue(f"lists of one record differ in their number of elements: {sizes}")
        for number, values in enumerate(zip(*lists, strict=True)):
            part: Record = {**record, NUMBER_OF_ELEMENT: number}
            for column, value in zip(self.columns, values, strict=True):
                part = with_value(part, column, value)
            if all(self._text(own(part)) == self._text(other(record)) for own, other in self._pairs):
                yield part

    def lacking(self) -> str:
        """Describes what a record without an element lacks."""
        only = "".join(f" equal to {other}" for other in self._only.values())
        return f"{', '.join(self.columns)}{only}"

    def _list(self, value: object, column: str) -> list[object]:
        if value is None or (isinstance(value, str) and value.strip() in self._missing):
            return []
        if isinstance(value, list):
            return value
        if isinstance(value, str) and self._split:
            return list(value.split(self._split))
        raise BadValue(f"{column} is {str(value)[:40]!r}, not a list; for a text with separators, set split")

    def _text(self, value: object) -> str | None:
        found = scalar(value, self._missing)
        return None if found is None else text_of(found)


class _Maker:
    """Maker of the events of one rule."""

    def __init__(self, name: str, rule: Rule, mapping: Mapping) -> None:
        self._name = name
        self._kinds = [rule.kind, *rule.otherwise]
        self.elements = _Elements(rule, frozenset({"", *mapping.missing}))
        self._sources = mapping.fields | rule.fields
        self._getters = {field: field_getter(field, source, mapping) for field, source in self._sources.items()}
        self._timestamp_ms = _time_getter(mapping)

    def event(self, record: Record, own_id: str, suffix: str) -> Event | str:
        """Makes the event of one element, or says why it is left out.

        Raises:
            BadValue: A value cannot be that of its field, or a required one is missing.
            BadTime: The time cannot be read.
        """
        values: dict[str, object] = {}
        lacking: str | None = None
        for kind in self._kinds:
            if kind == SKIP:
                return f"{self._name} without {lacking}"
            lacking = self._read(kind, record, values)
            if lacking is None:
                break
        if lacking is not None:
            raise BadValue(f"a {kind} needs {lacking}, and {self._places(lacking)}")
        for field, getter in self._getters.items():
            if field not in values and (value := getter(record)) is not None:
                values[field] = value
        values["event_id"] = f"{values.get('event_id', own_id)}{suffix}"
        values["kind"] = kind
        values["timestamp_ms"] = self._timestamp_ms(record)
        try:
            event = msgspec.convert(values, Event)
            check_event(event)
        except msgspec.ValidationError as error:
            raise BadValue(self._explained(str(error), values)) from error
        except RejectedRecord as rejected:
            raise BadValue(rejected.detail) from rejected
        return event

    def _read(self, kind: Kind, record: Record, values: dict[str, object]) -> str | None:
        """Reads the fields that a kind requires; returns the first one that has no value."""
        for field in KINDS[kind].required:
            getter = self._getters.get(field)
            value = None if getter is None else getter(record)
            if value is None:
                return field
            values[field] = value
        return None

    def _places(self, field: str) -> str:
        source = self._sources.get(field)
        if source is None:
            return f'[fields] does not say which column has it: add {field} = "..."'
        columns = [column for columns in columns_of(source) for column in columns]
        return _without_value(columns)

    def _explained(self, error: str, values: dict[str, object]) -> str:
        complaint, _, path = error.partition(" - at `$.")
        field = path.removesuffix("`")
        value = values.get(field)
        advice = "set cut to shorten it" if isinstance(value, str) else "list it under missing if it means none"
        expected = f"{complaint[:1].lower()}{complaint[1:]}"
        return f"{field} {str(value)[:40]!r}: {expected}; {advice}, or leave such records out with drop"


def _without_value(columns: list[str]) -> str:
    return f"{' and '.join(columns)} {'has' if len(columns) == 1 else 'have'} no value"


def _time_getter(mapping: Mapping) -> Callable[[Record], int]:
    """Returns a function that reads the time of an event."""
    time = mapping.time
    if time is None:
        raise ConfigurationError("the mapping has no time")
    missing = frozenset({"", *mapping.missing})
    columns, parse, plus = listed(time.column), time_parser(time), time.plus
    readers = [reader_of(column) for column in columns]
    read_more = reader_of(plus.column) if plus is not None else None

    def timestamp_ms(record: Record) -> int:
        for read in readers:
            value = scalar(read(record), missing)
            if value is not None:
                begun_ms = parse(text_of(value))
                break
        else:
            raise BadTime(f"there is no time: {_without_value(columns)}")
        if plus is None or read_more is None:
            return begun_ms
        more = scalar(read_more(record), missing)
        if more is None:
            return begun_ms
        return checked_ms(begun_ms + duration_ms(text_of(more), plus.unit), text_of(more), plus.unit)

    return timestamp_ms
