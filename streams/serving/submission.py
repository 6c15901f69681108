"""Events of one request: parsed, validated as the fold does it, and addressed."""

from collections import Counter
from collections.abc import Sequence
from typing import Final, NamedTuple

import msgspec

from streams.contract.errors import RejectedRecord
from streams.contract.event_kinds import kinds_of
from streams.contract.events import MAX_RETRIED_EVENTS, Event, decode_event
from streams.contract.settings import Settings
from streams.contract.topics import CLICKSTREAM
from streams.core.behaviour.admission import Admission
from streams.serving.integers import as_integers
from streams.serving.problems import Problem

OPERATORS_KINDS: Final = frozenset(kinds_of("time"))
"""Kinds that change more than their own shopper; only whoever has the key may send them."""

OPERATORS_ONLY: Final = "operators-only"
MAX_EVENTS: Final = 2500
"""Of one request: the answer names each event that is refused, and no other request is served while they are parsed."""

_decode_one: Final = msgspec.json.Decoder(msgspec.Raw).decode
_decode_many: Final = msgspec.json.Decoder(list[msgspec.Raw]).decode


class NewRecord(NamedTuple):
    """A record to append.

    Attributes:
        value: ``None`` for a tombstone.
        partition: For a record without a key; ``None`` for the partition of the key.
        topic: Its name in the code.
    """

    key: bytes | None
    value: bytes | None
    partition: int | None = None
    topic: str = CLICKSTREAM


class Rejection(msgspec.Struct, frozen=True):
    """An event of a request that was refused.

    Attributes:
        index: Its place in the request, 0 is the first.
        reason: As that of a dead letter, or ``operators-only``.
    """

    index: int
    reason: str
    detail: str


class Receipt(msgspec.Struct, frozen=True):
    """Answer to a request with events.

    Attributes:
        accepted: Number of events that are in ``clickstream``.
        rejected: Those that are not; sending them again changes nothing.
    """

    accepted: int
    rejected: list[Rejection]


class Submission(NamedTuple):
    """A request's events.

    Attributes:
        accepted: Number of events in ``records``; a tick has a record for each partition.
    """

    accepted: int
    records: list[NewRecord]
    rejected: list[Rejection]


class _Arrived(NamedTuple):
    """An event as the record that it will be; see :class:`streams.contract.fold.SourceRecord`."""

    value: bytes
    timestamp: int
    key: bytes | None = None
    offset: int = 0
    timestamp_type: int = 0


class SubmissionParser:
    """Parser of requests; what it lets pass is applied, unless the row is against it (``flood``, ``stale``)."""

    def __init__(self, settings: Settings) -> None:
        self._admission = Admission(settings.admission, settings.time.ahead_tolerance_s)
        self._partitions = settings.kafka.partitions

    def parse(self, body: bytes, now_ms: int, *, is_operator: bool) -> Submission:
        """Parses one event or an array of events.

        Args:
            now_ms: When it arrived, which is compared with the events' times.
            is_operator: Whether the request carries the secret key.

        Raises:
            Problem: The body is no JSON, has too many events, or more of one user than the fold remembers: a second
                attempt would count some of them twice.
        """
        records, rejected, accepted = list[NewRecord](), list[Rejection](), 0
        by_user: Counter[str] = Counter()
        events = _split(body)
        if len(events) > MAX_EVENTS:
            raise Problem(422, "too-many-events", f"{len(events)} events; send at most {MAX_EVENTS} in one request")
        for index, raw in enumerate(events):
            try:
                value, event = self._decode(bytes(raw), now_ms)
            except RejectedRecord as rejection:
                rejected.append(Rejection(index, rejection.reason, rejection.detail))
                continue
            if event.kind in OPERATORS_KINDS and not is_operator:
                rejected.append(Rejection(index, OPERATORS_ONLY, f"a {event.kind} needs the secret key"))
                continue
            accepted += 1
            if event.user_id is None:
                records += [NewRecord(None, value, partition) for partition in range(self._partitions)]
            else:
                by_user[event.user_id] += 1
                records.append(NewRecord(event.user_id.encode(), value))
        for user, count in by_user.most_common(1):
            if count > MAX_RETRIED_EVENTS:
                raise Problem(
                    422,
                    "too-many-of-one-user",
                    f"{count} events of user {user!r}; send at most {MAX_RETRIED_EVENTS} in one request, so "
                    "that sending it again counts none of them twice",
                )
        return Submission(accepted, records, rejected)

    def _decode(self, value: bytes, now_ms: int) -> tuple[bytes, Event]:
        """Decodes an event, and returns how to write it: as it came, but for numbers like ``5.0`` among integers."""
        try:
            return value, self.decode(value, now_ms)
        except RejectedRecord as rejection:
            # The detail may be of what a number would be in another unit.
            rewritten = as_integers(value, str(rejection.__cause__))
            if rewritten is None:
                raise
            return rewritten, self.decode(rewritten, now_ms)

    def decode(self, value: bytes, now_ms: int) -> Event:
        """Decodes and validates one event.

        Raises:
            RejectedRecord: The fold would refuse it.
        """
        event = decode_event(value)
        self.check(event, value, now_ms)
        return event

    def check(self, event: Event, value: bytes, now_ms: int) -> None:
        """Checks an event's size and time.

        Raises:
            RejectedRecord: The fold would refuse it.
        """
        self._admission.check(_Arrived(value, now_ms), event)


def _split(body: bytes) -> Sequence[msgspec.Raw]:
    try:
        if body.lstrip()[:1] == b"[":
            return _decode_many(body)
        return [_decode_one(body)]
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Problem(400, "malformed", f"the body is neither an event nor an array of events: {error}") from error
