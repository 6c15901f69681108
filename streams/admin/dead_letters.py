"""Export of dead letters, and replay of mended ones, each once.

A replay writes two notes for each letter into ``dead-letters`` itself, which keeps them as long as the letter: before
the event is published, the end offset of its partition; and afterwards, that it was published. If only the first note
is there, an earlier replay was interrupted; then the partition is read from that offset to find out whether the event
was published.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

import msgspec
import orjson
from confluent_kafka import KafkaError, KafkaException, Message, Producer, TopicPartition

from streams.admin.tail import dead_letter
from streams.admin.topic_reader import partition_reader, read_to_end, require_topics
from streams.contract.connection import producer_configuration
from streams.contract.errors import RefusedStart, RejectedRecord, UndeliveredOutput, UnreachableBroker, UnreadableSource
from streams.contract.events import decode_event, encode_event
from streams.contract.partitioning import partition_of
from streams.contract.settings import Settings
from streams.contract.topics import CLICKSTREAM, DEAD_LETTERS

REPLAYING: Final = "replaying"
REPLAYED: Final = "replayed"
ORIGIN_HEADER: Final = "replayed-from"

_ANSWER_S: Final = 10.0
_DELIVERY_S: Final = 30.0


class Mended(NamedTuple):
    """A mended event, to be published again.

    Attributes:
        origin: Origin of the record that became the dead letter, ``topic-partition-offset``.
    """

    origin: str
    key: bytes
    value: bytes


class Intention(NamedTuple):
    """A partition of ``clickstream``, and its end offset before an event was published to it again."""

    partition: int
    end: int


class Letters(NamedTuple):
    """Content of ``dead-letters``, as far as it is of ``clickstream``.

    Attributes:
        letters: Origin to the letter, see :func:`streams.admin.tail.dead_letter`.
        intended: Origin to the note of the last replay that began.
        replayed: Origins of the replayed letters.
    """

    letters: dict[str, dict[str, Any]]
    intended: dict[str, Intention]
    replayed: set[str]


class ReplaySummary(msgspec.Struct):
    """Result of a replay.

    Attributes:
        already_replayed: Lines whose letter had been replayed before.
    """

    replayed: int = 0
    already_replayed: int = 0


class DeadLetters:
    """The dead letters of a cluster. Run one replay at a time: two at once may both publish an event.

    Raises (all methods):
        UnreachableBroker: The broker does not answer.
    """

    def __init__(self, settings: Settings) -> None:
        names = settings.names
        self._clickstream, self._dead_letters = names.events, names.topic(DEAD_LETTERS)
        self._consumer = partition_reader(settings)
        self._partitions = require_topics(self._consumer, settings, CLICKSTREAM, DEAD_LETTERS)[CLICKSTREAM]
        self._producer = Producer(producer_configuration(settings.kafka, _DELIVERY_S))

    def read(self) -> Letters:
        """Reads the whole topic."""
        content = Letters({}, {}, set())
        for message in read_to_end(self._consumer, self._dead_letters, 0):
            letter = dead_letter(message)
            if letter["topic"] != CLICKSTREAM:
                continue
            origin = "{topic}-{partition}-{offset}".format(**letter)
            if letter["reason"] == REPLAYED:
                content.replayed.add(origin)
            elif letter["reason"] == REPLAYING:
                content.intended[origin] = msgspec.json.decode(letter["detail"], type=Intention)
            else:
                content.letters[origin] = letter
        return content

    def export(self, reason: str | None = None) -> Iterator[bytes]:
        """Yields the letters that were not replayed yet, as lines to be mended.

        Each has ``origin``, ``reason``, ``detail``, and ``event`` if the record is a JSON object, else ``text``; a
        record over ``engine.dead_letter_bytes`` is cut to that size.
        """
        content = self.read()
        for origin, letter in content.letters.items():
            if origin not in content.replayed and reason in (None, letter["reason"]):
                line = {"origin": origin, "reason": letter["reason"], "detail": letter["detail"]}
                yield orjson.dumps({**line, **_editable(letter["value"])})

    def replay(self, mended: Sequence[Mended]) -> ReplaySummary:
        """Publishes mended events to ``clickstream``, except those that were published before.

        Raises:
            UnreadableSource: A line names an unknown dead letter.
            RefusedStart: An earlier replay was interrupted, and retention has removed the records that would show which
                of its events were published.
            UndeliveredOutput: The broker did not take a record. Run it again.
        """
        content = self.read()
        if unknown := [each.origin for each in mended if each.origin not in content.letters]:
            raise UnreadableSource(f"there is no dead letter of {unknown[0]}: leave `origin` as it was exported")
        new = [each for each in mended if each.origin not in content.replayed]
        interrupted = {each.origin: content.intended[each.origin] for each in new if each.origin in content.intended}
        published = self._published(interrupted) if interrupted else set()
        self.note_replayed(published)
        due = [each for each in new if each.origin not in published]
        self.intend(due)
        self.publish(due)
        self.note_replayed([each.origin for each in due])
        return ReplaySummary(len(due), len(mended) - len(due))

    def intend(self, mended: Iterable[Mended]) -> None:
        """Writes the note before publishing: each event's partition and its present end offset."""
        ends: dict[int, int] = {}
        for each in mended:
            number = partition_of(each.key, self._partitions)
            if number not in ends:
                _, ends[number] = self._offsets(number)
            detail = msgspec.json.encode(Intention(number, ends[number]))
            self._produce(self._dead_letters, 0, b"", None, _headers(each.origin, REPLAYING, detail))
        self._flush()

    def publish(self, mended: Iterable[Mended]) -> None:
        """Publishes events, in their order, with their origin in a header."""
        for each in mended:
            number = partition_of(each.key, self._partitions)
            self._produce(self._clickstream, number, each.value, each.key, [(ORIGIN_HEADER, each.origin.encode())])
        self._flush()

    def note_replayed(self, origins: Iterable[str]) -> None:
        """Writes the note after publishing."""
        for origin in origins:
            self._produce(self._dead_letters, 0, b"", None, _headers(origin, REPLAYED, b"put back into clickstream"))
        self._flush()

    def close(self) -> None:
        """Closes the connection."""
        self._consumer.close()

    def _published(self, intended: Mapping[str, Intention]) -> set[str]:
        """Finds the events of an interrupted replay that are in their partitions."""
        begins: dict[int, int] = {}
        for number, end in intended.values():
            begins[number] = min(end, begins.get(number, end))
        found: set[str] = set()
        for number, begin in begins.items():
            first, _ = self._offsets(number)
            if first > begin:
                raise RefusedStart(
                    f"an earlier replay was interrupted, and retention has removed {self._clickstream}[{number}] from "
                    f"offset {begin} to {first}, where its events would be: remove the lines whose origin has the "
                    f"reason {REPLAYING!r} in `headrace tail dead-letters`"
                )
            for message in read_to_end(self._consumer, self._clickstream, number, begin):
                headers = dict(message.headers() or [])
                if isinstance(origin := headers.get(ORIGIN_HEADER), bytes):
                    found.add(origin.decode(errors="replace"))
        return found & set(intended)

    def _offsets(self, number: int) -> tuple[int, int]:
        try:
            first, end = self._consumer.get_watermark_offsets(TopicPartition(self._clickstream, number), _ANSWER_S)
        except KafkaException as error:
            raise UnreachableBroker(f"the offsets of {self._clickstream}[{number}] cannot be read: {error}") from error
        return first, end

    def _produce(
        self, topic: str, number: int, value: bytes, key: bytes | None, headers: list[tuple[str, str | bytes | None]]
    ) -> None:
        while True:
            try:
                self._producer.produce(topic, value, key, number, headers=headers, on_delivery=_raise_failure)
            except BufferError:
                self._producer.poll(0.1)
            else:
                return

    def _flush(self) -> None:
        if self._producer.flush(2 * _DELIVERY_S):
            raise UndeliveredOutput("the broker did not take all records; run this again")


def read_mended(file: Path) -> list[Mended]:
    """Reads and checks a whole file of mended lines.

    Raises:
        UnreadableSource: A line is not a mended letter, or its event would be rejected again.
    """
    try:
        lines = file.read_bytes().splitlines()
    except OSError as error:
        raise UnreadableSource(f"{file} cannot be read: {error.strerror}") from error
    mended: dict[str, Mended] = {}
    for number, line in enumerate(lines, start=1):
        if line.strip():
            each = _mended(line, f"{file}:{number}")
            if each.origin in mended:
                raise UnreadableSource(f"{file}:{number}: {each.origin} has another line above; remove one")
            mended[each.origin] = each
    return list(mended.values())


class _Line(msgspec.Struct):
    origin: str
    event: msgspec.Raw = msgspec.Raw()


def _mended(line: bytes, place: str) -> Mended:
    try:
        parsed = msgspec.json.decode(line, type=_Line)
    except msgspec.DecodeError as error:
        raise UnreadableSource(f"{place}: {error}") from error
    if not bytes(parsed.event):
        raise UnreadableSource(f"{place}: there is no `event`; mend the text and put it under `event`, as an object")
    try:
        event = decode_event(bytes(parsed.event))
    except RejectedRecord as rejection:
        raise UnreadableSource(f"{place}: the event would be rejected again: {rejection}") from rejection
    if event.user_id is None:
        raise UnreadableSource(f"{place}: a tick is for a partition, not a user; remove the line")
    return Mended(parsed.origin, event.user_id.encode(), encode_event(event))


def _editable(value: str) -> Mapping[str, Any]:
    try:
        event = orjson.loads(value)
    except orjson.JSONDecodeError:
        return {"text": value}
    return {"event": event} if isinstance(event, dict) else {"text": value}


def _headers(origin: str, reason: str, detail: bytes) -> list[tuple[str, str | bytes | None]]:
    topic, partition, offset = origin.rsplit("-", 2)
    return [
        ("reason", reason.encode()),
        ("detail", detail),
        ("topic", topic.encode()),
        ("partition", partition.encode()),
        ("offset", offset.encode()),
    ]


def _raise_failure(error: KafkaError | None, message: Message) -> None:
    if error is not None:
        raise UndeliveredOutput(f"{message.topic()}[{message.partition()}] did not take a record: {error.str()}")
