"""Writer of ``clickstream`` and ``catalogue``: a Kafka producer whose deliveries are awaited on the event loop."""

import asyncio
import logging
import threading
from collections.abc import Callable, Sequence
from typing import Any, Final, NamedTuple, Protocol

from confluent_kafka import KafkaError, KafkaException, Message, Producer

from streams.contract.connection import producer_configuration
from streams.contract.errors import UndeliveredOutput
from streams.contract.names import Names
from streams.contract.settings import Settings
from streams.serving.submission import NewRecord

_log: Final = logging.getLogger(__name__)
_POLL_S: Final = 0.1
_ANSWER_S: Final = 1.0
_LINGER_MS: Final = 1.0
_ANY: Final = -1


class Place(NamedTuple):
    """Partition and offset of a record."""

    partition: int
    offset: int


class EventLog(Protocol):
    """Destination of events: Kafka, or memory in a test."""

    async def append(self, records: Sequence[NewRecord]) -> list[Place]:
        """Appends records and waits until all replicas have them; those of one key keep their order.

        Raises:
            QueueFull: There is no room; some of the records may be appended nevertheless.
            UndeliveredOutput: Some or all of the records may not be appended.
        """
        ...

    def reasons_not_ready(self) -> list[str]: ...


class QueueFull(Exception):
    """The producer's queue has no room."""


class ClickstreamWriter:
    """Writer of events through one idempotent producer at a time.

    A fatal error makes a producer useless for good. The next request then gets a new one; what the old one still held
    fails, and whoever sends it again, with the same event ids, is not counted twice.

    Attributes:
        producers: Number of producers that were made.
    """

    def __init__(self, settings: Settings, loop: asyncio.AbstractEventLoop) -> None:
        self._configuration = {
            **producer_configuration(settings.kafka, settings.engine.delivery_timeout_s),
            "linger.ms": _LINGER_MS,
            # The door bounds the bytes of its requests; the client must not refuse what that lets pass.
            "queue.buffering.max.messages": 0,
            "queue.buffering.max.kbytes": 2 * settings.serve.inflight_bytes // 1024 + 1024,
        }
        self._loop = loop
        self._names, self._partitions = settings.names, settings.kafka.partitions
        self._producer = self._new_producer()
        self.producers = 1

    async def append(self, records: Sequence[NewRecord]) -> list[Place]:
        if self._producer.is_fatal:
            _log.warning("%s: the producer had a fatal error; a new one takes its place", self._names.events)
            self._producer = self._new_producer()
            self.producers += 1
        return await _Delivery(self._loop, len(records)).of(self._producer, records)

    def _new_producer(self) -> "_RunningProducer":
        return _RunningProducer(self._configuration, self._names, self._partitions)

    def reasons_not_ready(self) -> list[str]:
        return [self._producer.unconnected] if self._producer.unconnected else []

    async def close(self) -> None:
        """Ends the producer when it has delivered its queue."""
        await asyncio.to_thread(self._producer.close)


class _Delivery:
    """The outcome of one request's records; callbacks come from the producer's thread, and wake the loop once."""

    def __init__(self, loop: asyncio.AbstractEventLoop, count: int) -> None:
        self._loop = loop
        self._left = count
        self._places: list[Place] = []
        self._error: KafkaError | None = None
        self._done: asyncio.Future[None] = loop.create_future()
        if not count:
            self._done.set_result(None)

    async def of(self, producer: "_RunningProducer", records: Sequence[NewRecord]) -> list[Place]:
        for record in records:
            producer.produce(record, self._delivered)
        await self._done
        if self._error is not None:
            raise UndeliveredOutput(self._error.str())
        return self._places

    def _delivered(self, error: KafkaError | None, message: Message) -> None:
        partition, offset = message.partition(), message.offset()
        if error is not None:
            self._error = error
        elif partition is not None and offset is not None:
            self._places.append(Place(partition, offset))
        self._left -= 1
        if not self._left:
            self._loop.call_soon_threadsafe(self._finish)

    def _finish(self) -> None:
        if not self._done.done():
            self._done.set_result(None)


class _RunningProducer:
    """A producer and the thread that runs its callbacks.

    Attributes:
        is_fatal: Whether it can never deliver again.
        unconnected: Why it cannot deliver now; empty where it can.
    """

    def __init__(self, configuration: dict[str, Any], names: Names, partitions: int) -> None:
        self.is_fatal = False
        self.unconnected = "no broker has answered yet"
        self._names, self._partitions = names, partitions
        self._topic = names.events
        self._producer = Producer({**configuration, "error_cb": self._on_error})
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._run, name="clickstream-producer", daemon=True)
        self._thread.start()

    def produce(self, record: NewRecord, on_delivery: Callable[[KafkaError | None, Message], None]) -> None:
        partition = _ANY if record.partition is None else record.partition
        try:
            self._producer.produce(
                self._names.topic(record.topic), record.value, record.key, partition, on_delivery=on_delivery
            )
        except BufferError as error:
            raise QueueFull from error
        except KafkaException as error:
            self.is_fatal |= error.args[0].fatal()
            raise UndeliveredOutput(f"{self._topic}: {error.args[0].str()}") from error

    def close(self) -> None:
        """Delivers the queue, and ends the thread."""
        self._ending.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._ending.is_set() and not self.is_fatal:
            if self.unconnected:
                self.unconnected = self._connect()
            self._poll()
        if self.is_fatal:
            # What is left can never be delivered: whoever waits for it is told so now.
            self._producer.purge()
        while len(self._producer):
            self._poll()

    def _poll(self) -> None:
        """Runs callbacks; the library raises a fatal error here, too."""
        try:
            self._producer.poll(_POLL_S)
        except KafkaException as error:
            self._on_error(error.args[0])

    def _connect(self) -> str:
        """Asks for the topics, since the producer has no callback for a connection; returns why it cannot deliver."""
        try:
            topics = self._producer.list_topics(timeout=_ANSWER_S).topics
        except KafkaException as error:
            return f"no broker answers: {error.args[0].str()}"
        found = len(topics[self._topic].partitions) if self._topic in topics else 0
        if found == self._partitions:
            return ""
        return (
            f"{self._topic} has {found} partitions, and kafka.partitions is {self._partitions}"
            if found
            else f"the broker has no topic {self._topic}: run `headrace topics create`"
        )

    def _on_error(self, error: KafkaError) -> None:
        self.is_fatal |= error.fatal()
        if error.code() == KafkaError._ALL_BROKERS_DOWN:
            self.unconnected = "no broker answers"
        _log.log(logging.ERROR if error.fatal() else logging.WARNING, "%s: %s", self._topic, error.str())
