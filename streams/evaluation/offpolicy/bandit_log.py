"""Logs of single choices: a CSV of contexts, actions, propensities and rewards, or a folder of the Open Bandit data."""

from collections.abc import Iterator, Sequence
from math import isfinite
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np

from producers.delimited import Row, read_rows
from streams.contract.errors import UnreadableSource
from streams.evaluation.offpolicy.sums import Float64Array, Int64Array

_NEEDED: Final = ("action", "propensity", "reward")
_OPEN_BANDIT: Final = {"item_id": "action", "propensity_score": "propensity", "click": "reward"}
"""Column names of the Open Bandit data to those of this module."""
_ITEMS: Final = "item_context.csv"


class ChoiceLog(NamedTuple):
    """Logged choices, in the order of the file.

    Attributes:
        names: Names of the actions, by number: those of the log, then those that only a list of actions has.
        n_logged: Number of actions that the log has.
        actions: ``(n_rows,)``, as all other arrays except ``contexts``.
        positions: Positions as the file names them, ``None`` if it has no such column. With positions, the propensities
            are marginal, each at its position.
        contexts: ``(n_rows, n_features)``.
        users: Dense numbers; without a column ``user_id``, each row is another user.
        policies: Columns that have a policy's probability of the chosen action, by the policy's name.
    """

    names: list[str]
    n_logged: int
    actions: Int64Array
    propensities: Float64Array
    rewards: Float64Array
    positions: list[str] | None
    contexts: Float64Array
    users: Int64Array
    policies: dict[str, Float64Array]

    def part(self, rows: slice) -> "ChoiceLog":
        """Returns some of the rows; the actions keep their numbers."""
        return self._replace(
            actions=self.actions[rows],
            propensities=self.propensities[rows],
            rewards=self.rewards[rows],
            positions=None if self.positions is None else self.positions[rows],
            contexts=self.contexts[rows],
            users=self.users[rows],
            policies={name: column[rows] for name, column in self.policies.items()},
        )


def read_choices(path: Path, policies: Sequence[str] = (), actions: Path | None = None) -> ChoiceLog:
    """Reads a CSV, or the CSV of a campaign's folder of the Open Bandit data (``random/all``).

    Args:
        policies: Names of policies; a column with such a name has the policy's probability of the chosen action.
        actions: CSV with a column ``action``, the list of the actions that exist; a folder has its own list.

    Raises:
        UnreadableSource: A file or a column is missing, or a row cannot be read; the message names the line.
    """
    if not path.is_dir():
        return _listed(_read(path, {}, policies), actions, {})
    files = sorted(file for file in path.glob("*.csv") if file.name != _ITEMS)
    if len(files) != 1 or not (path / _ITEMS).is_file():
        raise UnreadableSource(f"{path} is not a folder of the Open Bandit data: it needs one log and {_ITEMS}")
    return _listed(_read(files[0], _OPEN_BANDIT, policies), actions or path / _ITEMS, _OPEN_BANDIT)


def _listed(log: ChoiceLog, actions: Path | None, renamed: dict[str, str]) -> ChoiceLog:
    if actions is None:
        return log
    listed = [row["action"] for _, row in _rows(actions, ("action",), renamed)]
    return log._replace(names=list(dict.fromkeys([*log.names, *listed])))


def read_table(path: Path) -> dict[tuple[str, str | None], float]:
    """Reads a policy without context: columns ``action``, ``probability`` and, if it matters, ``position``.

    Raises:
        UnreadableSource: As :func:`read_choices`, or the probabilities of a position do not sum to 1.
    """
    table: dict[tuple[str, str | None], float] = {}
    sums: dict[str | None, float] = {}
    for line, row in _rows(path, ("action", "probability"), {}):
        position = row.get("position")
        probability = _probability(path, line, "probability", row["probability"])
        table[row["action"], position] = probability
        sums[position] = sums.get(position, 0.0) + probability
    for position, total in sums.items():
        if abs(total - 1.0) > 1e-3:
            where = "" if position is None else f" of position {position}"
            raise UnreadableSource(f"{path}: the probabilities{where} sum to {total:.4f}; they must sum to 1")
    return table


def _read(path: Path, renamed: dict[str, str], policies: Sequence[str]) -> ChoiceLog:
    rows = list(_rows(path, _NEEDED, renamed))
    if not rows:
        raise UnreadableSource(f"{path} has no rows")
    columns = [name for name in rows[0][1] if name.startswith("context_")]
    numbers: dict[str, int] = {}
    users: dict[str, int] = {}
    propensities = [_propensity(path, line, row["propensity"]) for line, row in rows]
    names = list(dict.fromkeys(row["action"] for _, row in rows))
    own = [name for name in policies if name in rows[0][1] and name not in _NEEDED]
    return ChoiceLog(
        names=names,
        n_logged=len(names),
        actions=np.array([numbers.setdefault(row["action"], len(numbers)) for _, row in rows]),
        propensities=np.array(propensities),
        rewards=np.array([_number(path, line, "reward", row["reward"]) for line, row in rows]),
        positions=[row["position"] for _, row in rows] if "position" in rows[0][1] else None,
        contexts=np.array([[_number(path, line, name, row[name]) for name in columns] for line, row in rows]),
        users=np.array([users.setdefault(row.get("user_id", str(line)), len(users)) for line, row in rows]),
        policies={name: np.array([_probability(path, line, name, row[name]) for line, row in rows]) for name in own},
    )


def _rows(path: Path, needed: Sequence[str], renamed: dict[str, str]) -> Iterator[tuple[int, dict[str, str]]]:
    rows = read_rows(path)
    header = [renamed.get(name, name) for name in next(rows, Row(1, [])).cells]
    for name in needed:
        if name not in header:
            raise UnreadableSource(f"{path} has no column {name}: its header is {', '.join(header)!r}")
    for row in rows:
        yield row.line, dict(zip(header, row.cells, strict=True))


def _propensity(path: Path, line: int, text: str) -> float:
    propensity = _number(path, line, "propensity", text)
    if not 0.0 < propensity <= 1.0:
        raise UnreadableSource(
            f"{path}, line {line}: propensity is {text}; it must be above 0 and at most 1: a probability, not a"
            " percentage or a logarithm"
        )
    return propensity


def _probability(path: Path, line: int, name: str, text: str) -> float:
    probability = _number(path, line, name, text)
    if not 0.0 <= probability <= 1.0:
        raise UnreadableSource(f"{path}, line {line}: {name} is {text}, which is not a probability between 0 and 1")
    return probability


def _number(path: Path, line: int, name: str, text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = float("nan")
    if not isfinite(number):
        raise UnreadableSource(f"{path}, line {line}: {name} is {text!r}, not a number")
    return number
