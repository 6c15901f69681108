"""The way a table is written changes nothing that is read from it."""

import csv
import gzip
import io
import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import cramjam
import msgspec
import numpy as np
import pytest

from producers.delimited import read_rows
from producers.formats.reader import read_events
from streams.contract.errors import UnreadableSource
from streams.contract.events import Event
from streams.evaluation.offpolicy.bandit_log import read_choices
from streams.evaluation.retrieval.sessions import read_visits
from streams.evaluation.table import read_table
from tests.producers.files import form_of, read_taobao

Cells = list[list[str]]
Writer = Callable[[Cells], bytes]

TABLE: Cells = [["price", "kind", "y"], *([f"{n}.25", "ab;,|"[n % 5], ["no", "yes"][n % 3 == 0]] for n in range(30))]
CHOICES: Cells = [
    ["action", "propensity", "reward", "context_a"],
    *([f"item, {n % 3}", "0.5", str(n % 2), f"{n}"] for n in range(12)),
]
VISITS: Cells = [["session_id", "item_id", "time"], *([str(n % 4), f"i{n % 3}", str(1000 + n)] for n in range(12))]
TAOBAO: Cells = [
    ["user_id", "item_id", "category_id", "behavior", "timestamp"],
    *([str(n % 4), str(n % 3), "7", "pv", str(1_511_600_000 + n)] for n in range(12)),
]
REES46: Cells = [
    ["event_time", "event_type", "product_id", "category_id", "category_code", "price", "user_id", "user_session"],
    *([f"2019-10-01 00:00:0{n % 9} UTC", "cart", str(n), "2", "a.b", "3.5", "u", "s"] for n in range(12)),
]


def table_of(path: Path) -> object:
    table = read_table(path, "y")
    order = np.argsort(table.schema.names)
    names = [table.schema.names[place] for place in order]
    return names, table.vectors[:, order].tolist(), table.labels.tolist(), table.positive


def choices_of(path: Path) -> object:
    log = read_choices(path)
    return log.names, [array.tolist() for array in (log.actions, log.propensities, log.rewards, log.contexts)]


def read_rees46(path: Path) -> Iterator[Event]:
    return (msgspec.structs.replace(event, event_id="e") for _, event in read_events(form_of("rees46"), path))


READERS: dict[str, tuple[Cells, Callable[[Path], object]]] = {
    "table": (TABLE, table_of),
    "choices": (CHOICES, choices_of),
    "visits": (VISITS, lambda path: read_visits([path])),
    "taobao": (TAOBAO, lambda path: [(event.user_id, event.timestamp_ms) for event in read_taobao(path)]),
    "rees46": (REES46, lambda path: list(read_rees46(path))),
}


def written(cells: Cells, *, delimiter: str = ",", quoting: int = csv.QUOTE_MINIMAL, end: str = "\n") -> bytes:
    text = io.StringIO()
    csv.writer(text, delimiter=delimiter, quoting=quoting, lineterminator=end).writerows(cells)  # type: ignore[arg-type]
    return text.getvalue().encode()


def spaced(cells: Cells) -> bytes:
    return b"\n".join(b" , ".join(f'"{cell}"'.encode() for cell in row) + b"  " for row in cells) + b"\n"


WAYS: dict[str, Writer] = {
    "quoted": lambda cells: written(cells, quoting=csv.QUOTE_ALL),
    "byte order mark": lambda cells: b"\xef\xbb\xbf" + written(cells),
    "carriage returns": lambda cells: written(cells, end="\r\n"),
    "semicolons": lambda cells: written(cells, delimiter=";"),
    "tabs": lambda cells: written(cells, delimiter="\t"),
    "blank lines": lambda cells: written(cells).replace(b"\n", b"\n  \n\n"),
    "no last end of line": lambda cells: written(cells).rstrip(),
    "spaces": spaced,
    "gz": lambda cells: gzip.compress(written(cells)),
    "zst": lambda cells: bytes(cramjam.zstd.compress(written(cells))),
}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("reader", READERS)
def test_another_way_of_writing_reads_the_same(reader: str, way: str, tmp_path: Path) -> None:
    cells, read = READERS[reader]
    plain, other = tmp_path / "plain.csv", tmp_path / "other.csv"
    plain.write_bytes(written(cells))
    other.write_bytes(WAYS[way](cells))
    assert read(other) == read(plain)


@pytest.fixture
def pipe(tmp_path: Path) -> Iterator[Callable[[bytes], Path]]:
    path = tmp_path / "pipe"
    os.mkfifo(path)
    writers: list[threading.Thread] = []

    def fill(content: bytes) -> Path:
        writers.append(threading.Thread(target=path.write_bytes, args=(content,)))
        writers[-1].start()
        return path

    yield fill
    for writer in writers:
        writer.join()


@pytest.mark.parametrize("way", ["tabs", "gz", "zst"])
@pytest.mark.parametrize("reader", READERS)
def test_a_pipe_reads_the_same(reader: str, way: str, pipe: Callable[[bytes], Path], tmp_path: Path) -> None:
    cells, read = READERS[reader]
    plain = tmp_path / "plain.csv"
    plain.write_bytes(written(cells))
    assert read(pipe(WAYS[way](cells))) == read(plain)


def test_other_columns_orders_and_constants_change_no_feature(tmp_path: Path) -> None:
    shuffled = [[row[2], "1" if n else "one", row[1], str(n - 1) if n else "", row[0]] for n, row in enumerate(TABLE)]
    plain, other = tmp_path / "plain.csv", tmp_path / "other.csv"
    plain.write_bytes(written(TABLE))
    other.write_bytes(written(shuffled))
    assert table_of(other) == table_of(plain)
    assert read_table(other, "y").columns == {
        "y": "label, 'yes' is positive",
        "one": "left out: 1 in every row",
        "kind": "category of 5 values",
        "Unnamed: 3": "left out: it has no name, as an index",
        "price": "number",
    }


@pytest.mark.parametrize("offset", [1_500_000_000, 1_700_000_000_000, -(2**40)])
def test_a_large_offset_of_a_number_changes_no_distance(offset: int, tmp_path: Path) -> None:
    path = tmp_path / "table.csv"
    path.write_bytes(written([["at", "y"], *([str(offset + n), str(n % 2)] for n in range(50))]))
    table = read_table(path, "y")
    assert np.diff(table.vectors[:, 0]).tolist() == [1.0] * 49
    assert "less its median" in table.columns["at"]


@pytest.mark.parametrize(
    ("cut", "complaint"),
    [
        (b"a,b,y\n1,2,0\n2,3,1\n3,", "line 4, the last one, has no end and cannot be read: there are 2 values for 3"),
        (b'a,b,y\n1,2,0\n2,3,1\n3,"x', "line 4"),
        (gzip.compress(written(TABLE))[:-20], "the compressed file is damaged or cut"),
        (bytes(cramjam.zstd.compress(written(TABLE)))[:-20], "the compressed file is damaged or cut"),
        ("a,y\n1,0\n".encode("utf-16"), "near line 1: UTF-16; save it as UTF-8"),
    ],
)
def test_a_file_that_was_cut_is_refused_and_says_where(cut: bytes, complaint: str, tmp_path: Path) -> None:
    path = tmp_path / "cut.csv"
    path.write_bytes(cut)
    with pytest.raises(UnreadableSource, match=complaint):
        list(read_rows(path))


def test_names_and_cells_may_hold_delimiters_quotes_and_ends_of_lines(tmp_path: Path) -> None:
    cells = [
        ["a;b;c;d", 'the "kind"\nof it', "y"],
        *([f"{n}.5", 'x, "y"\r\nz;' if n % 2 else "w", str(n % 2)] for n in range(6)),
    ]
    path = tmp_path / "table.csv"
    path.write_bytes(written(cells, quoting=csv.QUOTE_ALL))
    rows = list(read_rows(path))
    assert [row.cells for row in rows] == cells
    assert [row.line for row in rows] == [2, 3, 5, 6, 8, 9, 11]
