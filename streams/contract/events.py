"""Behaviour event: the record that a shop publishes to ``clickstream``, and its validation."""

from datetime import UTC, datetime
from typing import Annotated, Final

import msgspec
from msgspec import Meta

from streams.contract.errors import RejectedRecord
from streams.contract.event_kinds import KINDS, Kind

MAX_EVENT_BYTES: Final = 64 * 1024
MAX_RETRIED_EVENTS: Final = 64
"""A retry is recognised among so many last events of its user."""
MAX_CANDIDATES: Final = 100
MAX_SLATE: Final = 20
LATEST_TIMESTAMP_MS: Final = 4_102_444_800_000  # 2100-01-01
EARLIEST_TIMESTAMP_MS: Final = LATEST_TIMESTAMP_MS // 1000
"""1970-02-17: any time in seconds until 2100, taken for milliseconds, is before it."""

_MS_PER_UNIT: Final = {"seconds": 1000.0, "microseconds": 1e-3, "nanoseconds": 1e-6}
_LIKELY_SINCE_MS: Final = 315_532_800_000  # 1980-01-01

Identifier = Annotated[str, Meta(min_length=1, max_length=128)]
Price = Annotated[float, Meta(ge=0.0, le=1e9)]
Candidates = Annotated[
    tuple[Identifier, ...], Meta(min_length=1, max_length=MAX_CANDIDATES, extra_json_schema={"uniqueItems": True})
]


class Event(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """One action of a shopper, or a ``tick``, which advances the time of a partition without events.

    A missing optional value stays ``None``; it is never replaced by a zero. Unknown fields are ignored, so that a shop
    may add its own.

    Attributes:
        event_id: Chosen by the producer; a retry carries the same id.
        user_id: Also the key of the record. Only a ``tick`` has none.
        timestamp_ms: Time of the action, milliseconds since the epoch, UTC; not before :data:`EARLIEST_TIMESTAMP_MS`.
        item_id: Required except for ``search`` and ``tick``; an ``impression`` without it is of the whole slate.
        price: Per unit, in the shop's currency.
        decision_id: Id of the recommendation that an ``impression`` or a ``click`` belongs to.
        position: Slot of the slate, 0 is the first.
        candidates: Items to choose the slate from; without them, retrieval proposes some. They, ``n`` and ``surface``
            are read where a decision is made.
        n: Slots of the slate, by default ``decisions.slate``.
        surface: Where the slate will be shown, as the shop calls it; echoed and logged.
    """

    event_id: Identifier
    timestamp_ms: Annotated[int, Meta(ge=EARLIEST_TIMESTAMP_MS, le=LATEST_TIMESTAMP_MS)]
    kind: Kind
    user_id: Identifier | None = None
    item_id: Identifier | None = None
    category: Identifier | None = None
    price: Price | None = None
    quantity: Annotated[int, Meta(ge=1, le=1_000_000)] | None = None
    query: Annotated[str, Meta(min_length=1, max_length=1024)] | None = None
    session_id: Identifier | None = None
    decision_id: Identifier | None = None
    position: Annotated[int, Meta(ge=0, lt=100)] | None = None
    rating: Annotated[float, Meta(ge=0.0, le=5.0)] | None = None
    candidates: Candidates | None = None
    n: Annotated[int, Meta(ge=1, le=MAX_SLATE)] | None = None
    surface: Identifier | None = None


class _Time(msgspec.Struct, frozen=True):
    timestamp_ms: float


_decoder = msgspec.json.Decoder(Event)
_time_decoder = msgspec.json.Decoder(_Time)
_encoder = msgspec.json.Encoder()


def encode_event(event: Event) -> bytes:
    """Encodes an event as JSON for ``clickstream``; absent values are left out."""
    return _encoder.encode(event)


def decode_event(value: bytes | None) -> Event:
    """Decodes and validates one value of ``clickstream``.

    Raises:
        RejectedRecord: with reason ``empty``, ``oversized``, ``malformed`` (not JSON, not UTF-8, wrong type, out of
            range, unknown kind, NUL in a key), ``wrong-unit`` (a time in seconds, microseconds or nanoseconds),
            ``bad-candidates`` (none, too many, one twice, or one that is no item id) or ``incomplete`` (a field that
            its kind requires is missing).
    """
    if not value:
        raise RejectedRecord("empty", "the record has no value")
    if len(value) > MAX_EVENT_BYTES:
        raise RejectedRecord("oversized", f"the record has {len(value)} bytes; the limit is {MAX_EVENT_BYTES}")
    try:
        event = _decoder.decode(value)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        if "`$.timestamp_ms`" in str(error) and (detail := _wrong_unit(value)):
            raise RejectedRecord("wrong-unit", detail) from error
        if "`$.candidates" in str(error):
            raise RejectedRecord("bad-candidates", str(error)) from error
        raise RejectedRecord("malformed", str(error)) from error
    check_event(event)
    return event


def check_event(event: Event) -> None:
    """Checks an event whose fields have the right types and ranges.

    Raises:
        RejectedRecord: with reason ``malformed`` (NUL in a key) or ``incomplete``.
    """
    # The partition row's reserved key begins with NUL.
    if "\0" in (event.user_id or "") or "\0" in (event.item_id or ""):
        raise RejectedRecord("malformed", "user_id and item_id may not contain NUL")
    if event.candidates is not None:
        _check_candidates(event.candidates)
    for field in KINDS[event.kind].required:
        if getattr(event, field) is None:
            raise RejectedRecord("incomplete", f"a {event.kind} needs {field}")


def _check_candidates(candidates: tuple[str, ...]) -> None:
    if len(set(candidates)) < len(candidates):
        twice = next(item for place, item in enumerate(candidates) if item in candidates[:place])
        raise RejectedRecord("bad-candidates", f"{twice!r} is there twice; send each candidate once")
    if any("\0" in item for item in candidates):
        raise RejectedRecord("bad-candidates", "a candidate may not contain NUL")


def _wrong_unit(value: bytes) -> str | None:
    """Describes a refused time that is plausible in another unit than milliseconds; ``None`` if it is in none."""
    try:
        given = _time_decoder.decode(value).timestamp_ms
    except msgspec.DecodeError:
        return None
    for unit, factor in _MS_PER_UNIT.items():
        at_ms = given * factor
        if _LIKELY_SINCE_MS <= at_ms <= LATEST_TIMESTAMP_MS:
            date = datetime.fromtimestamp(at_ms / 1000.0, UTC).date()
            return f"timestamp_ms is {given:.0f}, which is {date} in {unit}; send milliseconds: {at_ms:.0f}"
    return None
