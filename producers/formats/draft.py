"""Draft of a mapping for a file in no known format, from the names and values of its columns."""

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from itertools import islice
from pathlib import Path
from types import MappingProxyType
from typing import Final, get_args

from producers.delimited import STRICT, opened, parse_rows
from producers.formats.leaves import Leaf, begins, read_leaves
from producers.formats.mapping import SKIP, Time, Unit
from producers.formats.times import BadTime, time_parser
from streams.contract.errors import UnreadableSource
from streams.contract.event_kinds import EVENT_KINDS

_HEAD_LINES: Final = 1000
_MOST_NAMES: Final = 30

_USUAL_NAMES: Final[Mapping[str, tuple[str, ...]]] = MappingProxyType(
    {
        "time": (
            *("timestamp", "timestampms", "eventtime", "eventtimestamp", "time", "datetime", "ts", "at", "when"),
            *("occurredat", "createdat", "servertime", "date", "eventdate", "day"),
        ),
        "event_name": ("event", "eventtype", "eventname", "action", "actiontype", "kind", "behavior", "type"),
        "user_id": (
            "userid",
            "user",
            "visitorid",
            "customerid",
            "customer",
            "shopper",
            "anonymousid",
            "uid",
            "visitor",
        ),
        "item_id": ("itemid", "item", "productid", "product", "sku", "articleid", "article", "stockcode", "asin"),
        "category": ("category", "categoryid", "categorycode", "productcategory", "itemcategory", "department"),
        "price": ("price", "unitprice", "itemprice", "amount"),
        "quantity": ("quantity", "qty", "count", "pieces"),
        "query": ("query", "searchterm", "search", "keyword"),
        "session_id": ("sessionid", "session", "usersession", "visitid"),
        "rating": ("rating", "stars", "score"),
    }
)
"""What a mapping needs, and the names that columns for it usually have, without case and marks; the best first."""


def draft_mapping(path: Path) -> str:
    """Returns a TOML text to be corrected: what was recognised is filled in, everything else has a comment.

    What an event of a name is, is never guessed, unless the name is that of a kind.

    Args:
        path: Can be read more than once.

    Raises:
        UnreadableSource: It is neither delimited text with a header nor JSON, an object a line.
    """
    with opened(path) as stream:
        head = list(islice(stream, _HEAD_LINES))
    is_json = begins(head, b"{")
    objects = list(read_leaves(path, head)) if is_json else []
    columns = _json_columns(objects) if is_json else _cells_by_column(path, head)
    found = {need: _column(need, columns) for need in _USUAL_NAMES}
    lines = [f"title = {json.dumps(path.name)}"]
    if is_json:
        lines.append('layout = "json"')
    lines.append(f"# columns: {', '.join(columns)}")
    lines += [f'# each = "{name}"  # to make an event of each of its elements' for name in _lists(objects)]
    if found["event_name"]:
        lines.append(f"event_name = {json.dumps(found['event_name'])}")
    lines += ["", "[time]", *_time_lines(found["time"], columns), "", "[fields]"]
    for need, column in found.items():
        if need not in {"time", "event_name"}:
            is_needed = need in {"user_id", "item_id"}
            missing = [f'{need} = "..."  # which column?'] if is_needed else []
            lines += [f"{need} = {json.dumps(column)}"] if column else missing
    return "\n".join([*lines, "", *_event_lines(found["event_name"], columns), ""])


def _time_lines(column: str | None, columns: Mapping[str, Sequence[str]]) -> list[str]:
    if column is None:
        return ['column = "..."  # which column?', 'unit = "s"  # or ms, us, ns; without it, ISO times']
    for unit in (None, *get_args(Unit)):
        parse = time_parser(Time(column=column, unit=unit))
        try:
            for text in columns[column]:
                parse(text)
        except BadTime:
            continue
        lines = [f"column = {json.dumps(column)}"]
        return [*lines, f'unit = "{unit}"'] if unit else [*lines, 'zone = "UTC"  # of times without a zone']
    example = columns[column][0] if columns[column] else ""
    return [f"column = {json.dumps(column)}", f'format = "%d/%m/%Y %H:%M"  # of {example!r}?', 'zone = "UTC"  # which?']


def _event_lines(column: str | None, columns: Mapping[str, Sequence[str]]) -> list[str]:
    kinds = ", ".join(kind for kind in EVENT_KINDS if kind != "tick")
    if column is None:
        return ["[events]", f'"*" = "view"  # or {kinds}']
    names = list(dict.fromkeys(columns[column]))[:_MOST_NAMES]
    return [f"[events]  # a kind each: {kinds}", *(f'{json.dumps(name)} = "{_kind(name)}"' for name in names)]


def _kind(name: str) -> str:
    return name if name in EVENT_KINDS and name != "tick" else SKIP


def _column(need: str, columns: Mapping[str, Sequence[str]]) -> str | None:
    """Returns the column whose own name, without its path, is the most usual one."""
    usual = _USUAL_NAMES[need]
    named = [(usual.index(plain), column) for column in columns if (plain := _plain(column)) in usual]
    return min(named)[1] if named else None


def _plain(column: str) -> str:
    return re.sub(r"[^a-z]", "", column.rpartition(".")[2].lower())


def _cells_by_column(path: Path, head: Iterable[bytes]) -> dict[str, list[str]]:
    rows = parse_rows(path, head, STRICT)
    header = next(rows, None)
    if header is None:
        raise UnreadableSource(f"{path} is empty")
    cells: dict[str, list[str]] = {name: [] for name in header.cells}
    try:
        for row in rows:
            for name, cell in zip(header.cells, row.cells, strict=True):
                if cell:
                    cells[name].append(cell)
    except UnreadableSource:
        pass  # a bad row ends what is looked at, not the draft
    return cells


def _json_columns(objects: Iterable[Iterable[Leaf]]) -> dict[str, list[str]]:
    values: dict[str, list[str]] = {}
    for leaves in objects:
        for column, value in leaves:
            if isinstance(value, str | int | float) and not isinstance(value, bool) and value != "":
                values.setdefault(column, []).append(str(value))
    return values


def _lists(objects: Iterable[Iterable[Leaf]]) -> list[str]:
    """Lists the paths of the lists in JSON objects."""
    return list(dict.fromkeys(column for leaves in objects for column, value in leaves if isinstance(value, list)))
