"""The behaviour event: what a shop publishes to ``clickstream``, and how strictly it is read."""

from typing import Annotated, Final, Literal, get_args

import msgspec
from msgspec import Meta

from streams.contract.errors import RejectedRecord

Kind = Literal[
    "view",
    "search",
    "add_to_cart",
    "remove_from_cart",
    "purchase",
    "impression",
    "click",
    "rating",
    "tick",
]
KINDS: Final[tuple[Kind, ...]] = get_args(Kind)

MAX_EVENT_BYTES: Final = 64 * 1024
LATEST_TIMESTAMP_MS: Final = 4_102_444_800_000  # 2100-01-01

Identifier = Annotated[str, Meta(min_length=1, max_length=128)]

_REQUIRED: Final[dict[str, tuple[str, ...]]] = {
    "view": ("user_id", "item_id"),
    "search": ("user_id", "query"),
    "add_to_cart": ("user_id", "item_id"),
    "remove_from_cart": ("user_id", "item_id"),
    "purchase": ("user_id", "item_id"),
    "impression": ("user_id", "decision_id"),
    "click": ("user_id", "decision_id", "item_id", "position"),
    "rating": ("user_id", "item_id", "rating"),
    "tick": (),
}


class Event(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """One thing a shopper did, or ``tick``: time passed in a partition where nobody did anything.

    A missing optional value stays ``None``; it is never replaced by a zero. Fields that are not listed here are
    ignored, so that a shop may add its own.

    Attributes:
        event_id: Chosen by the producer; a retry carries the same one.
        user_id: The key of the record, too. Only a ``tick`` has none.
        timestamp_ms: When it happened, milliseconds since the epoch, UTC.
        item_id: Required but for ``search`` and ``tick``; an ``impression`` without one means the whole slate was seen.
        price: Per unit, in the shop's currency.
        decision_id: Echoes the recommendation that an ``impression`` or a ``click`` belongs to.
        position: Slot of the slate, 0 is the first.
    """

    event_id: Identifier
    timestamp_ms: Annotated[int, Meta(ge=0, le=LATEST_TIMESTAMP_MS)]
    kind: Kind
    user_id: Identifier | None = None
    item_id: Identifier | None = None
    category: Identifier | None = None
    price: Annotated[float, Meta(ge=0.0, le=1e9)] | None = None
    quantity: Annotated[int, Meta(ge=1, le=1_000_000)] | None = None
    query: Annotated[str, Meta(min_length=1, max_length=1024)] | None = None
    session_id: Identifier | None = None
    decision_id: Identifier | None = None
    position: Annotated[int, Meta(ge=0, lt=100)] | None = None
    rating: Annotated[float, Meta(ge=0.0, le=5.0)] | None = None


_decoder = msgspec.json.Decoder(Event)
_encoder = msgspec.json.Encoder()


def encode_event(event: Event) -> bytes:
    """Encodes an event as the JSON that ``clickstream`` carries; absent values are left out."""
    return _encoder.encode(event)


def decode_event(value: bytes | None) -> Event:
    """Decodes and validates one value of ``clickstream``.

    Raises:
        RejectedRecord: with reason ``empty``, ``oversized``, ``malformed`` (not JSON, not UTF-8, wrong type, out of
            range, unknown kind, NUL in a key) or ``incomplete`` (a field that its kind requires is missing).
    """
    if not value:
        raise RejectedRecord("empty", "the record has no value")
    if len(value) > MAX_EVENT_BYTES:
        raise RejectedRecord("oversized", f"{len(value)} bytes, at most {MAX_EVENT_BYTES} are taken")
    try:
        event = _decoder.decode(value)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise RejectedRecord("malformed", str(error)) from error
    # No row may have the partition row's reserved key.
    if "\0" in (event.user_id or "") or "\0" in (event.item_id or ""):
        raise RejectedRecord("malformed", "user_id and item_id may not contain NUL")
    for field in _REQUIRED[event.kind]:
        if getattr(event, field) is None:
            raise RejectedRecord("incomplete", f"a {event.kind} needs {field}")
    return event
