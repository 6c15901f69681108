"""Rows of every schema as they were stored, each file with the layout of its type: nobody writes them a second time."""

from base64 import b64decode, b64encode
from pathlib import Path
from typing import Any, Final

import msgspec
from msgspec import inspect

from streams.contract.fold import PARTITION_ROWS
from streams.contract.row_format import RowFormat
from streams.core.behaviour.row import USER_ROWS
from streams.core.items.fold import ITEM_ROWS
from streams.core.learning.row import LEARNER_ROWS
from streams.testing import MemoryWorker, Pipeline
from tests.pipeline.shop_log import SETTINGS, shop

FORMATS: Final[dict[str, RowFormat[Any]]] = {
    "users": USER_ROWS,
    "items": ITEM_ROWS,
    "learners": LEARNER_ROWS,
    "partitions": PARTITION_ROWS,
}


class Stored(msgspec.Struct):
    """The content of one file.

    Attributes:
        layout: Of the type of the rows.
        rows: Encoded, in base64.
    """

    layout: Any
    rows: list[str]


def path_of(name: str, schema: int) -> Path:
    return Path(__file__).parent / f"{name}-{schema}.json"


def read(name: str, schema: int) -> tuple[Any, list[bytes]]:
    """Returns the layout of a schema, and the stored rows of it."""
    stored = msgspec.json.decode(path_of(name, schema).read_bytes(), type=Stored)
    return stored.layout, [b64decode(row) for row in stored.rows]


def write(name: str, rows: list[bytes]) -> None:
    """Stores rows of the present schema, unless there are some."""
    format_ = FORMATS[name]
    path = path_of(name, format_.schema)
    if not path.exists():
        stored = Stored(layout_of(format_.type), [b64encode(row).decode() for row in rows])
        path.write_bytes(msgspec.json.format(msgspec.json.encode(stored)) + b"\n")


def layout_of(type_: Any) -> Any:
    """Returns what the bytes of a type depend on, as plain values: types of fields in order, without names."""
    return _layout(inspect.type_info(type_))


def _layout(found: Any) -> Any:  # noqa: PLR0911 - one for each kind of type
    match found:
        case inspect.StructType(fields=fields, array_like=True):
            return [_layout(field.type) for field in fields]
        case inspect.StructType(fields=fields):
            return {field.encode_name: _layout(field.type) for field in fields}
        case inspect.ListType(item_type=item):
            return {"list of": _layout(item)}
        case inspect.DictType(key_type=key, value_type=value):
            return {"dict of": [_layout(key), _layout(value)]}
        case inspect.TupleType(item_types=items):
            return {"tuple of": [_layout(item) for item in items]}
        case inspect.UnionType(types=types):
            return {"one of": sorted((_layout(each) for each in types), key=str)}
        case inspect.LiteralType(values=values):
            return {"one of": sorted(values)}
        case _:
            return type(found).__name__.removesuffix("Type").lower()


def samples() -> dict[str, list[bytes]]:
    """Makes rows of each type: of the users the largest and the smallest while much is open."""
    pipeline, users = Pipeline(SETTINGS), list[bytes]()

    def look() -> None:
        rows = sorted(pipeline.behaviour.rows().values(), key=len)
        if not users or len(rows[-1]) > len(users[-1]):
            users[:] = rows

    shop(pipeline, 150, after_event=look)
    pipeline.run()
    workers: list[MemoryWorker[Any, Any]] = [pipeline.behaviour, pipeline.items, pipeline.learning]
    items, learners = (sorted(worker.rows().values(), key=len) for worker in workers[1:])
    return {
        "users": [users[0], users[-1]],
        "items": [items[0], items[-1]],
        "learners": learners[:1],
        "partitions": [PARTITION_ROWS.encode(worker.partition_rows()[0]) for worker in workers],
    }
