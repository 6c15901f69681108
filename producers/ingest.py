"""Mapping of a topic of another shape into ``clickstream``, each record exactly once.

A batch of records is mapped, and its events, its dead letters and the group's offsets are committed in one Kafka
transaction (KIP-447): a process that was replaced commits nothing more, and the next one begins at the committed
offsets. One producer writes in the order of the batch, so that the events of each source partition keep their order.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from types import TracebackType
from typing import Final, NamedTuple
from uuid import uuid4

import msgspec
from confluent_kafka import Consumer, KafkaError, KafkaException, Message, Producer, TopicPartition

from producers.cluster import partition_count
from producers.delimited import count_name, unknown_advice
from producers.formats.format import Format
from streams.contract.connection import member_configuration, producer_configuration
from streams.contract.errors import ConfigurationError, RejectedRecord, UndeliveredOutput
from streams.contract.events import encode_event
from streams.contract.outputs import Output, dead_letter
from streams.contract.settings import Settings
from streams.contract.topics import CLICKSTREAM

_BATCH: Final = 1000
_POLL_S: Final = 0.2
_START_TIMEOUT_S: Final = 30.0


class Source(NamedTuple):
    """A record of a foreign topic."""

    topic: str
    partition: int
    offset: int
    key: bytes | None
    value: bytes


class IngestSummary(msgspec.Struct):
    """Result of an ingestion; only what was committed is counted.

    Attributes:
        records: Records of the topic.
        events: Events published to ``clickstream``.
        dead_letters: Records of which an event could not be made.
        unknown_events: Number of events by name, of names that the mapping does not know.
        skipped: Number of events by name or reason that the mapping leaves out on purpose.
    """

    records: int = 0
    events: int = 0
    dead_letters: int = 0
    unknown_events: Counter[str] = msgspec.field(default_factory=Counter)
    skipped: Counter[str] = msgspec.field(default_factory=Counter)


def outputs_of(form: Format, source: Source, dead_letter_bytes: int, summary: IngestSummary) -> Iterator[Output]:
    """Maps a record to events of ``clickstream``, and to a dead letter if one of them could not be made.

    An event without an id of its own has ``<format>-<topic>-<partition>-<offset>``, the same at every attempt.

    Args:
        dead_letter_bytes: Bytes of the record that a dead letter keeps.
        summary: Counts what the record became.
    """
    mapped = form.map_json(source.value, f"{form.name}-{source.topic}-{source.partition}-{source.offset}")
    summary.records += 1
    summary.events += len(mapped.events)
    for name in mapped.unknown:
        count_name(summary.unknown_events, name)
    for reason in mapped.skipped:
        count_name(summary.skipped, reason)
    for event in mapped.events:
        yield Output(CLICKSTREAM, (event.user_id or "").encode(), encode_event(event))
    if mapped.refused:
        summary.dead_letters += 1
        rejection = RejectedRecord("malformed", mapped.refused[0])
        value = source.value[:dead_letter_bytes]
        yield dead_letter(source.topic, source.partition, source.offset, source.key, value, rejection)


class Ingestion:
    """Consumer, mapping and producer of one topic. Several processes share the partitions of the topic.

    Args:
        topic: Topic with records in JSON.
        notify: Called with a sentence, once for each name that the mapping does not know and each kind of error.

    Raises:
        ConfigurationError: The format is not of JSON, or the topic is ``clickstream`` itself.
        UnreachableBroker: No broker answers.
        RefusedStart: A topic is missing.
        UndeliveredOutput: The broker opens no transaction.
    """

    def __init__(self, settings: Settings, form: Format, topic: str, notify: Callable[[str], None]) -> None:
        if form.mapping.layout == "delimited":
            raise ConfigurationError(f"{form.name} is a format of delimited text; records of a topic are JSON")
        if topic in {each.name for each in settings.topics}:
            raise ConfigurationError(f"{topic} is a topic of Headrace; --from names one of another shape")
        kafka, engine, names = settings.kafka, settings.engine, settings.names
        self._form = form
        self._topic = topic
        self._notify = notify
        self._said: set[int] = set()
        self._dead_letter_bytes = engine.dead_letter_bytes
        self._timeout_s = engine.delivery_timeout_s
        self._names = names
        group = names.group("ingest", topic)
        self._consumer = Consumer(member_configuration(settings, group))
        timeout_ms = int(engine.transaction_timeout_s * 1000)
        self._producer = Producer(
            {
                **producer_configuration(kafka, min(engine.transaction_timeout_s, self._timeout_s)),
                # The generation of the group fences; an id of its own keeps two processes of it apart.
                "transactional.id": names.group("ingest", topic, uuid4().hex),
                "transaction.timeout.ms": timeout_ms,
            }
        )
        self.summary = IngestSummary()
        try:
            for each in (names.events, topic):
                partition_count(self._consumer, each, _START_TIMEOUT_S)
            self._producer.init_transactions(self._timeout_s)
            self._consumer.subscribe([topic])
        except KafkaException as error:
            self.close()
            raise UndeliveredOutput(f"{topic}: {error.args[0].str()}") from error
        except BaseException:
            self.close()
            raise

    def run(self, should_stop: Callable[[], bool], advance: Callable[[int], None]) -> None:
        """Maps records until ``should_stop``.

        Args:
            should_stop: Called between batches.
            advance: Called with the number of records committed since the last call.

        Raises:
            UndeliveredOutput: The broker does not take the events; nothing of the last batch was committed.
        """
        while not should_stop():
            messages = self._consumer.consume(_BATCH, _POLL_S)
            for message in messages:
                if (error := message.error()) is not None:
                    self._say(error)
            sources = [_source(message) for message in messages if message.error() is None]
            if sources:
                advance(self._commit(sources))

    def _say(self, error: KafkaError) -> None:
        """Says each kind of error once; the client goes on by itself, unless the error is fatal."""
        if error.fatal():
            raise UndeliveredOutput(f"{self._topic}: {error.str()}")
        if error.code() not in self._said:
            self._said.add(error.code())
            self._notify(f"{self._topic}: {error.str()}")

    def _commit(self, sources: Sequence[Source]) -> int:
        """Commits one batch; returns the number of its records, or 0 if the batch is to be read again."""
        attempt = IngestSummary()
        try:
            self._producer.begin_transaction()
            for source in sources:
                for output in outputs_of(self._form, source, self._dead_letter_bytes, attempt):
                    self._produce(output)
            ends = {(source.topic, source.partition): source.offset + 1 for source in sources}
            positions = [TopicPartition(topic, partition, offset) for (topic, partition), offset in ends.items()]
            group = self._consumer.consumer_group_metadata()
            self._producer.send_offsets_to_transaction(positions, group, self._timeout_s)
            self._producer.commit_transaction(self._timeout_s)
        except KafkaException as error:
            if not error.args[0].txn_requires_abort():
                raise UndeliveredOutput(f"{self._names.events}: {error.args[0].str()}") from error
            self._abort(sources)
            return 0
        for name in attempt.unknown_events:
            if name not in self.summary.unknown_events:
                self._notify(unknown_advice(repr(name)))
        _add(self.summary, attempt)
        return len(sources)

    def _produce(self, output: Output) -> None:
        while True:
            try:
                self._producer.produce(
                    self._names.topic(output.topic),
                    output.value,
                    output.key,
                    -1 if output.partition is None else output.partition,
                    headers=list(output.headers),
                )
            except BufferError:
                self._producer.poll(_POLL_S)
            else:
                self._producer.poll(0)
                return

    def _abort(self, sources: Sequence[Source]) -> None:
        """Aborts the transaction of a batch, which is read again; partitions that have moved are their new owner's."""
        first = {(source.topic, source.partition): source.offset for source in reversed(sources)}
        try:
            self._producer.abort_transaction(self._timeout_s)
            assigned = {(place.topic, place.partition) for place in self._consumer.assignment()}
            for topic, partition in assigned & first.keys():
                self._consumer.seek(TopicPartition(topic, partition, first[topic, partition]))
        except KafkaException as error:
            raise UndeliveredOutput(f"{self._names.events}: {error.args[0].str()}") from error

    def close(self) -> None:
        """Leaves the group."""
        self._consumer.close()

    def __enter__(self) -> "Ingestion":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _source(message: Message) -> Source:
    topic, partition, offset, key = message.topic(), message.partition(), message.offset(), message.key()
    if topic is None or partition is None or offset is None:
        raise UndeliveredOutput("a record that was read has no place")
    return Source(topic, partition, offset, key if isinstance(key, bytes) else None, message.value() or b"")


def _add(total: IngestSummary, more: IngestSummary) -> None:
    total.records += more.records
    total.events += more.events
    total.dead_letters += more.dead_letters
    for name, count in more.unknown_events.items():
        count_name(total.unknown_events, name, count)
    for reason, count in more.skipped.items():
        count_name(total.skipped, reason, count)
