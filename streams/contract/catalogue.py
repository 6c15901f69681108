"""The shop's catalogue: its record on the topic ``catalogue``, by which an item is listed, changed or taken out."""

from typing import Annotated, Final

import msgspec
from msgspec import Meta

from streams.contract.events import Identifier, Price

MAX_CATALOGUE_BYTES: Final = 64 * 1024
_Address = Annotated[str, Meta(min_length=1, max_length=2048)]


class CatalogueItem(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """One value of ``catalogue``, JSON, keyed by ``item_id``; the latest one of an item counts, whole.

    Unknown fields are ignored, so that a shop may add its own.

    Attributes:
        item_id: As in events.
        available: Whether it may be shown.
        tags: Words of the shop's.
        embedding: Vector of the shop's.
    """

    item_id: Identifier
    title: Annotated[str, Meta(min_length=1, max_length=512)] | None = None
    category: Identifier | None = None
    price: Price | None = None
    available: bool = True
    url: _Address | None = None
    image_url: _Address | None = None
    tags: Annotated[tuple[Identifier, ...], Meta(max_length=64)] = ()
    embedding: Annotated[tuple[float, ...], Meta(max_length=2048)] | None = None


class Delisted(msgspec.Struct, frozen=True, gc=False):
    """A tombstone: the item is in the catalogue no more."""

    item_id: str


CatalogueRecord = CatalogueItem | Delisted

_decode: Final = msgspec.json.Decoder(CatalogueItem).decode
_encode: Final = msgspec.json.Encoder().encode


def encode_catalogue_item(item: CatalogueItem) -> bytes:
    """Encodes an item as JSON; absent values are left out."""
    return _encode(item)


def decode_catalogue_record(key: bytes | None, value: bytes | None) -> CatalogueRecord:
    """Decodes and validates one record of ``catalogue``.

    Raises:
        msgspec.DecodeError: It is not one, or its key is not the item's id; the message says which.
        UnicodeDecodeError: The key is not UTF-8.
    """
    item_id = (key or b"").decode()
    if not item_id:
        raise msgspec.ValidationError("the record has no key; the key is the item_id")
    if value is None:
        return Delisted(item_id)
    if len(value) > MAX_CATALOGUE_BYTES:
        raise msgspec.ValidationError(f"the record has {len(value)} bytes; the limit is {MAX_CATALOGUE_BYTES}")
    item = _decode(value)
    if item.item_id != item_id or "\0" in item_id:
        raise msgspec.ValidationError(f"the key {item_id!r} is not the item_id {item.item_id!r}, or has a NUL")
    return item
