"""How outputs and changelog rows reach the broker: produced together, awaited together, each delivery accounted for."""

import asyncio
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from time import monotonic
from typing import Any, Final, Protocol

from confluent_kafka import KafkaError, Message, Producer

from streams.contract.connection import client_configuration
from streams.contract.errors import UndeliveredOutput
from streams.contract.outputs import Output
from streams.contract.settings import Engine, Kafka

Partition = tuple[str, int]
"""A source topic and a partition of it."""

_FIRST_LOOK_S: Final = 0.001
"""Nobody tells a producer of successes, so it looks whether all is delivered; by itself it does so every 10 ms."""
_LOOK_GROWTH: Final = 1.25
"""Of the time to the next look: what takes long is noticed later, and looked for seldom."""
_LINES: Final = 8
"""How many batches may wait for acknowledgements at once."""


class Outputs(Protocol):
    """Takes the records of a batch, in two steps of the protocol, and knows when all of them are safe.

    Raises (both steps):
        UndeliveredOutput: A record was not taken; nothing after this step may be done.
    """

    async def emit(self, source: Partition, outputs: Sequence[Output]) -> None:
        """Produces the outputs of a batch of ``source``; safe when this returns, or with its rows, and not before."""
        ...

    async def log(self, source: Partition, rows: Sequence[Output]) -> int:
        """Produces the rows of that batch, and returns when all of it is safe.

        Returns:
            By how many offsets the changelog has grown.
        """
        ...


class ProducerOutputs:
    """At least once: idempotent producers, ``acks=all``.

    Batches of several partitions are under way at once, and each has a producer to itself while it waits, or it would
    wait for what the others produce meanwhile, too.
    """

    def __init__(self, kafka: Kafka, engine: Engine) -> None:
        self._free: asyncio.LifoQueue[_Line] = asyncio.LifoQueue()
        for _ in range(_LINES):
            self._free.put_nowait(_Line(kafka, engine))
        self._threads = ThreadPoolExecutor(_LINES, "deliveries")

    async def emit(self, source: Partition, outputs: Sequence[Output]) -> None:
        await self._deliver(outputs)

    async def log(self, source: Partition, rows: Sequence[Output]) -> int:
        await self._deliver(rows)
        return len(rows)

    async def _deliver(self, outputs: Sequence[Output]) -> None:
        if not outputs:
            return
        line = await self._free.get()
        produce(line.producer, outputs)
        await asyncio.get_running_loop().run_in_executor(self._threads, line.flush)
        self._free.put_nowait(line)


class _Line:
    """A producer for one batch at a time.

    Deliveries that fail call back; deliveries that succeed do not, which saves a Python call for each record.
    """

    def __init__(self, kafka: Kafka, engine: Engine) -> None:
        self._failures: list[str] = []
        self._timeout_s = engine.delivery_timeout_s
        self.producer = Producer(
            {
                **producer_configuration(kafka, engine),
                "delivery.report.only.error": True,
                "on_delivery": self._note_failure,
            }
        )

    def flush(self) -> None:
        """Returns when all that was produced is acknowledged.

        Raises:
            UndeliveredOutput: A record was not.
        """
        # Twice the delivery time-out: within it librdkafka itself reports every record, delivered or not.
        deadline_s, look_s = monotonic() + self._timeout_s * 2, _FIRST_LOOK_S
        while (remaining := self.producer.flush(look_s)) and monotonic() < deadline_s:
            look_s *= _LOOK_GROWTH
        if remaining or self._failures:
            raise UndeliveredOutput(f"{remaining} records outstanding; {'; '.join(self._failures[:3])}")

    def _note_failure(self, error: KafkaError | None, message: Message) -> None:
        if error is not None:
            self._failures.append(f"{message.topic()}[{message.partition()}]: {error.str()}")


def producer_configuration(kafka: Kafka, engine: Engine) -> dict[str, Any]:
    """Says how records are sent, as confluent-kafka's configuration."""
    return {
        **client_configuration(kafka),
        "client.id": engine.app_id,
        "acks": "all",
        "enable.idempotence": True,
        "partitioner": "murmur2_random",
        "compression.type": "lz4",
        "linger.ms": 0,
        "log_level": 2,
        "queue.buffering.max.messages": 2_000_000,
        "queue.buffering.max.kbytes": 512 * 1024,
        "message.max.bytes": engine.max_output_bytes + 64 * 1024,
        "delivery.timeout.ms": int(engine.delivery_timeout_s * 1000),
    }


def produce(producer: Producer, outputs: Sequence[Output]) -> None:
    """Hands records to a producer, those of one destination at once.

    Raises:
        UndeliveredOutput: It refused one.
    """
    for (topic, partition), messages in _by_destination(outputs).items():
        if messages[0].get("headers"):
            for message in messages:
                producer.produce(topic, partition=partition, **message)
        elif producer.produce_batch(topic, messages, partition=partition) < len(messages):
            refused = next(message["_error"] for message in messages if message.get("_error"))
            raise UndeliveredOutput(f"{topic}: {refused}")


def _by_destination(outputs: Iterable[Output]) -> Mapping[tuple[str, int], list[dict[str, Any]]]:
    destinations: dict[tuple[str, int], list[dict[str, Any]]] = defaultdict(list)
    for output in outputs:
        message: dict[str, Any] = {"key": output.key, "value": output.value}
        if output.headers:
            message["headers"] = list(output.headers)
        destinations[output.topic, -1 if output.partition is None else output.partition].append(message)
    return destinations
