"""Columns of a table: their kind is inferred from the cells, and said."""

import re
import zlib
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from streams.contract.errors import UnreadableSource

Float64Array = NDArray[np.float64]
BoolArray = NDArray[np.bool_]

MAX_CATEGORIES: Final = 64
"""A column with more values than this is hashed into this number of categories."""

MAX_LEVELS: Final = 24
"""A number with at most so many values, all whole, also gets an indicator for each: it may be a code."""

MISSING: Final = frozenset(
    {"", "-", "?", "\\n", "na", "n/a", "#n/a", "#n/a n/a", "#na", "<na>", "nan", "-nan", "null", "none", "1.#ind"}
    | {"-1.#ind", "1.#qnan", "-1.#qnan"}
)
"""Spellings of a missing value, in lower case: those of pandas, R, Excel and SQL."""

LARGEST: Final = 1e19
"""The square of a larger number is no float32; the times of today in nanoseconds are smaller."""

_NUMBERS_SHARE: Final = 0.95
_ROUNDED_SHARE: Final = 1e-5
_FLOAT32_EPSILON: Final = 2.0**-24

_THOUSANDS: Final = re.compile(r"[+-]?([1-9][0-9]{0,2}([,\s'’][0-9]{3})+|[0-9]+)(\.[0-9]+)?")
_DECIMAL_COMMA: Final = re.compile(r"[+-]?([1-9][0-9]{0,2}([.\s'’][0-9]{3})+|[0-9]+)(,[0-9]+)?")
_SEPARATORS: Final = re.compile(r"[,.\s'’]")

_UNITS: Final = {"seconds": 1.0, "milliseconds": 1e3, "microseconds": 1e6, "nanoseconds": 1e9}
_YEARS_S: Final = (946_684_800.0, 4_102_444_800.0)
"""From 2000 to 2100."""


class Column(NamedTuple):
    """Features of a column.

    Attributes:
        raw: For a learner that reads codes and NaN.
        inferred: What was inferred, for the report.
        warning: What the user should look at; empty if nothing.
    """

    numbers: dict[str, Float64Array]
    indicators: dict[str, Float64Array]
    raw: Float64Array
    categorical: bool
    inferred: str
    warning: str = ""


class _Values(NamedTuple):
    """Values of cells as numbers of one kind; NaN where a cell is none."""

    values: Float64Array
    kind: str


def missing_cells(cells: Sequence[str]) -> BoolArray:
    """Returns whether each cell spells a missing value; a minus beside a plus is none."""
    spellings = MISSING - {"-"} if "+" in cells else MISSING
    return np.array([cell.lower() in spellings for cell in cells], np.bool_)


def number_of(cell: str) -> float:
    """Reads a number as Python writes it; NaN if the cell is none."""
    try:
        return float("nan") if "_" in cell else float(cell)
    except ValueError:
        return float("nan")


def read_column(path: Path, name: str, cells: Sequence[str], lines: Sequence[int]) -> Column:
    """Infers what a column is and makes features of it.

    Raises:
        UnreadableSource: Nearly all cells are numbers, and one is not, or is not finite; the message names the line.
    """
    missing = missing_cells(cells)
    values, kind = _numbers(cells, missing)
    readable = ~np.isnan(values) & ~missing
    present = int((~missing).sum())
    n_readable = int(readable.sum())
    if not present:
        return Column({}, {}, np.full(len(cells), np.nan), False, "left out: every value is missing")
    if n_readable < _NUMBERS_SHARE * present:
        unusable = ~missing & ~readable
        at = int(np.flatnonzero(unusable)[0])
        warning = f"{n_readable} of {present} values are numbers, and {cells[at]!r} in line {lines[at]} is not"
        return _categories(name, cells, missing, warning if 2 * n_readable > present else "")
    bad = ~missing & (~readable | ~(np.abs(values) <= LARGEST))
    if bad.any():
        at = int(np.flatnonzero(bad)[0])
        wrong = "but nearly all others are numbers" if not readable[at] else f"not a number up to {LARGEST:g} in size"
        raise UnreadableSource(
            f"{path}, line {lines[at]}: {name} is {cells[at]!r}, {wrong}; mend it, leave it empty, or --ignore {name}"
        )
    return _numeric(name, values, missing, kind)


def read_times(path: Path, name: str, cells: Sequence[str], lines: Sequence[int]) -> tuple[Float64Array, str]:
    """Reads a column to order rows by: numbers or ISO 8601 times, UTC without a zone; and says which.

    Raises:
        UnreadableSource: A cell is neither; the message names the line.
    """
    values, kind = _numbers(cells, np.zeros(len(cells), np.bool_))
    bad = ~np.isfinite(values)
    if bad.any():
        at = int(np.flatnonzero(bad)[0])
        raise UnreadableSource(f"{path}, line {lines[at]}: {name} is {cells[at]!r}, neither a number nor a time")
    return values, _with_unit(values, kind)


def _numbers(cells: Sequence[str], missing: BoolArray) -> _Values:
    """Reads the cells in the way that reads most of them."""
    best = _Values(_read(cells, missing, number_of), "number")
    n_present = int((~missing).sum())
    n_best = int((~np.isnan(best.values)).sum())
    for kind, read in _READERS.items():
        if n_best == n_present:
            break
        tried = _Values(_read(cells, missing, read), kind)
        n_tried = int((~np.isnan(tried.values)).sum())
        if n_tried > n_best:
            best, n_best = tried, n_tried
    return best


def _read(cells: Sequence[str], missing: BoolArray, read: Callable[[str], float]) -> Float64Array:
    nan = float("nan")
    return np.array([nan if gone else read(cell) for cell, gone in zip(cells, missing.tolist(), strict=True)])


def _with_thousands(cell: str) -> float:
    if _THOUSANDS.fullmatch(cell) is None:
        return number_of(cell)
    whole, point, decimals = cell.partition(".")
    return float(_SEPARATORS.sub("", whole) + point + decimals)


def _with_decimal_comma(cell: str) -> float:
    if _DECIMAL_COMMA.fullmatch(cell) is None:
        return float("nan")
    whole, _, decimals = cell.partition(",")
    return float(f"{_SEPARATORS.sub('', whole)}.{decimals}")


def _iso_time(cell: str) -> float:
    try:
        at = datetime.fromisoformat(cell.removesuffix(" UTC"))
    except ValueError:
        return float("nan")
    return (at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp()


_TIME: Final = "time, ISO 8601"
_READERS: Final[dict[str, Callable[[str], float]]] = {
    "number with thousands separators": _with_thousands,
    "number with decimal commas": _with_decimal_comma,
    _TIME: _iso_time,
}


def _with_unit(values: Float64Array, kind: str) -> str:
    """Names the unit of whole numbers that are times between 2000 and 2100."""
    if kind == "number" and (values == np.floor(values)).all():
        for unit, per_s in _UNITS.items():
            if _YEARS_S[0] * per_s <= values.min() and values.max() <= _YEARS_S[1] * per_s:
                return f"number, as a time {unit} since 1970"
    return kind


def _numeric(name: str, values: Float64Array, missing: BoolArray, kind: str) -> Column:
    gone = {f"{name}_missing": missing.astype(np.float64)} if missing.any() else {}
    inferred = _with_unit(values[~missing], kind) + (f", {int(missing.sum())} missing" if gone else "")
    raw = np.where(missing, np.nan, values)
    levels = np.unique(values[~missing])
    if len(levels) == 1:
        left_out = f"left out: {levels[0]:g} in every row" + (
            " that has a value; the indicator is kept" if gone else ""
        )
        return Column({}, gone, raw, False, left_out)
    numbers = np.where(missing, 0.0, values)
    if levels.tolist() == [0.0, 1.0]:
        return Column({}, {name: numbers} | gone, raw, False, inferred)
    coded = len(levels) <= MAX_LEVELS and (levels == np.floor(levels)).all()
    each = {f"{name}={level:g}": (values == level) & ~missing for level in levels.tolist()} if coded else {}
    indicators = {**{key: of.astype(np.float64) for key, of in each.items()}, **gone}
    present = values[~missing]
    centre = float(np.median(present))
    if np.abs(levels).max() * _FLOAT32_EPSILON > _ROUNDED_SHARE * present.std():
        # Before the numbers become float32, which would round their differences away.
        numbers = np.where(missing, 0.0, values - centre)
        inferred += f", less its median {centre:.17g}"
    return Column({name: numbers}, indicators, raw, False, inferred)


def _categories(name: str, cells: Sequence[str], missing: BoolArray, warning: str) -> Column:
    known = ["" if gone else cell for cell, gone in zip(cells, missing.tolist(), strict=True)]
    n_values = len(set(known) - {""})
    inferred = f"category of {n_values} values"
    if len(set(known)) > MAX_CATEGORIES:
        known = [f"#{zlib.crc32(cell.encode()) % MAX_CATEGORIES:02d}" if cell else cell for cell in known]
        inferred += f", hashed into {MAX_CATEGORIES}"
    if missing.any():
        inferred += f", {int(missing.sum())} missing"
    if warning or n_values > MAX_CATEGORIES:
        warning = f"{name} is taken as a {inferred}" + (f": {warning}" if warning else "")
    values, codes = np.unique(np.array(known), return_inverse=True)
    raw = np.where(missing, np.nan, codes.astype(np.float64))
    if len(values) == 1:
        return Column({}, {}, raw, True, f"left out: {values[0]!r} in every row")
    names = [f"{name}={value}" if value else f"{name}_missing" for value in values.tolist()]
    indicators = {each: (codes == code).astype(np.float64) for code, each in enumerate(names)}
    if len(values) == 2:
        del indicators[names[0]]
    return Column({}, indicators, raw, True, inferred, warning)
