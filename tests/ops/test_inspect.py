"""Reading a data directory that no worker, a running worker or a killed worker holds."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from rocksdict import Options, Rdict

from streams.admin.inspection import View, dump_view, find_tables, scan_tables
from streams.contract.errors import UnreadableSource


def write_table(data_dir: Path, name: str, rows: dict[bytes, bytes]) -> None:
    path = data_dir / "v1" / "tables" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    table = Rdict(str(path), options=Options(raw_mode=True))
    for key, value in rows.items():
        table[key] = value
    table.close()


def render_row(key: bytes, value: bytes) -> dict[str, str]:
    return {"key": key.decode(), "value": value.decode()}


def test_rows_come_by_partition_and_key_without_the_reserved_ones(tmp_path: Path) -> None:
    write_table(tmp_path, "users-10.db", {b"c": b"3"})
    write_table(tmp_path, "users-2.db", {b"b": b"2", b"a": b"1", b"\x00partition": b"p", b"__faust\x00offset__": b"7"})
    write_table(tmp_path, "users-log-2.db", {b"x": b"other table"})
    write_table(tmp_path, "items-2.db", {b"x": b"other table"})
    assert list(scan_tables(tmp_path, "users")) == [(2, b"a", b"1"), (2, b"b", b"2"), (10, b"c", b"3")]


def test_a_row_is_one_line_of_json_with_its_partition(tmp_path: Path) -> None:
    write_table(tmp_path, "users-3.db", {b"a": b"1"})
    (line,) = dump_view(tmp_path, View("users", f"{__name__}:render_row"))
    assert json.loads(line) == {"partition": 3, "key": "a", "value": "1"}


def test_a_reader_may_stop_early_and_read_again(tmp_path: Path) -> None:
    write_table(tmp_path, "users-0.db", {b"a": b"1", b"b": b"2"})
    for _ in range(2):
        rows = scan_tables(tmp_path, "users")
        assert isinstance(rows, Iterator)
        assert next(rows) == (0, b"a", b"1")
        del rows


WRITER = """
import sys, time
from rocksdict import Options, Rdict
table = Rdict(sys.argv[1], options=Options(raw_mode=True))
table[b"a"] = b"1"
print("written", flush=True)
time.sleep(86400)
"""


def test_rows_of_a_worker_that_runs_or_was_killed_are_read_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "tables" / "users-0.db"
    path.parent.mkdir()
    with subprocess.Popen([sys.executable, "-c", WRITER, str(path)], stdout=subprocess.PIPE, text=True) as writer:
        assert writer.stdout is not None
        assert writer.stdout.readline() == "written\n"
        try:
            assert list(scan_tables(tmp_path, "users")) == [(0, b"a", b"1")]
        finally:
            os.kill(writer.pid, signal.SIGKILL)
    assert list(scan_tables(tmp_path, "users")) == [(0, b"a", b"1")]
    table = Rdict(str(path), options=Options(raw_mode=True))
    assert table[b"a"] == b"1"
    table.close()


def test_a_directory_without_the_table_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(UnreadableSource, match="no table users"):
        list(scan_tables(tmp_path, "users"))


def test_two_tables_of_one_partition_are_not_mixed(tmp_path: Path) -> None:
    write_table(tmp_path / "one", "users-0.db", {b"a": b"1"})
    write_table(tmp_path / "two", "users-0.db", {b"a": b"2"})
    with pytest.raises(UnreadableSource, match="both partition 0"):
        find_tables(tmp_path, "users")


def test_a_table_that_does_not_open_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "tables" / "users-0.db").mkdir(parents=True)
    with pytest.raises(UnreadableSource, match="does not open"):
        list(scan_tables(tmp_path, "users"))
