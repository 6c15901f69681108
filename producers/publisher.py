"""Publisher of behaviour events to ``clickstream``: keyed, in order, every delivery counted."""

import logging
import time
from collections import Counter
from collections.abc import Callable
from functools import partial
from typing import Final, Protocol

from confluent_kafka import KafkaError, KafkaException, Message, Producer

from producers.cluster import partition_count
from producers.lag import LagGate
from streams.contract.connection import producer_configuration
from streams.contract.errors import UndeliveredOutput
from streams.contract.events import Event, encode_event
from streams.contract.settings import Settings

_log: Final = logging.getLogger(__name__)
_WAIT_S: Final = 0.05
_START_TIMEOUT_S: Final = 30.0

OnDelivered = Callable[[int, int], None]
"""Called with the partition and the offset that an event got."""


class EventSink(Protocol):
    """Destination of simulated and replayed events: a :class:`Publisher`, or a list in a test."""

    @property
    def partitions(self) -> int: ...
    @property
    def failed(self) -> int: ...

    def publish(self, event: Event, on_delivered: OnDelivered | None = None, *, partition: int | None = None) -> None:
        """Publishes one event; calls ``on_delivered`` with its partition and offset."""
        ...

    def poll(self, timeout_s: float) -> None:
        """Serves deliveries for up to ``timeout_s``; their callbacks run here, in the caller's thread."""
        ...

    def wait_for_room(self, should_stop: Callable[[], bool] | None = None) -> bool:
        """Waits until the workers have caught up; returns ``False`` if ``should_stop`` ended the wait."""
        ...

    def flush(self, timeout_s: float) -> int: ...


def publish_ticks(sink: EventSink, timestamp_ms: int, name: str) -> int:
    """Publishes one ``tick`` for each partition: it advances event time to ``timestamp_ms``, so that labels mature.

    Args:
        sink: Destination of the ticks.
        timestamp_ms: Milliseconds since the epoch, UTC.
        name: Part of the event ids, which must differ between runs.

    Returns:
        Number of ticks published.
    """
    for partition in range(sink.partitions):
        tick = Event(event_id=f"{name}-tick-{partition}-{timestamp_ms}", timestamp_ms=timestamp_ms, kind="tick")
        sink.publish(tick, partition=partition)
    return sink.partitions


class Publisher:
    """An idempotent producer of events, keyed by user, so that each user's events keep their order.

    Use it from one thread: its own calls run the delivery callbacks. A failed delivery is counted in ``failed``, by
    reason in ``failures``, and each new reason is logged as an error.

    Args:
        gate: Blocks :meth:`publish` while the workers are behind; the publisher starts and closes it.
        linger_ms: How long the client collects a message set; the embedded broker answers fetches set by set.
        delivery_timeout_s: A record without an acknowledgement after so long has failed.
        queue_records: Largest number of records in the client's queue; the gate does not count them.

    Attributes:
        partitions: Number of partitions of the topic on the broker.
        produced: Events handed to the client.
        delivered: Events that the broker acknowledged.
        failed: Events that failed; ``produced`` is the sum of both once :meth:`flush` returned 0.
        failures: Reason to count.

    Raises:
        UnreachableBroker: No broker answers.
        RefusedStart: The topic is missing.
    """

    def __init__(
        self,
        settings: Settings,
        gate: LagGate | None = None,
        linger_ms: float = 5.0,
        delivery_timeout_s: float = 30.0,
        queue_records: int = 20_000,
    ) -> None:
        self.produced = 0
        self.delivered = 0
        self.failures: Counter[str] = Counter()
        self._gate = gate
        self._topic = settings.names.events
        self._positions: dict[int, tuple[int, int]] = {}
        self._producer = Producer(
            {
                **producer_configuration(settings.kafka, delivery_timeout_s),
                "linger.ms": linger_ms,
                "queue.buffering.max.messages": queue_records,
                "error_cb": self._log_error,
            }
        )
        self.partitions = partition_count(self._producer, self._topic, _START_TIMEOUT_S)
        if gate is not None:
            # A copy in one step: the gate reads it from its own thread.
            gate.watch(self._positions.copy)

    @property
    def failed(self) -> int:
        """Events that the broker did not acknowledge."""
        return sum(self.failures.values())

    def publish(self, event: Event, on_delivered: OnDelivered | None = None, *, partition: int | None = None) -> None:
        """Hands one event to the client; waits while its queue is full or (except for a tick) the gate is closed.

        Args:
            event: Published to its user's partition.
            on_delivered: Called from a later ``publish``, ``poll`` or ``flush``; never for an event that failed.
            partition: Required for a ``tick``, which has no key; not allowed for other events.

        Raises:
            UndeliveredOutput: The client can never deliver again.
            ValueError: A tick without a partition, or any other event without a user or with a partition.
        """
        if (event.user_id is None) != (event.kind == "tick") or (event.user_id is None) != (partition is not None):
            raise ValueError(f"{event.kind} for user {event.user_id} cannot go to partition {partition}")
        if event.kind != "tick":
            self.wait_for_room()
        key = None if event.user_id is None else event.user_id.encode()
        callback = self._count_delivery if on_delivered is None else partial(self._count_and_call, on_delivered)
        self._produce(encode_event(event), key, -1 if partition is None else partition, callback)
        self.produced += 1
        self._producer.poll(0)

    def poll(self, timeout_s: float) -> None:
        """Serves deliveries for up to ``timeout_s``; returns early when there were some."""
        self._producer.poll(timeout_s)

    def wait_for_room(self, should_stop: Callable[[], bool] | None = None) -> bool:
        """Waits while the gate is closed, serving deliveries; returns ``False`` if ``should_stop`` ended the wait."""
        while self._gate is not None and not self._gate.is_open:
            if should_stop is not None and should_stop():
                return False
            self._producer.poll(_WAIT_S)
        return True

    def flush(self, timeout_s: float) -> int:
        """Waits until every event is delivered or has failed; returns how many are neither after ``timeout_s``."""
        # In slices: Ctrl-C does not interrupt the call.
        deadline_s = time.monotonic() + timeout_s
        while remaining := self._producer.flush(max(0.0, min(1.0, deadline_s - time.monotonic()))):
            if time.monotonic() >= deadline_s:
                break
        return int(remaining)

    def close(self) -> None:
        """Closes the gate's thread and the client, which first delivers its queue."""
        if self._gate is not None:
            self._gate.close()
        self._producer.close()

    def __enter__(self) -> "Publisher":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _produce(
        self, value: bytes, key: bytes | None, partition: int, callback: Callable[[KafkaError | None, Message], None]
    ) -> None:
        while True:
            try:
                self._producer.produce(self._topic, value, key, partition, on_delivery=callback)
            except BufferError:
                self._producer.poll(_WAIT_S)
            except KafkaException as error:
                raise UndeliveredOutput(f"{self._topic}: {error.args[0].str()}") from error
            else:
                return

    def _count_delivery(self, error: KafkaError | None, message: Message) -> None:
        if error is not None:
            reason = error.str()
            if reason not in self.failures:
                _log.error("%s: an event was not delivered: %s", self._topic, reason)
            self.failures[reason] += 1
            return
        self.delivered += 1
        partition, offset = message.partition(), message.offset()
        # Always known in a delivery without an error; the types allow for messages that were never sent.
        if partition is not None and offset is not None:
            first, _ = self._positions.get(partition, (offset, offset))
            self._positions[partition] = (first, offset + 1)

    def _count_and_call(self, on_delivered: OnDelivered, error: KafkaError | None, message: Message) -> None:
        self._count_delivery(error, message)
        partition, offset = message.partition(), message.offset()
        if error is None and partition is not None and offset is not None:
            on_delivered(partition, offset)

    def _log_error(self, error: KafkaError) -> None:
        _log.log(logging.ERROR if error.fatal() else logging.WARNING, "%s: %s", self._topic, error.str())
