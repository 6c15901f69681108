"""Dead letters, taken out to be mended and put back, each once.

What was put back is noted in ``dead-letters`` itself, beside the letter and for as long: first that it will be, with
where its event's partition ended then, and afterwards that it was. Where only the first is there, an earlier replay was
cut off in between, and whether its event came out is seen in what the partition has got since.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from time import monotonic
from typing import Any, Final, NamedTuple

import msgspec
import orjson
from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, KafkaException, Message, Producer, TopicPartition

from streams.contract.connection import client_configuration
from streams.contract.errors import RefusedStart, RejectedRecord, UndeliveredOutput, UnreachableBroker, UnreadableSource
from streams.contract.events import decode_event, encode_event
from streams.contract.partitioning import partition_of
from streams.contract.settings import Kafka
from streams.contract.topics import CLICKSTREAM, DEAD_LETTERS
from streams.ops.clients import QUIET, partition_counts
from streams.ops.tail import dead_letter

REPLAYING: Final = "replaying"
REPLAYED: Final = "replayed"
ORIGIN_HEADER: Final = "replayed-from"

_AT_ONCE: Final = 1000
_POLL_S: Final = 0.1
_ANSWER_S: Final = 10.0
_DELIVERY_S: Final = 30.0


class Mended(NamedTuple):
    """An event to put back.

    Attributes:
        origin: Where the record was that became the dead letter, ``topic-partition-offset``.
    """

    origin: str
    key: bytes
    value: bytes


class Intention(NamedTuple):
    """A partition of ``clickstream``, and where it ended before an event was put back there."""

    partition: int
    end: int


class Letters(NamedTuple):
    """What ``dead-letters`` holds.

    Attributes:
        letters: Origin to the letter, see :func:`streams.ops.tail.dead_letter`; only of ``clickstream``.
        intended: Origin to the last intention to put it back.
        replayed: Origins of what was put back.
    """

    letters: dict[str, dict[str, Any]]
    intended: dict[str, Intention]
    replayed: set[str]


class ReplaySummary(msgspec.Struct):
    """What a replay did.

    Attributes:
        already_replayed: Lines whose letter had been put back before.
    """

    replayed: int = 0
    already_replayed: int = 0


class DeadLetters:
    """The dead letters of a cluster. One replay at a time: two at once may both put a letter back.

    Raises (all methods):
        UnreachableBroker: The broker does not answer.
    """

    def __init__(self, kafka: Kafka) -> None:
        self._kafka = kafka
        self._consumer = Consumer(
            {
                **client_configuration(kafka),
                **QUIET,
                "group.id": "headrace-dead-letters",  # required by the client; nothing is ever committed to it
                "enable.auto.commit": False,
                "enable.partition.eof": True,
                "fetch.wait.max.ms": 100,
            }
        )
        counts = partition_counts(self._consumer, kafka.bootstrap_servers)
        if missing := {CLICKSTREAM, DEAD_LETTERS} - set(counts):
            raise RefusedStart(
                f"there is no topic {min(missing)} at {kafka.bootstrap_servers}: run `headrace topics create`"
            )
        self._partitions = counts[CLICKSTREAM]
        self._producer = Producer(
            {
                **client_configuration(kafka),
                **QUIET,
                "acks": "all",
                "enable.idempotence": True,
                "compression.type": "lz4",
                "delivery.timeout.ms": int(_DELIVERY_S * 1000),
            }
        )

    def read(self) -> Letters:
        """Reads the whole topic."""
        found = Letters({}, {}, set())
        for message in self._to_the_end(DEAD_LETTERS, 0, OFFSET_BEGINNING):
            letter = dead_letter(message)
            if letter["topic"] != CLICKSTREAM:
                continue
            origin = "{topic}-{partition}-{offset}".format(**letter)
            if letter["reason"] == REPLAYED:
                found.replayed.add(origin)
            elif letter["reason"] == REPLAYING:
                found.intended[origin] = msgspec.json.decode(letter["detail"], type=Intention)
            else:
                found.letters[origin] = letter
        return found

    def export(self, reason: str | None = None) -> Iterator[bytes]:
        """Yields the letters that were not put back yet as lines to be mended.

        Each has ``origin``, ``reason``, ``detail``, and ``event`` where the record is a JSON object, else ``text``; of
        a record over ``engine.dead_letter_bytes`` that is the beginning.
        """
        found = self.read()
        for origin, letter in found.letters.items():
            if origin not in found.replayed and reason in (None, letter["reason"]):
                line = {"origin": origin, "reason": letter["reason"], "detail": letter["detail"]}
                yield orjson.dumps({**line, **_editable(letter["value"])})

    def replay(self, mended: Sequence[Mended]) -> ReplaySummary:
        """Puts mended events back into ``clickstream``, unless they were put back before.

        Raises:
            UnreadableSource: A line names a dead letter that is not there.
            RefusedStart: An earlier replay was cut off, and retention has removed what would show how far it came.
            UndeliveredOutput: The broker did not take a record. Run it again.
        """
        found = self.read()
        if unknown := [each.origin for each in mended if each.origin not in found.letters]:
            raise UnreadableSource(f"there is no dead letter of {unknown[0]}: leave `origin` as it was exported")
        fresh = [each for each in mended if each.origin not in found.replayed]
        cut_off = {each.origin: found.intended[each.origin] for each in fresh if each.origin in found.intended}
        came_out = self._came_out(cut_off) if cut_off else set()
        self.note_replayed(came_out)
        due = [each for each in fresh if each.origin not in came_out]
        self.intend(due)
        self.publish(due)
        self.note_replayed([each.origin for each in due])
        return ReplaySummary(len(due), len(mended) - len(due))

    def intend(self, mended: Iterable[Mended]) -> None:
        """Notes what will be put back, and where the partitions end now."""
        ends: dict[int, int] = {}
        for each in mended:
            number = partition_of(each.key, self._partitions)
            if number not in ends:
                ends[number] = self._end(number)
            detail = msgspec.json.encode(Intention(number, ends[number]))
            self._produce(DEAD_LETTERS, 0, b"", None, _headers(each.origin, REPLAYING, detail))
        self._flush()

    def publish(self, mended: Iterable[Mended]) -> None:
        """Puts events back, in their order, with their origin in a header."""
        for each in mended:
            number = partition_of(each.key, self._partitions)
            self._produce(CLICKSTREAM, number, each.value, each.key, [(ORIGIN_HEADER, each.origin.encode())])
        self._flush()

    def note_replayed(self, origins: Iterable[str]) -> None:
        """Notes what was put back."""
        for origin in origins:
            self._produce(DEAD_LETTERS, 0, b"", None, _headers(origin, REPLAYED, b"put back into clickstream"))
        self._flush()

    def close(self) -> None:
        """Ends the connection."""
        self._consumer.close()

    def _came_out(self, intended: Mapping[str, Intention]) -> set[str]:
        """Finds which events of a replay that was cut off are in their partitions."""
        begins: dict[int, int] = {}
        for number, end in intended.values():
            begins[number] = min(end, begins.get(number, end))
        found: set[str] = set()
        for number, begin in begins.items():
            first, _ = self._ask(number)
            if first > begin:
                raise RefusedStart(
                    f"an earlier replay was cut off, and {CLICKSTREAM}[{number}] now begins at {first}, past {begin}, "
                    "where its events would be: take the lines out that `headrace tail dead-letters` calls replaying"
                )
            for message in self._to_the_end(CLICKSTREAM, number, begin):
                headers = dict(message.headers() or [])
                if isinstance(origin := headers.get(ORIGIN_HEADER), bytes):
                    found.add(origin.decode(errors="replace"))
        return found & set(intended)

    def _to_the_end(self, topic: str, number: int, begin: int) -> Iterator[Message]:
        self._consumer.assign([TopicPartition(topic, number, begin)])
        try:
            heard_s = monotonic()
            while monotonic() - heard_s < _ANSWER_S:
                for message in self._consumer.consume(_AT_ONCE, _POLL_S):
                    heard_s = monotonic()
                    error = message.error()
                    if error is None:
                        yield message
                    elif error.code() == KafkaError._PARTITION_EOF:
                        return
                    elif not error.retriable():
                        raise UnreachableBroker(f"{topic} cannot be read: {error.str()}")
            raise UnreachableBroker(f"{topic} cannot be read: nothing came for {_ANSWER_S:.0f} s")
        finally:
            self._consumer.unassign()

    def _end(self, number: int) -> int:
        return self._ask(number)[1]

    def _ask(self, number: int) -> tuple[int, int]:
        try:
            first, end = self._consumer.get_watermark_offsets(TopicPartition(CLICKSTREAM, number), _ANSWER_S)
        except KafkaException as error:
            raise UnreachableBroker(f"{CLICKSTREAM}[{number}] does not say where it ends: {error}") from error
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
    """Reads a file of mended lines, whole, before anything is put back.

    Raises:
        UnreadableSource: A line is no mended letter, or its event would be rejected again.
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
                raise UnreadableSource(f"{file}:{number}: {each.origin} is there twice")
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
        raise UnreadableSource(f"{place}: there is no event; mend the text and put it under `event`, as an object")
    try:
        event = decode_event(bytes(parsed.event))
    except RejectedRecord as rejection:
        raise UnreadableSource(f"{place}: it would be rejected again: {rejection}") from rejection
    if event.user_id is None:
        raise UnreadableSource(f"{place}: a tick is for a partition, not a user; leave it out")
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
