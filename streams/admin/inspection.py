"""Reader of the tables of a data directory, without a worker: one JSON line a row."""

import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from pkgutil import resolve_name
from typing import Any, Final, NamedTuple, cast

import orjson
from rocksdict import AccessType, Options, Rdict

from streams.contract.errors import UnreadableSource

Render = Callable[[bytes, bytes], dict[str, Any]]
"""Turns one key and one encoded row into plain values."""

_RESERVED: Final = (b"\x00", b"__faust")


class View(NamedTuple):
    """One kind of row: its table, and ``module:function`` of its :data:`Render`."""

    table: str
    render: str


VIEWS: Final = {
    "users": View("users", "streams.core.behaviour.row_view:user_view"),
    "items": View("items", "streams.core.items.fold:render_item"),
    "models": View("learners", "streams.core.learning:learner_view"),
}


def dump_view(data_dir: Path, view: View) -> Iterator[bytes]:
    """Yields each row of a view as one line of JSON, without the line's end.

    Raises:
        UnreadableSource: See :func:`scan_tables`.
    """
    rows = scan_tables(data_dir, view.table)
    render = cast(Render, resolve_name(view.render))
    for partition, key, value in rows:
        row = {"partition": partition, **render(key, value)}
        yield orjson.dumps(row, option=orjson.OPT_SERIALIZE_NUMPY | orjson.OPT_NON_STR_KEYS)


def scan_tables(data_dir: Path, table: str) -> Iterator[tuple[int, bytes, bytes]]:
    """Returns ``(partition, key, encoded row)`` of every row of a table, by partition and key.

    The tables are opened read-only, so a worker may be running; its later writes are not visible. Reserved keys (the
    partition row, Faust's offset) are left out.

    Raises:
        UnreadableSource: There is no such table below ``data_dir``, or two of one partition, or one does not open.
    """
    return _rows(find_tables(data_dir, table))


def read_row(data_dir: Path, table: str, partition: int, key: bytes) -> bytes | None:
    """Reads one encoded row, ``None`` if there is none.

    Raises:
        UnreadableSource: See :func:`scan_tables`; or the partition is in another data directory.
    """
    tables = find_tables(data_dir, table)
    if partition not in tables:
        raise UnreadableSource(
            f"{data_dir} has no partition {partition} of {table}: another worker has it; use its data directory"
        )
    database = _open(tables[partition])
    try:
        return cast("bytes | None", database.get(key))
    finally:
        database.close()


def _rows(tables: Mapping[int, Path]) -> Iterator[tuple[int, bytes, bytes]]:
    for partition, path in sorted(tables.items()):
        database = _open(path)
        try:
            for key, value in database.items():
                if not cast(bytes, key).startswith(_RESERVED):
                    yield partition, cast(bytes, key), cast(bytes, value)
        finally:
            database.close()


def find_tables(data_dir: Path, table: str) -> dict[int, Path]:
    """Finds the directory of each partition of a table.

    Raises:
        UnreadableSource: There is none below ``data_dir``, or there are two of one partition.
    """
    tables: dict[int, Path] = {}
    name = re.compile(rf"{re.escape(table)}-(\d+)\.db")
    for path in sorted(data_dir.rglob(f"tables/{table}-*.db")):
        if not (match := name.fullmatch(path.name)):
            continue
        partition = int(match[1])
        if partition in tables:
            raise UnreadableSource(
                f"{tables[partition]} and {path} are both partition {partition}: choose one directory"
            )
        tables[partition] = path
    if not tables:
        raise UnreadableSource(f"{data_dir} has no table {table}: is it the data directory of a worker that has run?")
    return tables


def _open(path: Path) -> Rdict:
    # There is a write-ahead log if a worker runs or was killed; its rows are read, too.
    access = AccessType.read_only(error_if_log_file_exist=False)
    try:
        return Rdict(str(path), options=Options(raw_mode=True), access_type=access)
    except Exception as error:  # rocksdict raises plain Exception
        raise UnreadableSource(f"{path} does not open: {error}") from error
