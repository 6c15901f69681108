"""Any table with a header, as examples: types are inferred, what is missing stays visible."""

import csv
import zlib
from collections.abc import Sequence
from datetime import UTC, datetime
from math import isfinite
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from streams.contract.errors import ConfigurationError, UnreadableSource
from streams.core.features.schema import FeatureSchema, schema_of

if TYPE_CHECKING:
    from _csv import Reader

Float64Array = NDArray[np.float64]

MAX_CATEGORIES: Final = 64
"""A column with more values than this is hashed into as many."""

MAX_LEVELS: Final = 24
"""A number with at most so many whole values is an indicator of each of them, too: it may be a code."""

_MISSING: Final = frozenset({"", "na", "nan", "null", "none", "?"})
_POSITIVE: Final = frozenset({"true", "yes", "y", "t", "positive"})
_NUMBERS_SHARE: Final = 0.95
_DELIMITERS: Final = ",;\t|"


class Table(NamedTuple):
    """Examples of one label.

    Attributes:
        vectors: float32, ``(n, n_features)``; a missing number is 0 with its indicator 1.
        labels: 0 or 1, ``(n,)``.
        ordered: Whether the rows are in the order of a time column; otherwise any order is as good.
        raw: The same columns for a learner that wants codes and NaN, ``(n, n_columns)``.
        categorical: Which of those columns are codes.
        known: How many of the examples were learned when each was predicted, ``(n,)``; ``None`` for all before it.
    """

    schema: FeatureSchema
    vectors: NDArray[np.float32]
    labels: Float64Array
    ordered: bool
    raw: Float64Array
    categorical: NDArray[np.bool_]
    known: NDArray[np.int64] | None = None


class _Column(NamedTuple):
    numbers: dict[str, Float64Array]
    indicators: dict[str, Float64Array]
    raw: Float64Array
    categorical: bool


def read_table(path: Path, label: str | None, ignore: Sequence[str] = (), time: str | None = None) -> Table:
    """Reads a delimited file; the delimiter is the one that cuts its header into the most names.

    Args:
        label: Name of the column to predict; it has two values.
        ignore: Columns to leave out.
        time: Column to order the rows by, a number or an ISO 8601 time; it is left out of the vectors.

    Raises:
        UnreadableSource: The file or a line of it cannot be read; the message names the line.
        ConfigurationError: A named column is not there, or the label is not one of two values.
    """
    names, rows, lines = _read(path)
    if label is None:
        raise ConfigurationError(f"name the column to predict with --label; {path.name} has {', '.join(names)}")
    for wanted in (label, time, *ignore):
        if wanted is not None and wanted not in names:
            raise ConfigurationError(f"{path.name} has no column {wanted!r}; it has {', '.join(names)}")
    columns = dict(zip(names, zip(*rows, strict=True), strict=True))
    labels = _labels(path, label, columns[label], lines)
    left_out = {label, time, *ignore}
    read = [_column(path, name, columns[name], lines) for name in names if name not in left_out]
    numbers = {name: values for column in read for name, values in column.numbers.items()}
    indicators = {name: values for column in read for name, values in column.indicators.items()}
    if not numbers and not indicators:
        raise ConfigurationError(f"{path.name} has no column that varies, other than the label")
    schema = schema_of(list(numbers), list(indicators))
    vectors = np.column_stack([*numbers.values(), *indicators.values()]).astype(np.float32)
    raw = np.column_stack([column.raw for column in read])
    order = np.argsort(_times(path, time, columns[time], lines), kind="stable") if time else np.arange(len(labels))
    categorical = np.array([column.categorical for column in read])
    return Table(schema, vectors[order], labels[order], time is not None, raw[order], categorical)


def _read(path: Path) -> tuple[list[str], list[list[str]], list[int]]:
    try:
        with path.open(encoding="utf-8-sig", newline="") as text:
            header = text.readline()
            delimiter = max(_DELIMITERS, key=header.count)
            text.seek(0)
            reader = csv.reader(text, delimiter=delimiter, strict=True)
            return _rows(path, reader)
    except OSError as error:
        raise UnreadableSource(f"{path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        line = path.read_bytes()[: error.start].count(b"\n") + 1
        raise UnreadableSource(f"{path}, near line {line}: not UTF-8") from error


def _rows(path: Path, reader: "Reader") -> tuple[list[str], list[list[str]], list[int]]:
    rows: list[list[str]] = []
    lines: list[int] = []
    try:
        names = [name.strip() for name in next(reader, [])]
        for row in reader:
            if row:
                rows.append([cell.strip() for cell in row])
                lines.append(reader.line_num)
                if len(row) != len(names):
                    raise UnreadableSource(
                        f"{path}, line {reader.line_num}: {len(row)} fields, and the header has {len(names)}"
                    )
    except csv.Error as error:
        raise UnreadableSource(f"{path}, line {reader.line_num}: {error}") from error
    if len(set(names)) != len(names) or not all(names):
        raise UnreadableSource(f"{path}, line 1: every column needs a name of its own")
    if not rows:
        raise UnreadableSource(f"{path}: there are no rows under the header")
    return names, rows, lines


def _labels(path: Path, name: str, cells: Sequence[str], lines: Sequence[int]) -> Float64Array:
    for cell, line in zip(cells, lines, strict=True):
        if cell.lower() in _MISSING:
            raise UnreadableSource(f"{path}, line {line}: the label {name} is missing")
    values = sorted(set(cells), key=_rank)
    if len(values) == 1:
        raise ConfigurationError(f"the label {name} is constant, {values[0]!r} in every row: nothing can be learned")
    if len(values) > 2:
        raise ConfigurationError(
            f"the label {name} has {len(values)} values, {', '.join(values[:4])} ...; it needs to have two"
        )
    return np.array([cell == values[1] for cell in cells], np.float64)


def _rank(value: str) -> tuple[bool, float, str]:
    """Orders the two values of a label, the positive one last: by size, by meaning, by name."""
    number = _number(value)
    return value.lower() in _POSITIVE, number if isfinite(number) else 0.0, value


def _column(path: Path, name: str, cells: Sequence[str], lines: Sequence[int]) -> _Column:
    missing = np.array([cell.lower() in _MISSING for cell in cells])
    values = np.array([0.0 if gone else _number(cell) for cell, gone in zip(cells, missing.tolist(), strict=True)])
    readable = np.isfinite(values) & ~missing
    present = int((~missing).sum())
    if readable.sum() < _NUMBERS_SHARE * present or not present:
        return _categories(name, cells, missing)
    if (~missing & ~readable).any():
        at = int(np.flatnonzero(~missing & ~readable)[0])
        raise UnreadableSource(f"{path}, line {lines[at]}: {name} is {cells[at]!r}, and nearly all others are numbers")
    gone = {f"{name}_missing": missing.astype(np.float64)} if missing.any() else {}
    raw = np.where(missing, np.nan, values)
    levels = np.unique(values[~missing])
    if len(levels) == 1:
        return _Column({}, gone, raw, categorical=False)
    if levels.tolist() == [0.0, 1.0]:
        return _Column({}, {name: values} | gone, raw, categorical=False)
    coded = len(levels) <= MAX_LEVELS and (levels == np.floor(levels)).all()
    each = {f"{name}={level:g}": (values == level) & ~missing for level in levels.tolist()} if coded else {}
    return _Column({name: values}, {**{key: of.astype(np.float64) for key, of in each.items()}, **gone}, raw, False)


def _categories(name: str, cells: Sequence[str], missing: NDArray[np.bool_]) -> _Column:
    known = ["" if gone else cell for cell, gone in zip(cells, missing.tolist(), strict=True)]
    if len(set(known)) > MAX_CATEGORIES:
        known = [f"#{zlib.crc32(cell.encode()) % MAX_CATEGORIES:02d}" if cell else cell for cell in known]
    values, codes = np.unique(np.array(known), return_inverse=True)
    raw = np.where(missing, np.nan, codes.astype(np.float64))
    if len(values) == 1:
        return _Column({}, {}, raw, categorical=True)
    names = [f"{name}={value}" if value else f"{name}_missing" for value in values.tolist()]
    indicators = {each: (codes == code).astype(np.float64) for code, each in enumerate(names)}
    if len(values) == 2:
        del indicators[names[0]]
    return _Column({}, indicators, raw, categorical=True)


def _times(path: Path, name: str, cells: Sequence[str], lines: Sequence[int]) -> Float64Array:
    times = np.array([_time(cell) for cell in cells])
    if not np.isfinite(times).all():
        at = int(np.flatnonzero(~np.isfinite(times))[0])
        raise UnreadableSource(f"{path}, line {lines[at]}: {name} is {cells[at]!r}, neither a number nor a time")
    return times


def _time(cell: str) -> float:
    number = _number(cell)
    if isfinite(number):
        return number
    try:
        at = datetime.fromisoformat(cell)
    except ValueError:
        return float("nan")
    return (at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp()


def _number(cell: str) -> float:
    try:
        return float(cell)
    except ValueError:
        return float("nan")
