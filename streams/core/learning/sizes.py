"""Members that are too large: left out of the row and of the feed, and named, before they could stop a worker."""

from collections.abc import Mapping
from typing import Any

from streams.contract.settings import Engine
from streams.core.models.members import kind_of

_SHARED = frozenset({"scale"})
_ROOM = 0.95
"""Of a limit: the rest of a row, and of a record, needs some."""


def oversized(
    state: Mapping[str, Any], evaluation: Mapping[str, Any], exported: Mapping[str, Any], limits: Engine
) -> dict[str, int]:
    """Names the parts of a family that have to go, with their bytes: the largest first, until what is left fits.

    Args:
        state: Packed arrays of the learner, ``<part>/<array>``.
        evaluation: Packed arrays that stay, whatever goes.
        exported: Member to its packed parameters.
    """
    sizes: dict[str, int] = {}
    for name, (_, _, content) in state.items():
        part, separator, _ = name.partition("/")
        if separator and part not in _SHARED:
            sizes[part] = sizes.get(part, 0) + len(content)
    total = sum(len(content) for arrays in (state, evaluation) for _, _, content in arrays.values())
    gone: dict[str, int] = {}
    for member, arrays in exported.items():
        size = sum(len(content) for _, _, content in arrays.values())
        if size > _ROOM * limits.max_output_bytes:
            gone[part_of(member)] = size
            total -= sizes.pop(part_of(member), 0)
    for part, size in sorted(sizes.items(), key=lambda entry: (-entry[1], entry[0])):
        if total <= _ROOM * limits.max_row_bytes:
            break
        gone[part] = size
        total -= size
    return gone


def part_of(member: str) -> str:
    """Names the part of a family's state that a member is: a fresh challenger's has one name, whatever its number.

    >>> part_of("linear"), part_of("linear#2")
    ('linear', 'fresh')
    """
    return "fresh" if kind_of(member) != member else member


def without(state: Mapping[str, Any], gone: Mapping[str, int]) -> dict[str, Any]:
    """Leaves out the arrays of parts."""
    return {name: array for name, array in state.items() if name.partition("/")[0] not in gone}
