"""A user's row is what it was after it has been stored, whatever it holds; what is no row is said to be none."""

import types
from typing import Any, Literal, Union, get_args, get_origin

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from streams.contract.fold import RowHeader
from streams.contract.settings import Settings
from streams.core.behaviour import BehaviourFold
from streams.core.features.schema import feature_schema
from streams.core.models.scoring import Scorers
from streams.core.policies.models import PolicyModels
from streams.core.retrieval.catalogue import Catalogue
from streams.core.row import UserRow

SETTINGS = Settings()
FOLD = BehaviourFold(
    SETTINGS,
    Catalogue(SETTINGS),
    Scorers(SETTINGS.targets, feature_schema(SETTINGS.windows)),
    PolicyModels(SETTINGS.decisions),
)
PRIMITIVES: dict[Any, st.SearchStrategy[Any]] = {
    int: st.integers(-(2**63), 2**63 - 1),
    float: st.floats(allow_nan=False),
    str: st.text(max_size=8),
    bytes: st.binary(max_size=16),
    bool: st.booleans(),
    type(None): st.none(),
}


def values(kind: Any) -> st.SearchStrategy[Any]:
    """Draws anything that a field of this type may hold."""
    arguments = get_args(kind)
    if kind in PRIMITIVES:
        return PRIMITIVES[kind]
    if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
        return st.builds(kind, **{field.name: values(field.type) for field in msgspec.structs.fields(kind)})
    if get_origin(kind) is list:
        return st.lists(values(arguments[0]), max_size=3)
    if get_origin(kind) is dict:
        return st.dictionaries(values(arguments[0]), values(arguments[1]), max_size=3)
    if get_origin(kind) is tuple:
        return st.tuples(*(values(each) for each in arguments if each is not Ellipsis))
    assert get_origin(kind) in (Literal, Union, types.UnionType), kind
    return st.sampled_from(arguments) if get_origin(kind) is Literal else st.one_of(*map(values, arguments))


rows = values(UserRow)


@given(rows)
def test_what_was_encoded_is_decoded_and_its_header_is_readable_alone(row: UserRow) -> None:
    encoded = FOLD.encode_row(row)
    assert FOLD.decode_row(encoded) == row
    assert FOLD.encode_row(FOLD.decode_row(encoded)) == encoded
    assert msgspec.msgpack.decode(encoded, type=RowHeader) == RowHeader(row.guard, row.deadline_ms)


@given(rows, st.integers(1, 15))
def test_a_row_of_an_older_version_lacks_what_came_later_and_is_read(row: UserRow, fields: int) -> None:
    whole = msgspec.msgpack.decode(FOLD.encode_row(row))
    older = FOLD.decode_row(msgspec.msgpack.encode(whole[: len(whole) - fields]))
    assert older.guard == (row.guard if fields < len(whole) else -1)


def row_or_none(value: bytes) -> None:
    try:
        row = FOLD.decode_row(value)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return
    assert FOLD.decode_row(FOLD.encode_row(row)) == row or "nan" in repr(row)


@given(st.binary(max_size=300))
def test_any_bytes_are_a_row_or_said_to_be_none(value: bytes) -> None:
    row_or_none(value)


@given(rows, st.lists(st.tuples(st.integers(0, 10**6), st.integers(0, 3), st.binary(max_size=3)), max_size=4))
def test_a_row_with_bytes_changed_is_a_row_or_said_to_be_none(
    row: UserRow, changes: list[tuple[int, int, bytes]]
) -> None:
    value = bytearray(FOLD.encode_row(row))
    for place, length, replacement in changes:
        start = place % (len(value) + 1)
        value[start : start + length] = replacement
    row_or_none(bytes(value))
