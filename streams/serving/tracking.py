"""Messages of Segment's and RudderStack's libraries, mapped to events as ``headrace replay`` maps a file of them."""

import asyncio
from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime
from hashlib import blake2b
from typing import Annotated, Any, Final, NamedTuple

import msgspec
from msgspec import Meta

from producers.delimited import count_name
from producers.formats.format import Mapped
from producers.formats.registry import FORMATS
from streams.contract.errors import RejectedRecord
from streams.contract.events import encode_event
from streams.serving.problems import Problem
from streams.serving.submission import MAX_EVENTS, NewRecord, Rejection, SubmissionParser

TYPES: Final = ("track", "page", "screen", "identify", "group", "alias")
"""Types of messages; some libraries send each to a path of its own, or of its first letter."""
MAX_MESSAGE_BYTES: Final = 32 * 1024
"""Of one message, as Segment has it; it bounds how long the others wait for one of them to be mapped."""

[_FORM] = FORMATS["segment"]
_AT_ONCE: Final = 50
_ONE_MORE: Final = "%s, and %d more of this message"
_decode: Final = msgspec.json.Decoder(dict[str, Any]).decode


class Batch(msgspec.Struct, frozen=True, rename="camel"):
    """Body of ``POST /v1/batch``.

    Attributes:
        batch: Messages, each as in ``POST /v1/track``.
        sent_at: When the library sent them, by the clock of the device, ISO 8601.
    """

    batch: Annotated[list[msgspec.Raw], Meta(max_length=MAX_EVENTS)]
    sent_at: str | None = None


_decode_batch: Final = msgspec.json.Decoder(Batch).decode


class TrackReceipt(msgspec.Struct, frozen=True):
    """Answer to a request with messages.

    Attributes:
        accepted: Number of events that are in ``clickstream``; an order is one for each of its products.
        rejected: Messages of which an event could not be made; sending them again changes nothing.
        unknown: Number of messages by name, of names that the mapping does not know.
        skipped: Number of events by name or reason that the mapping leaves out on purpose.
    """

    accepted: int
    rejected: list[Rejection]
    unknown: dict[str, int]
    skipped: dict[str, int]


class Identified(NamedTuple):
    """A record and the id of its event."""

    event_id: str
    record: NewRecord


class Tracked(NamedTuple):
    """A request's events."""

    records: list[Identified]
    rejected: list[Rejection]
    unknown: Counter[str]
    skipped: Counter[str]

    def receipt(self) -> TrackReceipt:
        return TrackReceipt(len(self.records), self.rejected, self.unknown, self.skipped)


def one_message(body: bytes) -> Batch:
    """Reads the body of ``POST /v1/track``.

    Raises:
        Problem: 400, it is no JSON object.
    """
    if len(body) <= MAX_MESSAGE_BYTES:  # a longer one is refused without a look at it
        try:
            _decode(body)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise Problem(400, "malformed", f"the body is no JSON object: {error}") from error
    return Batch([msgspec.Raw(body)])


def many_messages(body: bytes) -> Batch:
    """Reads the body of ``POST /v1/batch``.

    Raises:
        Problem: 400, it is none: of the libraries, some send anything else again.
    """
    try:
        return _decode_batch(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Problem(400, "malformed", f'the body is not {{"batch": [...], "sentAt": "..."}}: {error}') from error


async def tracked(batch: Batch, parser: SubmissionParser, now_ms: int, default_type: str) -> Tracked:
    """Maps messages to events; other requests are served meanwhile.

    Args:
        now_ms: When they arrived: what the clock of the device is compared with.
        default_type: Type of a message that has none.
    """
    found = Tracked([], [], Counter(), Counter())
    common = {"type": default_type, "sentAt": batch.sent_at}
    arrived = {"receivedAt": datetime.fromtimestamp(now_ms / 1000, UTC).isoformat()}
    for index, raw in enumerate(batch.batch):
        if index % _AT_ONCE == _AT_ONCE - 1:
            await asyncio.sleep(0)
        try:
            mapped = _mapped(bytes(raw), common, arrived)
            reasons = [RejectedRecord("malformed", refused) for refused in mapped.refused]
        except RejectedRecord as rejection:
            mapped, reasons = Mapped([], [], [], []), [rejection]
        for event in mapped.events:
            value = encode_event(event)
            try:
                parser.check(event, value, now_ms)
            except RejectedRecord as rejection:
                reasons.append(rejection)
            else:
                record = NewRecord((event.user_id or "").encode(), value)
                found.records.append(Identified(event.event_id, record))
        if reasons:
            found.rejected.append(_rejection(index, reasons))
        for name in mapped.unknown:
            count_name(found.unknown, name)
        for reason in mapped.skipped:
            count_name(found.skipped, reason)
    return found


def _mapped(message: bytes, common: dict[str, Any], arrived: dict[str, Any]) -> Mapped:
    if len(message) > MAX_MESSAGE_BYTES:
        raise RejectedRecord("oversized", f"the message has {len(message)} bytes; the limit is {MAX_MESSAGE_BYTES}")
    try:
        decoded = _decode(message)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise RejectedRecord("malformed", f"the message is no JSON object: {error}") from error
    # A message without an id has one by its content, the same when it is sent again.
    own_id = "" if decoded.get("messageId") else f"{_FORM.name}-{blake2b(message, digest_size=16).hexdigest()}"
    return _FORM.map({**common, **decoded, **arrived}, own_id)


def _rejection(index: int, reasons: Sequence[RejectedRecord]) -> Rejection:
    first, *others = reasons
    detail = _ONE_MORE % (first.detail, len(others)) if others else first.detail
    return Rejection(index, first.reason, detail)
