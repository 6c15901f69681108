"""Rows that an older version stored are migrated when they are read; a layout never changes without its number."""

from typing import Any, Final, Literal

import msgspec
import pytest

from examples.wordcount import WordCount
from streams.contract.errors import RefusedStart
from streams.contract.fold import PARTITION_KEY, PartitionRow
from streams.contract.outputs import Output
from streams.contract.row_format import RowFormat, VersionedRow
from streams.testing import MemoryTopics, MemoryWorker
from tests.layouts.stored import FORMATS, layout_of, read

SCHEMAS: Final = [(name, schema) for name, each in FORMATS.items() for schema in range(each.oldest, each.schema + 1)]


@pytest.mark.parametrize(("name", "schema"), SCHEMAS)
def test_stored_rows_of_every_schema_are_read_and_written_in_the_present_one(name: str, schema: int) -> None:
    format_ = FORMATS[name]
    _, rows = read(name, schema)
    assert rows
    for stored in rows:
        row = format_.decode(stored)
        assert row.schema == format_.schema
        encoded = format_.encode(row)
        assert format_.encode(format_.decode(encoded)) == encoded
        assert (encoded == stored) == (schema == format_.schema)


@pytest.mark.parametrize("name", FORMATS)
def test_a_layout_changes_only_with_its_number(name: str) -> None:
    format_ = FORMATS[name]
    layout, _ = read(name, format_.schema)
    assert layout_of(format_.type) == layout, (
        f"the bytes of {format_.type.__name__} have changed: raise its schema, give its RowFormat a migration, "
        "and run python -m tests.layouts"
    )


class Third(VersionedRow):
    """The third schema of a fictional row: the first had a list of words, the second counted them, in a text."""

    schema: Literal[3] = 3
    name: str = ""
    n_words: int = 0


def counted(fields: list[Any]) -> list[Any]:
    applied_offset, deadline_ms, schema, words = fields
    return [applied_offset, deadline_ms, schema, str(len(words))]


def as_numbers(fields: list[Any]) -> list[Any]:
    return [*fields[:3], "unknown", int(fields[3])]


FORMAT: Final = RowFormat(Third, "a fictional row", [counted, as_numbers])
encode: Final = msgspec.msgpack.encode


@pytest.mark.parametrize("older", [[7, 9, 1, ["red", "rose"]], [7, 9, 2, "2"]])
def test_a_row_goes_through_all_migrations_from_its_own_schema_on(older: list[Any]) -> None:
    assert FORMAT.decode(encode(older)) == Third(7, 9, 3, "unknown", 2)
    assert FORMAT.encode(FORMAT.decode(encode(older))) == encode([7, 9, 3, "unknown", 2])


def test_a_newer_row_and_one_that_is_too_old_are_refused_in_words() -> None:
    for schema in (0, 4):
        with pytest.raises(RefusedStart, match=f"a fictional row is of schema {schema}, and this version reads 1 to 3"):
            FORMAT.decode(encode([7, 9, schema, "unknown", 2]))


@pytest.mark.parametrize(
    "value", [b"", b"\xc1", encode([7, 9, 3, "unknown", "two"]), encode([7, 9, "x"]), encode([7, 9, 128])]
)
def test_bytes_that_are_no_row_are_said_to_be_none(value: bytes) -> None:
    with pytest.raises(msgspec.DecodeError):
        FORMAT.decode(value)


class Times(VersionedRow):
    schema: Literal[2] = 2
    times: int = 0


def test_a_new_version_goes_on_with_the_rows_of_the_old_one_which_then_refuses_them() -> None:
    topics = MemoryTopics({"words": 1, "word-counts": 1, "word-counts-changelog": 1})
    topics.extend([Output("words", b"rose", b"rose")] * 5)
    stored = {b"rose": encode([3, 0, 1, "41"]), PARTITION_KEY: encode(PartitionRow(3, rows_schema=1))}
    topics.extend([Output("word-counts-changelog", key, row, 0) for key, row in stored.items()])
    newer: Any = WordCount()
    times = RowFormat(Times, "a word's row", [lambda fields: [*fields[:3], int(fields[3])]])
    newer.schema, newer.oldest_schema = times.schema, times.oldest
    newer.decode_row, newer.encode_row = times.decode, times.encode
    worker: MemoryWorker[bytes, Times] = MemoryWorker(newer, topics)
    worker.drain()
    assert worker.rows() == {(0, b"rose"): encode([4, 0, 2, 42])}
    with pytest.raises(RefusedStart, match="are of schema 2, this version reads 1 to 1"):
        MemoryWorker(WordCount(), topics).restart()
