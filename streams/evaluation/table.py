"""Examples from any table with a header: types are inferred, missing values get an indicator."""

import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from producers.delimited import STRICT, LeftOut, Row, read_rows
from streams.contract.errors import ConfigurationError, UnreadableSource
from streams.core.features.schema import FeatureSchema, schema_of
from streams.evaluation.columns import Column, missing_cells, number_of, read_column, read_times

Float64Array = NDArray[np.float64]

_POSITIVE: Final = frozenset({"true", "yes", "y", "t", "positive"})
_NAMELESS: Final = re.compile(r"(Unnamed: [0-9]+)?")
"""The name of an index column of pandas, and as pandas reads and writes it again."""


class Table(NamedTuple):
    """Examples of one label.

    Attributes:
        vectors: float32, ``(n, n_features)``; a missing number is 0 with its indicator 1.
        labels: 0 or 1, ``(n,)``.
        ordered: Whether the rows are in the order of a time column; otherwise their order has no meaning.
        raw: The same columns for a learner that reads codes and NaN, ``(n, n_columns)``.
        categorical: Whether each of those columns is a code.
        positive: Value of the label that is 1.
        negative: Value of the label that is 0.
        columns: Each column of the file, and what was inferred about it.
        warnings: Sentences about columns that may be other than the user thinks.
        known: Number of labels that were final when each example was predicted, ``(n,)``; ``None`` for all before it.
    """

    schema: FeatureSchema
    vectors: NDArray[np.float32]
    labels: Float64Array
    ordered: bool
    raw: Float64Array
    categorical: NDArray[np.bool_]
    positive: str
    negative: str
    columns: dict[str, str]
    warnings: tuple[str, ...] = ()
    known: NDArray[np.int64] | None = None


def read_table(
    path: Path,
    label: str | None,
    ignore: Sequence[str] = (),
    time: str | None = None,
    *,
    positive: str | None = None,
    left_out: LeftOut = STRICT,
) -> Table:
    """Reads a delimited file and infers its columns.

    Args:
        label: Name of the column to predict; it has two values.
        ignore: Columns to leave out.
        time: Column to order the rows by, a number or an ISO 8601 time; it is left out of the vectors.
        positive: Value of the label that is predicted; by default the rarer one.
        left_out: Takes the rows with another number of cells than the header, or without a label.

    Raises:
        UnreadableSource: The file or a line of it cannot be read; the message names the line.
        ConfigurationError: A named column is missing, or the label does not have two values.
    """
    names, rows = _read(path, left_out)
    known = ", ".join(filter(None, names))
    if label is None:
        raise ConfigurationError(f"name the column to predict with --label; {path.name} has {known}")
    for wanted in (label, time, *ignore):
        if wanted is not None and wanted not in names:
            raise ConfigurationError(f"{path.name} has no column {wanted!r}; it has {known}")
    rows = _labelled(path, label, names.index(label), rows, left_out)
    lines = [row.line for row in rows]
    columns = dict(zip(names, zip(*(row.cells for row in rows), strict=True), strict=True))
    labels, negative, positive = _labels(label, columns[label], positive)
    inferred = {label: f"label, {positive!r} is positive"}
    times = np.arange(len(labels), dtype=np.float64)
    if time is not None:
        times, kind = read_times(path, time, columns[time], lines)
        inferred[time] = f"order of the rows: {kind}"
    read: dict[str, Column] = {}
    for name in names:
        if name in ignore:
            inferred[name] = "left out: --ignore"
        elif _NAMELESS.fullmatch(name):
            inferred[name] = "left out: it has no name, as an index"
        elif name not in (label, time):
            read[name] = read_column(path, name, columns[name], lines)
            inferred[name] = read[name].inferred
    numbers = {name: values for column in read.values() for name, values in column.numbers.items()}
    indicators = {name: values for column in read.values() for name, values in column.indicators.items()}
    if not numbers and not indicators:
        raise ConfigurationError(f"{path.name} has no column that varies, other than the label")
    order = np.argsort(times, kind="stable")
    return Table(
        schema=schema_of(list(numbers), list(indicators)),
        vectors=np.column_stack([*numbers.values(), *indicators.values()]).astype(np.float32)[order],
        labels=labels[order],
        ordered=time is not None,
        raw=np.column_stack([column.raw for column in read.values()])[order],
        categorical=np.array([column.categorical for column in read.values()]),
        positive=positive,
        negative=negative,
        columns={name: inferred[name] for name in names},
        warnings=tuple(column.warning for column in read.values() if column.warning),
    )


def _read(path: Path, left_out: LeftOut) -> tuple[list[str], list[Row]]:
    numbered = read_rows(path, left_out)
    names = next(numbered, Row(1, [])).cells
    # A second column without a name is another level of an index.
    names = [name or f"Unnamed: {place}" if place else name for place, name in enumerate(names)]
    if len(set(names)) != len(names) or not any(names):
        raise UnreadableSource(f"{path}, line 1: every column needs its own name")
    rows = list(numbered)
    if not rows:
        raise UnreadableSource(f"{path}: there are no rows under the header")
    return names, rows


def _labelled(path: Path, label: str, place: int, rows: Sequence[Row], left_out: LeftOut) -> list[Row]:
    """Returns the rows that have a label."""
    kept = []
    for row, gone in zip(rows, missing_cells([row.cells[place] for row in rows]).tolist(), strict=True):
        if gone:
            left_out.add(path, row.line, f"the label {label} is missing")
        else:
            kept.append(row)
    if not kept:
        raise UnreadableSource(f"{path}: the label {label} is missing in every row")
    return kept


def _labels(name: str, cells: Sequence[str], positive: str | None) -> tuple[Float64Array, str, str]:
    """Returns the labels, and how the negative and the positive value are spelled most often."""
    spellings: dict[str, Counter[str]] = {}
    for cell, count in Counter(cells).items():
        spellings.setdefault(_value(cell), Counter())[cell] = count
    # By frequency; as frequent ones by meaning, by size, by name.
    values = sorted(spellings, key=lambda value: (-spellings[value].total(), *_rank(value)))
    shown = {value: min(spellings[value], key=lambda cell: (-spellings[value][cell], cell)) for value in values}
    if len(values) == 1:
        raise ConfigurationError(f"the label {name} is constant, {cells[0]!r} in every row: nothing can be learned")
    if len(values) > 2:
        some = ", ".join(sorted(shown.values())[:4])
        raise ConfigurationError(f"the label {name} has {len(values)} values, {some} ...; it needs to have two")
    if positive is not None:
        if _value(positive) not in values:
            raise ConfigurationError(
                f"--positive: the label {name} has no value {positive!r}; it has {shown[values[0]]}, {shown[values[1]]}"
            )
        values.sort(key=lambda value: value == _value(positive))
    of_cell = {cell: float(_value(cell) == values[1]) for cell in set(cells)}
    return np.array([of_cell[cell] for cell in cells]), shown[values[0]], shown[values[1]]


def _value(cell: str) -> str:
    """Returns what spellings of one value have in common: ``Yes`` and ``yes``, ``1`` and ``1.0``."""
    number = number_of(cell)
    return f"{number:.17g}" if np.isfinite(number) else cell.casefold()


def _rank(value: str) -> tuple[bool, float, str]:
    number = number_of(value)
    return value in _POSITIVE, number if np.isfinite(number) else 0.0, value
