"""Fields of an event that a mapping can fill, with their types."""

from collections.abc import Iterator
from typing import Final, Literal, get_args, get_type_hints

from streams.contract.events import Event

TypeName = Literal["text", "number", "integer"]

_NAMES: Final[dict[object, TypeName]] = {str: "text", float: "number", int: "integer"}
_OWN_TABLES: Final = {"kind", "timestamp_ms"}
"""Fields that a mapping declares under [events] and [time]."""


def _types() -> Iterator[tuple[str, TypeName]]:
    for field, hint in get_type_hints(Event).items():
        names = [_NAMES[part] for part in (hint, *get_args(hint)) if part in _NAMES]
        if names and field not in _OWN_TABLES:
            yield field, names[0]


FIELD_TYPES: Final = dict(_types())
"""Type of each field that is a text or a number."""
