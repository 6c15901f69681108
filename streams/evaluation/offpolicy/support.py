"""Support: what a log can tell of a policy's choices, and ids of actions that are probably the same."""

import unicodedata
from collections.abc import Iterable, Sequence
from typing import Final

import numpy as np

from streams.contract.arrays import BoolArray
from streams.evaluation.offpolicy.sums import Float64Array, Int64Array

LARGEST_MISSING: Final = 0.01
"""Share of a policy's choices that may be absent from the log; the worst case of so few is bounded."""
_SHOWN: Final = 5


def logged_actions(actions: Int64Array, positions: Sequence[str] | None, n_actions: int) -> BoolArray:
    """Tells which actions the log has, at the same position if it has positions, ``(n_decisions, n_actions)``."""
    codes = np.zeros(len(actions), np.int64)
    if positions is not None:
        codes = np.unique(positions, return_inverse=True)[1]
    logged = np.zeros((int(codes.max()) + 1, n_actions), bool)
    logged[codes, actions] = True
    return logged[codes]


def missing_support(name: str, target: Float64Array, logged: BoolArray, names: Sequence[str]) -> str:
    """Says what a policy would choose that the log does not have; empty if it is little enough.

    Args:
        target: The policy's probabilities, ``(n_decisions, n_actions)``.
        logged: Actions of the log, same shape.
        names: Name of each action.
    """
    shares = np.where(logged, 0.0, target).mean(axis=0)
    share = float(shares.sum())
    if share <= LARGEST_MISSING:
        return ""
    absent = [names[place] for place in np.argsort(-shares, kind="stable") if shares[place] > 0.0]
    somewhere = [names[place] for place in np.flatnonzero(logged.any(axis=0)).tolist()]
    twins = [group for group in alike(names) if set(group) & set(absent) and set(group) & set(somewhere)]
    return (
        f"{name} gives {share:.1%} of its choices to {len(absent)} actions that were never logged, more than"
        f" {LARGEST_MISSING:.0%}: {_listed(map(repr, absent))}; nothing is known of their rewards"
        + (f". The same action may have several ids: {_listed(map(_of_twins, twins))}" if twins else "")
    )


def alike(names: Iterable[str]) -> list[list[str]]:
    """Returns groups of ids that differ only in case, spaces, leading zeros or a decimal ``.0``."""
    groups: dict[str, list[str]] = {}
    for name in names:
        groups.setdefault(_plain(name), []).append(name)
    return [group for group in groups.values() if len(group) > 1]


def alike_warning(names: Iterable[str]) -> str:
    """Warns of actions that are probably the same; empty if there are none."""
    groups = alike(names)
    if not groups:
        return ""
    return (
        f"ids of actions differ only in case or padding and count as different actions:"
        f" {_listed(map(_of_twins, groups))}; write each action in one way"
    )


def _plain(name: str) -> str:
    text = "".join(unicodedata.normalize("NFKC", name).casefold().split())
    whole, dot, decimals = text.partition(".")
    if dot and whole.isdigit() and not decimals.strip("0"):
        text = whole
    return text.lstrip("0") or text[:1]


def _of_twins(group: list[str]) -> str:
    return " and ".join(map(repr, group))


def _listed(texts: Iterable[str]) -> str:
    every = list(texts)
    return ", ".join(every[:_SHOWN]) + (", ..." if len(every) > _SHOWN else "")
