"""Public topics as server-sent events: each connection follows them by a consumer of its own, which joins no group."""

import asyncio
import logging
from collections.abc import Collection, Mapping, Sequence
from threading import Lock
from typing import Any, Final

import msgspec
from confluent_kafka import Consumer, KafkaException, Message, TopicPartition

from streams.contract.connection import reader_configuration
from streams.contract.records import LoggedDecision, decode_logged_decision
from streams.contract.settings import Settings
from streams.contract.topics import (
    CLICKSTREAM,
    DEAD_LETTERS,
    DECISIONS,
    METRICS,
    PREDICTIONS,
    RECOMMENDATIONS,
)
from streams.serving.problems import Problem

STREAMED: Final = (CLICKSTREAM, PREDICTIONS, RECOMMENDATIONS, DECISIONS, METRICS, DEAD_LETTERS)
MAX_FOLLOWERS: Final = 16
"""Each has threads and buffers of its own."""

_log: Final = logging.getLogger(__name__)
_AT_ONCE: Final = 500
_WAIT_S: Final = 0.25
_ANSWER_S: Final = 5.0
_TOO_FAR_BEHIND: Final = 10_000
"""Records of a partition; a reader that is further behind goes on at its end."""
_QUIET_TURNS: Final = 60
"""Turns without a record until a comment shows that the connection is alive: 15 s."""
_encode: Final = msgspec.json.Encoder().encode

Positions = dict[tuple[str, int], int]
"""Next offset of each partition of a topic, as the code calls it."""


class StreamedRecord(msgspec.Struct, frozen=True, omit_defaults=True):
    """Data of one server-sent event; its type is the topic.

    Attributes:
        value: The record's JSON; of a decision its fields but the features; text where it is no JSON.
        headers: Of a dead letter.
    """

    partition: int
    offset: int
    timestamp_ms: int
    key: str | None
    value: Any
    headers: dict[str, str] = {}


class Follower:
    """What one connection follows; its methods wait, so they run on a thread, one at a time.

    Args:
        positions: Where to begin; topics without one begin at their end.
        user_id: Only records with this key.
    """

    def __init__(
        self, settings: Settings, topics: Collection[str], user_id: str | None, positions: Mapping[tuple[str, int], int]
    ) -> None:
        self._called = {settings.names.topic(topic): topic for topic in topics}
        self._partitions = {topic.called: topic.partitions for topic in settings.topics}
        self._key = None if user_id is None else user_id.encode()
        self._positions: Positions = dict(positions)
        # A connection may be cancelled while a thread reads for it.
        self._using = Lock()
        self._consumer = Consumer({**reader_configuration(settings), "queued.max.messages.kbytes": 1024})

    def start(self) -> None:
        """Finds the ends of the topics, and reads on from there, or from the given positions.

        Raises:
            KafkaException: The broker did not answer, or has no such topic.
        """
        places = []
        for name, topic in self._called.items():
            for number in range(self._partitions[topic]):
                place = TopicPartition(name, number)
                first, end = self._consumer.get_watermark_offsets(place, timeout=_ANSWER_S)
                asked = self._positions.get((topic, number), end)
                place.offset = self._positions[topic, number] = min(max(asked, first), end)
                places.append(place)
        self._consumer.assign(places)

    def read(self) -> bytes:
        """Waits a moment for records; returns them as server-sent events, empty if there are none."""
        with self._using:
            return self._read()

    def close(self) -> None:
        with self._using:
            self._consumer.close()

    def _read(self) -> bytes:
        dropped = self._skip()
        events = [b"event: dropped\ndata: %b\n\n" % _encode({"records": dropped})] if dropped else []
        for message in self._consumer.consume(_AT_ONCE, _WAIT_S):
            if (error := message.error()) is not None:
                _log.warning("%s: %s", message.topic(), error.str())
                continue
            topic, place = self._called[message.topic() or ""], (message.partition() or 0, message.offset() or 0)
            self._positions[topic, place[0]] = place[1] + 1
            if self._key is None or message.key() == self._key:
                data = _encode(_streamed(topic, message))
                events.append(b"event: %b\nid: %b\ndata: %b\n\n" % (topic.encode(), self._id(), data))
        return b"".join(events)

    def _id(self) -> bytes:
        return ",".join(
            f"{topic}-{number}-{next_}" for (topic, number), next_ in sorted(self._positions.items())
        ).encode()

    def _skip(self) -> int:
        """Goes to the end of partitions that the connection is too slow for; returns the number of records left out."""
        dropped = 0
        for (topic, number), position in self._positions.items():
            [name] = [each for each, called in self._called.items() if called == topic]
            # What the client knows already: it asks nobody.
            _, end = self._consumer.get_watermark_offsets(TopicPartition(name, number), cached=True)
            if end - position > _TOO_FAR_BEHIND:
                dropped += end - position
                self._positions[topic, number] = end
                self._consumer.seek(TopicPartition(name, number, end))
        return dropped


class Followers:
    """The connections of one door."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._open = 0
        self._is_ending = False

    def end(self) -> None:
        """Ends all connections within a moment."""
        self._is_ending = True

    async def open(self, topics: Sequence[str], user_id: str | None, last_id: str) -> Follower:
        """Begins to follow.

        Raises:
            Problem: 422 for a topic that is not public or an id that is none; 429 for too many connections; 503 where
                no broker answers.
        """
        unknown = sorted({*topics} - {*STREAMED})
        if unknown or not topics:
            raise Problem(
                422, "invalid", f"topics are some of {', '.join(STREAMED)}, not {', '.join(unknown) or 'none'}"
            )
        if self._open >= MAX_FOLLOWERS:
            raise Problem(429, "too-busy", f"{MAX_FOLLOWERS} connections follow topics already", retry_after_s=10)
        follower = Follower(self._settings, topics, user_id, _positions(last_id, topics))
        self._open += 1
        try:
            await asyncio.to_thread(follower.start)
        except KafkaException as error:
            await self.close(follower)
            raise Problem(503, "no-broker", error.args[0].str(), retry_after_s=1) from error
        return follower

    async def read(self, follower: Follower) -> bytes | None:
        """Returns the next events, or a comment after a while without any; ``None`` when the door ends."""
        for _ in range(_QUIET_TURNS):
            if self._is_ending:
                return None
            if events := await asyncio.to_thread(follower.read):
                return events
        return b": nothing new\n\n"

    async def close(self, follower: Follower) -> None:
        """Ends a connection's reading."""
        self._open -= 1
        await asyncio.to_thread(follower.close)


def _positions(last_id: str, topics: Sequence[str]) -> Positions:
    try:
        parts = [each.rsplit("-", 2) for each in last_id.split(",") if each]
        found = {(topic, int(number)): int(offset) for topic, number, offset in parts}
    except ValueError as error:
        raise Problem(422, "invalid", "Last-Event-ID is none of this endpoint") from error
    return {place: offset for place, offset in found.items() if place[0] in topics}


def _streamed(topic: str, message: Message) -> StreamedRecord:
    value, key = message.value() or b"", message.key()
    headers = {} if topic != DEAD_LETTERS else {name: _text(text) for name, text in _pairs(message)}
    return StreamedRecord(
        message.partition() or 0,
        message.offset() or 0,
        message.timestamp()[1],
        None if key is None else _text(key),
        _value(topic, value),
        headers,
    )


def _pairs(message: Message) -> list[tuple[str, str | bytes | None]]:
    headers = message.headers() or []
    return [*headers.items()] if isinstance(headers, dict) else headers


def _value(topic: str, value: bytes) -> Any:
    try:
        if topic == DECISIONS:
            decision = decode_logged_decision(value)
            given = ((name, getattr(decision, name)) for name in LoggedDecision.__struct_fields__)
            return {name: each for name, each in given if not isinstance(each, bytes)}
        # Encoded anew: what is copied as it came might not be JSON, or go on over more lines.
        return msgspec.json.decode(value)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return _text(value)


def _text(value: str | bytes | None) -> str:
    return value if isinstance(value, str) else (value or b"").decode("utf-8", "replace")
