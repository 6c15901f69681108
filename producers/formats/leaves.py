"""First lines of a file: what begins it, and the values of its JSON objects with their paths."""

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import msgspec

from producers.delimited import parse_lines

Leaf = tuple[str, object]
"""A path with dots, and its value."""


def begins(head: Sequence[bytes], *marks: bytes) -> bool:
    """Tells whether the first line begins with one of ``marks``."""
    return bool(head) and head[0].lstrip(b"\xef\xbb\xbf \t").startswith(marks)


def read_leaves(path: Path, head: Iterable[bytes]) -> Iterator[list[Leaf]]:
    """Lists the leaves of each line; ends at the first line that is not JSON, or too deep.

    Raises:
        UnreadableSource: The text cannot be decoded.
    """
    for line in parse_lines(path, head):
        try:
            leaves = list(_leaves(msgspec.json.decode(line.text), ""))
        except (msgspec.DecodeError, RecursionError):
            return
        yield leaves


def _leaves(value: object, prefix: str) -> Iterator[Leaf]:
    """Lists the values of an object with their paths; of a list, itself and those of its first element."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from _leaves(inner, f"{prefix}.{key}" if prefix else str(key))
        return
    yield prefix, value
    if isinstance(value, list):
        for element in value[:1]:
            yield from _leaves(element, prefix)
