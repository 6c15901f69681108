"""Items of the shop's catalogue, as a request writes them."""

from collections.abc import Sequence
from typing import Annotated

import msgspec
from msgspec import Meta

from streams.contract.catalogue import CatalogueItem, decode_catalogue_record, encode_catalogue_item
from streams.contract.topics import CATALOGUE
from streams.serving.problems import Problem
from streams.serving.submission import NewRecord

SomeItems = CatalogueItem | Annotated[list[CatalogueItem], Meta(max_length=1000)]
"""Body of a request."""


def item_records(items: Sequence[CatalogueItem]) -> list[NewRecord]:
    """Makes the records of items, whole: what was known of them before is replaced.

    Raises:
        Problem: 422, one of them is none that a worker takes.
    """
    return [_record(item) for item in items]


def removal(item_id: str) -> NewRecord:
    """Makes the tombstone of an item."""
    return NewRecord(item_id.encode(), None, topic=CATALOGUE)


def _record(item: CatalogueItem) -> NewRecord:
    key, value = item.item_id.encode(), encode_catalogue_item(item)
    try:
        decode_catalogue_record(key, value)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise Problem(422, "invalid", f"item {item.item_id!r}: {error}") from error
    return NewRecord(key, value, topic=CATALOGUE)
