"""Integers that are written with a fraction of zero, which JSON Schema takes for integers and the decoder does not."""

from typing import Any, Final

import msgspec

_COMPLAINT: Final = "got `float`"
_LARGEST: Final = float(1 << 53)


def as_integers(value: bytes, complaint: str) -> bytes | None:
    """Writes numbers such as ``5.0`` and ``2e3`` as integers; ``None`` if the complaint is of something else.

    >>> as_integers(b'{"n":5.0,"price":9.5}', "Expected `int`, got `float`")
    b'{"n":5,"price":9.5}'
    """
    if _COMPLAINT not in complaint:
        return None
    try:
        return msgspec.json.encode(_whole(msgspec.json.decode(value)))
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        return None


def _whole(value: Any) -> Any:
    match value:
        case float() if value.is_integer() and abs(value) <= _LARGEST:
            return int(value)
        case list():
            return [_whole(each) for each in value]
        case dict():
            return {name: _whole(each) for name, each in value.items()}
        case _:
            return value
