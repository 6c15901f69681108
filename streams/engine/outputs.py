"""Delivery of outputs and changelog rows: a batch is produced at once, and every acknowledgement is awaited."""

import asyncio
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from time import monotonic
from typing import Any, Final, Protocol

from confluent_kafka import KafkaError, Message, Producer

from streams.contract.connection import producer_configuration
from streams.contract.errors import UndeliveredOutput
from streams.contract.names import Names
from streams.contract.outputs import ORIGINAL_TOPIC, Output
from streams.contract.settings import Settings
from streams.contract.topic_config import batch_bytes

Partition = tuple[str, int]
"""A source topic and a partition of it."""

_FIRST_POLL_S: Final = 0.001
"""Successful deliveries cause no callback, so the producer is polled; librdkafka's own interval is 10 ms."""
_POLL_GROWTH: Final = 1.25
"""Growth of the poll interval: slow deliveries are polled for less often."""
_FASTEST: Final = 1
"""Level of compression."""
_PRODUCERS: Final = 8
"""Number of batches that can wait for acknowledgements at once."""


class Outputs(Protocol):
    """Delivery of a batch's records, in two steps of the protocol.

    Raises (both steps):
        UndeliveredOutput: A record was not delivered; no later step may run.
    """

    async def emit(self, source: Partition, outputs: Sequence[Output]) -> None:
        """Produces the outputs of a batch of ``source``; they are durable at the latest when :meth:`log` returns."""
        ...

    async def log(self, source: Partition, rows: Sequence[Output]) -> int:
        """Produces the rows of that batch, and returns when all its records are durable.

        Returns:
            Number of offsets that the changelog has grown by.
        """
        ...


class ProducerOutputs:
    """At-least-once outputs: idempotent producers, ``acks=all``.

    Batches of several partitions are delivered concurrently. Each has a producer of its own meanwhile; with a shared
    one it would also wait for the others' records.

    Args:
        compression: Codec, if not the usual one.
    """

    def __init__(self, settings: Settings, compression: str | None = None) -> None:
        self._names = settings.names
        self._free: asyncio.LifoQueue[_BatchProducer] = asyncio.LifoQueue()
        self._create = partial(_BatchProducer, settings, compression)
        self._created = 0
        self._threads = ThreadPoolExecutor(_PRODUCERS, "deliveries")

    async def emit(self, source: Partition, outputs: Sequence[Output]) -> None:
        await self._deliver(outputs)

    async def log(self, source: Partition, rows: Sequence[Output]) -> int:
        await self._deliver(rows)
        return len(rows)

    async def _deliver(self, outputs: Sequence[Output]) -> None:
        if not outputs:
            return
        if self._free.empty() and self._created < _PRODUCERS:
            self._created += 1
            self._free.put_nowait(self._create())
        producer = await self._free.get()
        produce(producer.client, outputs, self._names)
        await asyncio.get_running_loop().run_in_executor(self._threads, producer.flush)
        self._free.put_nowait(producer)


class _BatchProducer:
    """Producer for one batch at a time.

    Only failed deliveries cause a callback, which saves a Python call per record.
    """

    def __init__(self, settings: Settings, compression: str | None) -> None:
        self._failures: list[str] = []
        self._timeout_s = settings.engine.delivery_timeout_s
        self.client = Producer(
            {
                **output_configuration(settings),
                **({"compression.type": compression, "compression.level": _FASTEST} if compression else {}),
                "delivery.report.only.error": True,
                "on_delivery": self._note_failure,
            }
        )

    def flush(self) -> None:
        """Waits until all produced records are acknowledged.

        Raises:
            UndeliveredOutput: A record was not acknowledged.
        """
        # Twice the delivery time-out: within it librdkafka itself reports every record, delivered or not.
        deadline_s, poll_s = monotonic() + self._timeout_s * 2, _FIRST_POLL_S
        while (remaining := self.client.flush(poll_s)) and monotonic() < deadline_s:
            poll_s *= _POLL_GROWTH
        if remaining or self._failures:
            raise UndeliveredOutput(f"{remaining} records were not acknowledged; {'; '.join(self._failures[:3])}")

    def _note_failure(self, error: KafkaError | None, message: Message) -> None:
        if error is not None:
            self._failures.append(f"{message.topic()}[{message.partition()}]: {error.str()}")


def output_configuration(settings: Settings) -> dict[str, Any]:
    """Configures a producer of outputs."""
    engine = settings.engine
    return {
        **producer_configuration(settings.kafka, engine.delivery_timeout_s),
        "client.id": engine.app_id,
        # Each batch is flushed, which ends the wait; without one, the client's threads wake up for every record.
        "linger.ms": 5,
        "queue.buffering.max.messages": 2_000_000,
        "queue.buffering.max.kbytes": 512 * 1024,
        "message.max.bytes": batch_bytes(engine),
    }


def produce(producer: Producer, outputs: Sequence[Output], names: Names) -> None:
    """Passes records to a producer, those of one destination in one call.

    Raises:
        UndeliveredOutput: The producer refused a record.
    """
    for (called, partition), messages in _by_destination(outputs).items():
        topic = names.topic(called)
        if messages[0].get("headers"):
            for message in messages:
                headers = [*message["headers"], *_originally(message["headers"], names)]
                producer.produce(topic, partition=partition, **{**message, "headers": headers})
        elif producer.produce_batch(topic, messages, partition=partition) < len(messages):
            refused = next(message["_error"] for message in messages if message.get("_error"))
            raise UndeliveredOutput(f"{topic}: {refused}")


def _originally(headers: Sequence[tuple[str, bytes]], names: Names) -> list[tuple[str, bytes]]:
    """Names the topic of a dead letter's record as the cluster has it; folds know only what it is called."""
    return [
        (header, names.topic(topic.decode()).encode())
        for name, topic in headers
        if name == "topic"
        for header in ORIGINAL_TOPIC
    ]


def _by_destination(outputs: Iterable[Output]) -> Mapping[tuple[str, int], list[dict[str, Any]]]:
    destinations: dict[tuple[str, int], list[dict[str, Any]]] = defaultdict(list)
    for output in outputs:
        message: dict[str, Any] = {"key": output.key, "value": output.value}
        if output.headers:
            message["headers"] = list(output.headers)
        destinations[output.topic, -1 if output.partition is None else output.partition].append(message)
    return destinations
