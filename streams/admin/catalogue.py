"""The shop's catalogue on its topic: loaded from a file, and read for the titles of items."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import msgspec
from confluent_kafka import Consumer, Message

from producers.catalogue import publish_catalogue
from producers.delimited import Row, opened, parse_lines, read_rows
from streams.admin.topic_reader import partition_reader, read_to_end, require_topics
from streams.contract.catalogue import CatalogueItem, decode_catalogue_record
from streams.contract.errors import RefusedStart, UnreadableSource
from streams.contract.settings import Settings
from streams.contract.topics import CATALOGUE
from streams.evaluation.columns import MISSING

_JSON_LINES: Final = (".jsonl", ".ndjson", ".json")
_TRUTHS: Final = {
    **dict.fromkeys(("true", "yes", "y", "t", "1", "in stock", "in_stock"), True),
    **dict.fromkeys(("false", "no", "n", "f", "0", "out of stock", "out_of_stock"), False),
}


def read_catalogue(path: Path) -> list[CatalogueItem]:
    """Reads a file of items: JSON lines by its name, otherwise a table with a header; other columns are ignored.

    Raises:
        UnreadableSource: It is missing, or a line is no item; the message names the line.
    """
    suffixes = [suffix.lower() for suffix in path.suffixes]
    is_json = any(suffix in _JSON_LINES for suffix in suffixes)
    found = list(_of_json_lines(path) if is_json else _of_table(path))
    if not found:
        raise UnreadableSource(f"{path}: there are no items")
    return found


def load_catalogue(settings: Settings, items: Sequence[CatalogueItem]) -> None:
    """Publishes items; every worker shows and hides them from then on.

    Raises:
        UnreachableBroker: No broker took them all.
        RefusedStart: The topic is missing.
    """
    consumer = partition_reader(settings)
    try:
        require_topics(consumer, settings, CATALOGUE)
    finally:
        consumer.close()
    publish_catalogue(settings, items)


def read_titles(consumer: Consumer, settings: Settings) -> dict[str, str]:
    """Reads the titles of all items that are listed now; what is no item is skipped."""
    titles: dict[str, str] = {}
    for message in read_to_end(consumer, settings.names.topic(CATALOGUE), 0):
        try:
            apply_title(titles, message)
        except (msgspec.DecodeError, UnicodeDecodeError):
            continue
    return titles


def apply_title(titles: dict[str, str], message: Message) -> None:
    """Applies a record of the catalogue to the titles of the items that are listed.

    Raises:
        msgspec.DecodeError: It is no such record.
        UnicodeDecodeError: Its key is not UTF-8.
    """
    record = decode_catalogue_record(message.key(), message.value())
    titles.pop(record.item_id, None)
    if isinstance(record, CatalogueItem) and record.title is not None:
        titles[record.item_id] = record.title


def find_titles(settings: Settings) -> dict[str, str]:
    """Reads the titles of all items that are listed now; none where there is no catalogue, or it may not be read.

    Raises:
        UnreachableBroker: No broker answers.
    """
    consumer = partition_reader(settings)
    try:
        require_topics(consumer, settings, CATALOGUE)
        return read_titles(consumer, settings)
    except RefusedStart:
        return {}
    finally:
        consumer.close()


def _of_json_lines(path: Path) -> Iterator[CatalogueItem]:
    with opened(path) as stream:
        for line in parse_lines(path, stream):
            try:
                fields = msgspec.json.decode(line.text, type=dict[str, Any])
            except (msgspec.DecodeError, RecursionError) as error:
                raise UnreadableSource(f"{path}, line {line.number}: {error}; nothing was published") from error
            yield _item(path, line.number, fields)


def _of_table(path: Path) -> Iterator[CatalogueItem]:
    rows = read_rows(path)
    names = [name.strip().lower() for name in next(rows, Row(1, [])).cells]
    if "item_id" not in names:
        raise UnreadableSource(f"{path} has no column item_id; it has {', '.join(names) or 'none'}")
    for row in rows:
        fields: dict[str, Any] = {}
        for name, cell in zip(names, row.cells, strict=True):
            if name == "item_id" or cell.lower() not in MISSING:
                try:
                    fields[name] = _READERS.get(name, str)(cell)
                except (ValueError, KeyError) as error:
                    wanted = "true or false" if isinstance(error, KeyError) else str(error)
                    raise UnreadableSource(
                        f"{path}, line {row.line}: {name} is {cell!r}: {wanted}; nothing was published"
                    ) from error
        yield _item(path, row.line, fields)


def _item(path: Path, line: int, fields: Mapping[str, Any]) -> CatalogueItem:
    item_id = fields.get("item_id")
    try:
        record = decode_catalogue_record(
            item_id.encode() if isinstance(item_id, str) else b"", msgspec.json.encode(fields)
        )
    except (msgspec.DecodeError, UnicodeEncodeError) as error:
        raise UnreadableSource(f"{path}, line {line}: {error}; nothing was published") from error
    if not isinstance(record, CatalogueItem):
        raise TypeError("a record with a value is an item")
    return record


def _tags(cell: str) -> list[str]:
    """Splits a cell of tags.

    >>> _tags("sale; outdoor")
    ['sale', 'outdoor']
    """
    for separator in "|;":
        cell = cell.replace(separator, ",")
    return [tag.strip() for tag in cell.split(",") if tag.strip()]


_READERS: Final[dict[str, Callable[[str], Any]]] = {
    "price": float,
    "available": lambda cell: _TRUTHS[cell.strip().lower()],
    "tags": _tags,
    "embedding": lambda cell: msgspec.json.decode(cell, type=list[float]),
}
"""Column to the function that reads its cells; the others are text."""
