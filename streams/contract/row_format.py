"""Encoding of rows that outlive the version that wrote them: a row of an older schema is migrated when it is read."""

from collections.abc import Callable, Sequence
from typing import Any, Final, Generic, TypeVar

import msgspec

from streams.contract.errors import RefusedStart

RowT = TypeVar("RowT", bound="VersionedRow")

Migration = Callable[[list[Any]], list[Any]]
"""Turns the fields of one schema into those of the next, but for its number."""


MAX_SCHEMA: Final = 127
"""Largest number of a schema; it takes one byte."""


class VersionedRow(msgspec.Struct, array_like=True):
    """First fields of every row with a schema; a subclass sets its number, ``schema: Literal[1] = 1``.

    Attributes:
        applied_offset: Highest source offset applied to the row.
        deadline_ms: Event time of the row's earliest deadline, 0 for none.
        schema: Number of the layout of all fields; it is raised whenever their bytes change.
    """

    applied_offset: int = -1
    deadline_ms: int = 0
    schema: int = 0


_SCHEMA: Final = VersionedRow.__struct_fields__.index("schema")
_read_header: Final = msgspec.msgpack.Decoder(VersionedRow).decode
_decode_fields: Final = msgspec.msgpack.Decoder(list[Any]).decode
_encode: Final = msgspec.msgpack.Encoder().encode


class RowFormat(Generic[RowT]):
    """Encoder and decoder of one type of row.

    Args:
        type_: Of the row; its ``schema`` is the present one.
        what: The rows in words, for messages.
        migrations: Of the schemas before it, oldest first; the last one leads to the present schema.

    Attributes:
        type: Of the row.
        schema: The schema that is written.
        oldest: The oldest schema that is read.
    """

    def __init__(self, type_: type[RowT], what: str, migrations: Sequence[Migration] = ()) -> None:
        self.type = type_
        self.schema = type_().schema
        self.oldest = self.schema - len(migrations)
        self._what = what
        self._migrations = tuple(migrations)
        self._decoder = msgspec.msgpack.Decoder(type_)

    def encode(self, row: RowT) -> bytes:
        return _encode(row)

    def decode(self, value: bytes) -> RowT:
        """Decodes a row of any schema that is known.

        Raises:
            msgspec.DecodeError: It is no such row.
            RefusedStart: It is of a newer schema, or of one that is too old.
        """
        try:
            return self._decoder.decode(value)
        except msgspec.ValidationError:
            schema = _read_header(value).schema
            if schema == self.schema or not 0 <= schema <= MAX_SCHEMA:
                raise
        return self._migrated(schema, value)

    def _migrated(self, schema: int, value: bytes) -> RowT:
        if not self.oldest <= schema <= self.schema:
            raise RefusedStart(
                f"{self._what} is of schema {schema}, and this version reads {self.oldest} to {self.schema}: use the "
                "version that wrote it, or a later one"
            )
        fields = _decode_fields(value)
        for migrate in self._migrations[schema - self.oldest :]:
            fields = migrate(fields)
        fields[_SCHEMA] = self.schema
        return self._decoder.decode(_encode(fields))
