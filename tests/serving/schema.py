"""Validator of the part of JSON Schema that the contract uses; any other word of a schema is an error."""

import re
from collections.abc import Callable, Mapping
from typing import Any, Final

_TYPES: Final[Mapping[str, Callable[[Any], bool]]] = {
    "string": lambda value: isinstance(value, str),
    "integer": lambda value: _is_number(value) and value == int(value),
    "number": lambda value: isinstance(value, int | float) and not isinstance(value, bool),
    "null": lambda value: value is None,
    "array": lambda value: isinstance(value, list),
    "object": lambda value: isinstance(value, dict),
    "boolean": lambda value: isinstance(value, bool),
}
_ANNOTATIONS: Final = frozenset({"title", "description", "default", "examples", "discriminator"})


def _is_number(value: Any) -> bool:
    return _TYPES["number"](value)


def is_valid(value: Any, schema: Mapping[str, Any], schemas: Mapping[str, Any]) -> bool:
    """Says whether a value fits a schema; ``schemas`` are those that it refers to, by the last part of their name."""
    return all(_holds(word, value, schema, schemas) for word in schema if word not in _ANNOTATIONS)


def _holds(word: str, value: Any, schema: Mapping[str, Any], schemas: Mapping[str, Any]) -> bool:
    expected = schema[word]

    def fits(value: Any, inner: Mapping[str, Any]) -> bool:
        return is_valid(value, inner, schemas)

    rules: dict[str, Callable[[], bool]] = {
        "$ref": lambda: fits(value, schemas[expected.rpartition("/")[2]]),
        "type": lambda: _TYPES[expected](value),
        "enum": lambda: value in expected,
        "const": lambda: value == expected,
        "anyOf": lambda: any(fits(value, each) for each in expected),
        "oneOf": lambda: sum(fits(value, each) for each in expected) == 1,
        "not": lambda: not fits(value, expected),
        "required": lambda: not isinstance(value, dict) or all(name in value for name in expected),
        "properties": lambda: (
            not isinstance(value, dict)
            or all(fits(value[name], each) for name, each in expected.items() if name in value)
        ),
        "additionalProperties": lambda: (
            expected is not False or not isinstance(value, dict) or value.keys() <= schema["properties"].keys()
        ),
        "items": lambda: not isinstance(value, list) or all(fits(each, expected) for each in value),
        "uniqueItems": lambda: not isinstance(value, list) or len({repr(each) for each in value}) == len(value),
        "minItems": lambda: not isinstance(value, list) or len(value) >= expected,
        "maxItems": lambda: not isinstance(value, list) or len(value) <= expected,
        "minLength": lambda: not isinstance(value, str) or len(value) >= expected,
        "maxLength": lambda: not isinstance(value, str) or len(value) <= expected,
        "pattern": lambda: not isinstance(value, str) or re.search(expected, value) is not None,
        "minimum": lambda: not _is_number(value) or value >= expected,
        "maximum": lambda: not _is_number(value) or value <= expected,
        "exclusiveMaximum": lambda: not _is_number(value) or value < expected,
    }
    return rules[word]()
