"""Reader of files of a format: lines or rows, each mapped to its events."""

import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final, NamedTuple

from producers.delimited import STRICT, LeftOut, Row, cut_off, opened, parse_lines, parse_rows
from producers.formats.columns import missing_columns, named_columns
from producers.formats.format import Format, Mapped
from producers.formats.mapping import listed
from streams.contract.errors import UnreadableSource
from streams.contract.events import Event

_SHOWN: Final = 80
_NUMBER: Final = re.compile(r"[-+]?\d")


class Located(NamedTuple):
    """An event and the number of the line that it comes from."""

    line: int
    event: Event


def read_events(form: Format, path: Path, left_out: LeftOut = STRICT, part: str = "") -> Iterator[Located]:
    """Reads a file lazily, in the order of its lines, which may not be the order of time.

    Event ids without a column of their own are ``<format>-<line>``, the same at every reading.

    Args:
        left_out: Takes what gives no event.
        part: Distinguishes the files that are read together; a part of the event ids.

    Raises:
        UnreadableSource: The file cannot be read, lacks a column, was cut off, or ``left_out`` refuses a row; the
            message names the line.
    """
    with opened(path) as stream:
        yield from parse_events(form, path, stream, left_out, part)


def parse_events(
    form: Format, path: Path, stream: Iterable[bytes], left_out: LeftOut, part: str = ""
) -> Iterator[Located]:
    """Maps the lines of a file as :func:`read_events` does."""
    prefix = f"{form.name}-{part}-" if part else f"{form.name}-"
    if form.mapping.layout == "delimited":
        for row, mapped in _mapped_rows(form, path, stream, left_out, prefix):
            yield from _taken(path, row.line, row.ended, mapped, left_out)
        return
    for line in parse_lines(path, stream, form.mapping.encoding):
        if line.number == 1 and line.text.lstrip().startswith("["):
            raise UnreadableSource(
                f"{path} is a list in JSON, and read are objects, one a line: convert it, for example with jq -c '.[]'"
            )
        mapped = form.map_json(line.text.strip().encode(), f"{prefix}{line.number}")
        yield from _taken(path, line.number, line.ended, mapped, left_out)


def _taken(path: Path, line: int, ended: bool, mapped: Mapped, left_out: LeftOut) -> Iterator[Located]:
    """Yields the events of one record and counts what gave none."""
    if not ended and (mapped.refused or mapped.unknown):
        raise cut_off(path, line, (mapped.refused or mapped.unknown)[0])
    for event in mapped.events:
        yield Located(line, event)
    # Once a record: the bound is a share of the lines.
    if mapped.refused:
        left_out.add(path, line, mapped.refused[0])
    for name in mapped.unknown:
        left_out.add_unknown(path, line, name)
    for reason in mapped.skipped:
        left_out.add_skipped(reason)


def _mapped_rows(
    form: Format, path: Path, stream: Iterable[bytes], left_out: LeftOut, prefix: str
) -> Iterator[tuple[Row, Mapped]]:
    mapping = form.mapping
    rows = parse_rows(path, stream, left_out, mapping.separator, mapping.encoding)
    first = next(rows, None)
    if first is None:
        return
    names = _names(form, path, first)
    is_last_time = mapping.time is not None and names[-1] in listed(mapping.time.column)
    n_characters = 0
    if names is not first.cells:
        yield first, form.map(dict(zip(names, first.cells, strict=True)), f"{prefix}{first.line}")
        n_characters = len(first.cells[-1])
    for row in rows:
        last = row.cells[-1]
        if is_last_time and not row.ended and len(last) < n_characters:
            raise cut_off(path, row.line, f"the time {last} is shorter than the one before")
        n_characters = len(last)
        yield row, form.map(dict(zip(names, row.cells, strict=True)), f"{prefix}{row.line}")


def _names(form: Format, path: Path, first: Row) -> list[str]:
    """Returns the names of the columns: the first row itself if it is a header, or those that the mapping declares.

    A row without a number is a header, since an event has a time.

    Raises:
        UnreadableSource: A column that is needed is missing, or the number of columns is another one.
    """
    declared = form.mapping.columns
    n_known = len(set(declared) & set(first.cells))
    is_header = not declared or 2 * n_known > len(declared) or not any(_NUMBER.match(cell) for cell in first.cells)
    names = first.cells if is_header else declared
    if len(names) != len(first.cells):
        raise UnreadableSource(
            f"{path}, line {first.line}: {len(first.cells)} columns, and {form.name} has {len(declared)}: not "
            f"{','.join(declared)}: {','.join(first.cells)[:_SHOWN]!r}"
        )
    twice = [name for name in dict.fromkeys(names) if names.count(name) > 1 and name in named_columns(form.mapping)]
    if twice:
        raise UnreadableSource(f"{path}, line {first.line}: two columns have the name {twice[0]}; rename one")
    if missing := missing_columns(form.mapping, names):
        raise UnreadableSource(
            f"{path} is not in the format {form.name}: {'; '.join(missing)}. Its columns are {', '.join(names)[:400]}"
        )
    return names
