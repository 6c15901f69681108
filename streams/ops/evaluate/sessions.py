"""Files of sessions: one visited item a line."""

import csv
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from streams.contract.errors import UnreadableSource
from streams.core.retrieval.evaluation import Visit

_COLUMNS: Final = (("session_id", "item_id", "time"), ("SessionId", "ItemId", "Time"))
_LATEST_S: Final = 253_402_300_799.0
"""The end of the year 9999; a larger number was no seconds."""


def read_visits(files: Sequence[Path]) -> tuple[list[Visit], int]:
    """Reads files and merges them in the order of time; equal times stay in the order of the files and lines.

    Args:
        files: Delimited by commas or tabs, with a header that has ``session_id``, ``item_id`` and ``time``, or
            ``SessionId``, ``ItemId`` and ``Time``; a time is seconds since the epoch or ISO 8601, UTC where it names no
            zone.

    Returns:
        The visits, and how many of them the last file has.

    Raises:
        UnreadableSource: A file or a column is missing, or a row cannot be read; the message names the line.
    """
    visits: list[Visit] = []
    before_last = 0
    for file in files:
        before_last = len(visits)
        visits += _read(file)
    in_last = len(visits) - before_last
    visits.sort(key=lambda visit: visit.timestamp_ms)
    return visits, in_last


def _read(file: Path) -> Iterator[Visit]:
    try:
        with file.open(encoding="utf-8-sig", newline="") as lines:
            header = lines.readline().rstrip("\r\n")
            delimiter = "\t" if "\t" in header else ","
            names = header.split(delimiter)
            places = _places(file, names)
            rows = csv.reader(lines, delimiter=delimiter)
            for row in rows:
                if row:
                    yield _visit(file, rows.line_num + 1, row, names, places)
    except UnicodeDecodeError as error:
        raise UnreadableSource(f"{file} is no text in UTF-8: {error}") from error
    except csv.Error as error:
        raise UnreadableSource(f"{file}, line {rows.line_num + 1}: {error}") from error
    except OSError as error:
        raise UnreadableSource(f"{file}: {error.strerror}") from error


def _places(file: Path, names: Sequence[str]) -> tuple[int, int, int]:
    for session_id, item_id, time in _COLUMNS:
        if {session_id, item_id, time} <= set(names):
            return names.index(session_id), names.index(item_id), names.index(time)
    missing = [name for name in _COLUMNS[0] if name not in names]
    raise UnreadableSource(
        f"{file} has no column {missing[0]}: its header is {', '.join(names)!r}; it needs {', '.join(_COLUMNS[0])}"
        f" (or {', '.join(_COLUMNS[1])}), separated by commas or tabs"
    )


def _visit(file: Path, line: int, row: Sequence[str], names: Sequence[str], places: tuple[int, int, int]) -> Visit:
    if len(row) != len(names):
        raise UnreadableSource(f"{file}, line {line}: there are {len(row)} values for {len(names)} columns")
    session_id, item_id, time = (row[place].strip() for place in places)
    if not session_id or not item_id:
        raise UnreadableSource(f"{file}, line {line}: {names[places[bool(session_id)]]} is empty")
    return Visit(session_id, item_id, _timestamp_ms(file, line, time))


def _timestamp_ms(file: Path, line: int, time: str) -> int:
    try:
        seconds = float(time)
    except ValueError:
        try:
            moment = datetime.fromisoformat(time)
        except ValueError:
            raise UnreadableSource(f"{file}, line {line}: {time!r} is no time: give seconds or ISO 8601") from None
        moment = moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)
        return round(moment.timestamp() * 1000)
    if not 0.0 <= seconds <= _LATEST_S:
        raise UnreadableSource(f"{file}, line {line}: {time} are no seconds since the epoch")
    return round(seconds * 1000)
