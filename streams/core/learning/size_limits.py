"""Size limits of models: one that is too large is left out of the row and the global table, and reported."""

from collections.abc import Mapping
from typing import Any

from streams.contract.settings import Engine
from streams.core.models.mixture import MIXTURE, REPLACEMENT
from streams.core.models.registry import type_of
from streams.core.sums import int_sum

_SHARED = frozenset({"scale", MIXTURE})
_USABLE_SHARE = 0.95
"""Share of a limit that models may use; other fields of the row and the record need the rest."""


def oversized(
    state: Mapping[str, Any], evaluation: Mapping[str, Any], exported: Mapping[str, Any], limits: Engine
) -> dict[str, int]:
    """Returns the models of a target to leave out, with their bytes: the largest first, until the rest fits.

    Args:
        state: Packed arrays of the learner, ``<part>/<array>``.
        evaluation: Packed arrays that are never left out.
        exported: Model name to its packed parameters.
    """
    sizes: dict[str, int] = {}
    for name, (_, _, content) in state.items():
        part, separator, _ = name.partition("/")
        if separator and part not in _SHARED:
            sizes[part] = sizes.get(part, 0) + len(content)
    total = int_sum(len(content) for arrays in (state, evaluation) for _, _, content in arrays.values())
    gone: dict[str, int] = {}
    for model, arrays in exported.items():
        size = int_sum(len(content) for _, _, content in arrays.values())
        if size > _USABLE_SHARE * limits.max_output_bytes:
            gone[part_of(model)] = size
            total -= sizes.pop(part_of(model), 0)
    for part, size in sorted(sizes.items(), key=lambda entry: (-entry[1], entry[0])):
        if total <= _USABLE_SHARE * limits.max_row_bytes:
            break
        gone[part] = size
        total -= size
    return gone


def part_of(model: str) -> str:
    """Returns the name of a model's part of the state; all replacements share one name, whatever their number.

    >>> part_of("linear"), part_of("linear#2")
    ('linear', 'fresh')
    """
    return REPLACEMENT if type_of(model) != model else model


def without(state: Mapping[str, Any], gone: Mapping[str, int]) -> dict[str, Any]:
    """Returns the state without the arrays of some parts."""
    return {name: array for name, array in state.items() if name.partition("/")[0] not in gone}
