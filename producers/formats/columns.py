"""Columns that a mapping needs."""

from collections.abc import Iterable, Iterator
from typing import Final

from producers.formats.format import NUMBER_OF_ELEMENT
from producers.formats.mapping import SKIP, FieldSource, Mapping, Rule, listed
from producers.formats.values import columns_of
from streams.contract.event_kinds import KINDS
from streams.contract.events import Event

ALWAYS_THERE: Final = frozenset({NUMBER_OF_ELEMENT})


def missing_columns(mapping: Mapping, names: Iterable[str]) -> list[str]:
    """Says which column is missing for what; empty if every field that is required can have a value.

    Args:
        names: Columns of a file.
    """
    there = {*names, *ALWAYS_THERE}
    said: dict[str, None] = {}
    for purpose, choices in _needs(mapping):
        if not any(there >= set(columns) for columns in choices):
            wanted = " or ".join(", ".join(sorted(set(columns) - there)) for columns in choices)
            said[f"there is no column {wanted} for {purpose}" if choices else f"the mapping has no {purpose}"] = None
    return list(said)


def mapped_fields(mapping: Mapping) -> set[str]:
    """Returns the fields of events that a mapping fills."""
    return {field for field, _ in _all_fields(mapping)}


def _needs(mapping: Mapping) -> Iterator[tuple[str, list[list[str]]]]:
    """Lists what every file must have: a purpose, and the columns that serve it, in one of several choices."""
    if mapping.columns:
        yield "the mapping's columns", [mapping.columns]
    if mapping.time is not None:
        yield "the time", [[column] for column in listed(mapping.time.column)]
        if mapping.time.plus is not None:
            yield "the time", [[mapping.time.plus.column]]
    if mapping.event_name:
        yield "the event's name", [[column] for column in listed(mapping.event_name)]
    for column in mapping.drop:
        yield "drop", [[column]]
    for rule in _rules(mapping):
        kind = rule.otherwise[-1] if rule.otherwise else rule.kind
        fields = mapping.fields | rule.fields
        for field in KINDS[kind].required if kind != SKIP else ():
            yield field, list(columns_of(fields[field])) if field in fields else []


def _all_fields(mapping: Mapping) -> Iterator[tuple[str, FieldSource]]:
    yield from mapping.fields.items()
    for rule in _rules(mapping):
        yield from rule.fields.items()


def _rules(mapping: Mapping) -> Iterator[Rule]:
    for name in mapping.events:
        yield from mapping.rules(name) or ()


def named_columns(mapping: Mapping) -> set[str]:
    """Returns all columns that a mapping names; those of our own events are their fields."""
    if mapping.layout == "native":
        return set(Event.__struct_fields__)
    sources = [columns for _, source in _all_fields(mapping) for columns in columns_of(source)]
    needs = [columns for _, choices in _needs(mapping) for columns in choices]
    return {column for columns in (*sources, *needs) for column in columns} - ALWAYS_THERE
