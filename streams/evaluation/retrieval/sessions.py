"""Reader of session files: one visited item a line, or the views in a file of events."""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import Final

from producers.delimited import STRICT, Row, opened, parse_rows, read_rows, rereadable
from producers.formats.detection import detect
from producers.formats.format import Format
from producers.formats.reader import read_events
from streams.contract.errors import UnreadableSource
from streams.evaluation.retrieval.next_item import Visit

_COLUMNS: Final = (("session_id", "item_id", "time"), ("SessionId", "ItemId", "Time"))
_LATEST_S: Final = 253_402_300_799.0
"""The end of the year 9999; a larger number is not in seconds."""


def read_visits(files: Sequence[Path], forms: Sequence[Format] = ()) -> tuple[list[Visit], int]:
    """Reads files and merges them in the order of time; equal times stay in the order of the files and lines.

    Args:
        files: Delimited by commas, semicolons, tabs or ``|``, with a header that has ``session_id``, ``item_id`` and
            ``time``, or ``SessionId``, ``ItemId`` and ``Time``; a time is seconds since the epoch or ISO 8601, UTC if
            it has no zone. Other files are read in one of ``forms``: their views are the visits, and a shopper without
            sessions is one session.

    Returns:
        The visits, and the number of visits of the last file.

    Raises:
        UnreadableSource: A file or a column is missing, or a row cannot be read; the message names the line.
    """
    visits: list[Visit] = []
    before_last = 0
    for file in files:
        before_last = len(visits)
        visits += _read(file, forms)
    in_last = len(visits) - before_last
    visits.sort(key=lambda visit: visit.timestamp_ms)
    return visits, in_last


def _read(file: Path, forms: Sequence[Format]) -> Iterator[Visit]:
    with rereadable(file) as path:
        if (form := _form(path, forms)) is not None:
            for _, event in read_events(form, path):
                if event.kind == "view":
                    yield Visit(event.session_id or event.user_id or "", event.item_id or "", event.timestamp_ms)
            return
        rows = read_rows(path)
        names = next(rows, Row(1, [])).cells
        places = _places(file, names)
        for row in rows:
            yield _visit(file, row.line, row.cells, names, places)


def _form(path: Path, forms: Sequence[Format]) -> Format | None:
    """Returns the format of a file of events; ``None`` for a session file, and for one that is neither."""
    try:
        with opened(path) as stream:
            first = next(parse_rows(path, islice(stream, 1), STRICT), Row(1, []))
        is_of_sessions = any(set(columns) <= set(first.cells) for columns in _COLUMNS)
    except UnreadableSource:
        is_of_sessions = False
    try:
        return detect(path, forms).form if forms and not is_of_sessions else None
    except UnreadableSource:
        if len(forms) == 1:
            raise
        return None


def _places(file: Path, names: Sequence[str]) -> tuple[int, int, int]:
    for session_id, item_id, time in _COLUMNS:
        if {session_id, item_id, time} <= set(names):
            return names.index(session_id), names.index(item_id), names.index(time)
    missing = [name for name in _COLUMNS[0] if name not in names]
    raise UnreadableSource(
        f"{file} has no column {missing[0]}: its header is {', '.join(names)!r}; it needs {', '.join(_COLUMNS[0])}"
        f" (or {', '.join(_COLUMNS[1])}), separated by commas, semicolons, tabs or |, or one of the formats of "
        "`headrace replay`"
    )


def _visit(file: Path, line: int, row: Sequence[str], names: Sequence[str], places: tuple[int, int, int]) -> Visit:
    session_id, item_id, time = (row[place] for place in places)
    if not session_id or not item_id:
        raise UnreadableSource(f"{file}, line {line}: {names[places[bool(session_id)]]} is empty")
    return Visit(session_id, item_id, _timestamp_ms(file, line, time))


def _timestamp_ms(file: Path, line: int, time: str) -> int:
    try:
        seconds = float(time)
    except ValueError:
        try:
            at = datetime.fromisoformat(time)
        except ValueError:
            raise UnreadableSource(f"{file}, line {line}: {time!r} is not a time: give seconds or ISO 8601") from None
        at = at if at.tzinfo is not None else at.replace(tzinfo=UTC)
        return round(at.timestamp() * 1000)
    if not 0.0 <= seconds <= _LATEST_S:
        raise UnreadableSource(f"{file}, line {line}: {time} is not a time in seconds since the epoch")
    return round(seconds * 1000)
