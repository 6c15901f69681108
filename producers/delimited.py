"""Reader of files of lines and of delimited text: plain, gz or zst, from a file, a pipe or standard input."""

import csv
import gzip
import re
import shutil
import sys
import zlib
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from itertools import chain
from pathlib import Path
from tempfile import NamedTemporaryFile, TemporaryDirectory
from typing import IO, Final, NamedTuple, cast

import cramjam

from streams.contract.errors import UnreadableSource

STANDARD_INPUT: Final = Path("-")

ALLOWED_ROWS: Final = 10
ALLOWED_SHARE: Final = 0.01
"""A file may have this number of bad rows, and this share of its lines more."""

_DELIMITERS: Final = ",;\t|"
_GZIP: Final = b"\x1f\x8b"
_ZSTD: Final = b"\x28\xb5\x2f\xfd"
_MAGIC: Final = 6
_UNPACK: Final = "unpack it first"
_FOREIGN: Final = {
    b"PK\x03\x04": ("a zip archive", _UNPACK),
    b"7z\xbc\xaf\x27\x1c": ("a 7z archive", _UNPACK),
    b"BZh": ("compressed with bzip2", _UNPACK),
    b"\xfd7zXZ\x00": ("compressed with xz", _UNPACK),
    b"PAR1": ("a Parquet file", "convert it to CSV or to JSON lines"),
}
_UTF_16: Final = (b"\xff\xfe", b"\xfe\xff")
_UNIT_SEPARATOR: Final = "\x1f"
_SHOWN: Final = 5
_MAX_NAMES: Final = 100


class LeftOut:
    """Rows of one file that give no event: bad ones, up to a bound, and those whose event has no place here.

    Args:
        strict: Refuse the first bad row, and the first unknown name.

    Attributes:
        count: Bad rows that were left out.
        shown: The first few, each a line number and a reason.
        unknown: Number of events by name, of names that the format's mapping does not know.
        skipped: Number of events by name or reason that the mapping leaves out on purpose.
    """

    def __init__(self, strict: bool = False) -> None:
        self.count = 0
        self.shown: list[str] = []
        self.unknown: Counter[str] = Counter()
        self.skipped: Counter[str] = Counter()
        self._strict = strict

    def add(self, path: Path, line: int, reason: str) -> None:
        """Counts a bad row.

        Raises:
            UnreadableSource: No bad row is allowed, or there are too many; the message names the line.
        """
        if self._strict:
            raise UnreadableSource(f"{path}, line {line}: {reason}")
        if self.count >= ALLOWED_ROWS + int(ALLOWED_SHARE * line):
            raise UnreadableSource(
                f"{path}, line {line}: {reason}; {self.count} rows before it are bad, too, more than "
                f"{ALLOWED_ROWS} and {ALLOWED_SHARE:.0%} of the lines. {'; '.join(self.shown)}"
            )
        self.count += 1
        if len(self.shown) < _SHOWN:
            self.shown.append(f"line {line}: {reason}")

    def add_unknown(self, path: Path, line: int, name: str) -> None:
        """Counts an event of a name that the mapping does not know.

        Raises:
            UnreadableSource: It is strict.
        """
        if self._strict:
            raise UnreadableSource(f"{path}, line {line}: {unknown_advice(repr(name[:40]))}")
        count_name(self.unknown, name)

    def add_skipped(self, reason: str) -> None:
        """Counts an event that the mapping leaves out on purpose."""
        count_name(self.skipped, reason)

    def sentences(self, path: Path) -> list[str]:
        """Returns what the user should know: the bad rows, and the unknown names."""
        said = []
        if self.count:
            more = "; ..." if self.count > len(self.shown) else ""
            said.append(
                f"{path}: {self.count} bad rows are left out (--strict refuses them): {'; '.join(self.shown)}{more}"
            )
        if self.unknown:
            said.append(f"{path}: {self.unknown.total():,} events are left out: {self._unknown_names()}")
        return said

    def reasons(self) -> str:
        """Returns why a file has no events; empty if nothing was left out."""
        reasons = [*self.shown]
        if self.unknown:
            reasons.append(self._unknown_names())
        if self.skipped:
            reasons.append(f"skipped are {_counted(self.skipped)}")
        return "; ".join(reasons)

    def _unknown_names(self) -> str:
        return unknown_advice(_counted(self.unknown))


def unknown_advice(names: str) -> str:
    """Says what to do about names of events that a mapping does not know."""
    return f'the mapping does not know the event {names}: add it under [events], with a kind or as "skip"'


def _counted(names: Counter[str]) -> str:
    more = ", ..." if len(names) > _SHOWN else ""
    return ", ".join(f"{name!r} ({count:,})" for name, count in names.most_common(_SHOWN)) + more


def count_name(names: Counter[str], name: str, count: int = 1) -> None:
    """Counts a name, short and one of a hundred, so that a column of ids taken for names cannot fill the memory."""
    short = name[:80]
    names[short if short in names or len(names) < _MAX_NAMES else "(others)"] += count


STRICT: Final = LeftOut(strict=True)
"""Refuses every bad row."""


class Row(NamedTuple):
    """Cells of a row, without the spaces around them.

    Attributes:
        line: Number of its last line, from 1.
        ended: Whether that line has an end; the last line of a file that was cut has none.
    """

    line: int
    cells: list[str]
    ended: bool = True


def read_rows(path: Path, left_out: LeftOut = STRICT) -> Iterator[Row]:
    """Reads the header, then every row that is not blank.

    Args:
        path: Text in UTF-8, plain, gz or zst; ``-`` is standard input.
        left_out: Takes the rows that have another number of cells than the header.

    Raises:
        UnreadableSource: The file cannot be read, its last line is cut off, or ``left_out`` refuses a row; the message
            names the line.
    """
    with opened(path) as stream:
        yield from parse_rows(path, stream, left_out)


def parse_rows(
    path: Path, stream: Iterable[bytes], left_out: LeftOut, delimiter: str = "", encoding: str = "utf-8"
) -> Iterator[Row]:
    """Parses the lines of a file as :func:`read_rows` does.

    Args:
        path: The file, for messages.
        delimiter: One or more characters; by default the one of ``, ; tab |`` that occurs most in the header, outside
            of quotes.
    """
    lines = _Lines(path, stream, encoding)
    header = lines.header()
    delimiter = delimiter or _delimiter("".join(header))
    texts: Iterator[str] = chain(header, lines)
    if len(delimiter) > 1:
        # The parser takes one character; a separator of ASCII is in no text.
        several, delimiter = delimiter, _UNIT_SEPARATOR
        texts = (text.replace(several, _UNIT_SEPARATOR) for text in texts)
    spaces = re.compile(f'" +(?={re.escape(delimiter)}|\r?\n|$)')
    tidy = (spaces.sub('"', text) if '" ' in text else text for text in texts)
    reader = csv.reader(tidy, delimiter=delimiter, strict=True, skipinitialspace=True)
    width = 0
    try:
        for cells in reader:
            line = reader.line_num
            if (not any(cells) and len(cells) < 2) or (len(cells) == 1 < width and not cells[0].strip()):
                continue
            width = width or len(cells)
            if len(cells) == width:
                yield Row(line, [cell.strip() for cell in cells], lines.ended)
                continue
            reason = f"there are {len(cells)} values for {width} columns"
            if not lines.ended:
                raise cut_off(path, line, reason)
            left_out.add(path, line, reason)
    except csv.Error as error:
        if not lines.ended:
            raise cut_off(path, reader.line_num, str(error)) from error
        raise UnreadableSource(f"{path}, line {reader.line_num}: {error}") from error


class Line(NamedTuple):
    """A line of text.

    Attributes:
        number: From 1.
        ended: Whether it has an end; the last line of a file that was cut has none.
    """

    number: int
    text: str
    ended: bool


def parse_lines(path: Path, stream: Iterable[bytes], encoding: str = "utf-8") -> Iterator[Line]:
    """Decodes the lines of a file and leaves out blank ones.

    Args:
        path: The file, for messages.

    Raises:
        UnreadableSource: The file cannot be read.
    """
    lines = _Lines(path, stream, encoding)
    for number, text in enumerate(lines, start=1):
        if text.strip():
            yield Line(number, text, lines.ended)


def cut_off(path: Path, line: int, reason: str) -> UnreadableSource:
    """Returns the error of a last line without an end that cannot be read."""
    return UnreadableSource(
        f"{path}, line {line}, the last one, has no end and cannot be read: {reason}. The file was cut off: get it "
        "again, or remove the line"
    )


@contextmanager
def rereadable(path: Path) -> Iterator[Path]:
    """Gives a path that can be read more than once: the file itself, or a temporary copy of a pipe."""
    if path != STANDARD_INPUT and (path.is_file() or not path.exists()):
        yield path
        return
    with TemporaryDirectory(prefix="headrace-") as folder:
        copy = Path(folder, "standard-input" if path == STANDARD_INPUT else f"pipe-{path.name}")
        try:
            with _opened(path) as stream, copy.open("wb") as kept:
                shutil.copyfileobj(stream, kept)
        except OSError as error:
            raise UnreadableSource(f"{path}: {error.strerror}") from error
        yield copy


class _Lines:
    """Decoded lines of a stream.

    Attributes:
        ended: Whether the line that was read last has an end.
    """

    def __init__(self, path: Path, stream: Iterable[bytes], encoding: str) -> None:
        self.ended = True
        self._path = path
        self._encoding = encoding
        self._number = 0
        self._stream = iter(stream)

    def __iter__(self) -> "_Lines":
        return self

    def __next__(self) -> str:
        try:
            line = next(self._stream)
        except (EOFError, zlib.error, gzip.BadGzipFile, cramjam.DecompressionError) as error:
            raise _damaged(self._path, self._number, error) from error
        except OSError as error:
            raise UnreadableSource(f"{self._path}: {error.strerror}") from error
        self._number += 1
        self.ended = line.endswith((b"\n", b"\r"))
        is_first_utf_8 = self._number == 1 and self._encoding == "utf-8"
        try:
            return line.decode("utf-8-sig" if is_first_utf_8 else self._encoding)
        except UnicodeDecodeError as error:
            is_utf_16 = self._number == 1 and line.startswith(_UTF_16)
            advice = "; save it as UTF-8, or set encoding in a mapping" if self._encoding == "utf-8" else ""
            kind = "UTF-16; save it as UTF-8" if is_utf_16 else f"not {self._encoding.upper()}{advice}"
            raise UnreadableSource(f"{self._path}, near line {self._number}: {kind}") from error

    def header(self) -> list[str]:
        """Reads the lines up to the header's end; a quoted name may have several."""
        header: list[str] = []
        for line in self:
            header.append(line)
            text = "".join(header)
            if text.strip() and text.count('"') % 2 == 0:
                break
        return header


def _delimiter(header: str) -> str:
    return max(_DELIMITERS, key=re.sub(r'"[^"]*"', "", header).count)


def _opened(path: Path) -> IO[bytes]:
    return sys.stdin.buffer if path == STANDARD_INPUT else path.open("rb")


@contextmanager
def opened(path: Path) -> Iterator[IO[bytes]]:
    """Opens a file, plain, gz or zst, as a stream of plain bytes; ``-`` is standard input.

    Raises:
        UnreadableSource: It cannot be opened.
    """
    with ExitStack() as stack:
        try:
            stream = stack.enter_context(_decompressed(path))
        except cramjam.DecompressionError as error:
            raise _damaged(path, 0, error) from error
        except OSError as error:
            raise UnreadableSource(f"{path}: {error.strerror}") from error
        yield stream


@contextmanager
def _decompressed(path: Path) -> Iterator[IO[bytes]]:
    with _opened(path) as stream:
        magic = stream.peek(_MAGIC)[:_MAGIC]  # type: ignore[attr-defined]  # both are buffered readers
        for begin, (kind, advice) in _FOREIGN.items():
            if magic.startswith(begin):
                raise UnreadableSource(f"{path} is {kind}: {advice}")
        if magic.startswith(_GZIP):
            with gzip.open(stream) as plain:
                yield cast(IO[bytes], plain)
        elif magic.startswith(_ZSTD):
            # To a file: the library does not stream, and the text may be larger than the memory.
            with NamedTemporaryFile() as packed, NamedTemporaryFile() as text:
                shutil.copyfileobj(stream, packed)
                packed.flush()
                cramjam.zstd.decompress_into(cramjam.File(packed.name), cramjam.File(text.name))
                yield text.file
        else:
            yield stream


def _damaged(path: Path, line: int, error: Exception) -> UnreadableSource:
    return UnreadableSource(f"{path}, after line {line}: the compressed file is damaged or cut: {error}")
