"""Feeds: small compacted topics that every worker reads whole, with a reader of its own, and never stops reading."""

import threading
from collections import deque
from collections.abc import Callable
from typing import Final, Generic, TypeVar

from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, TopicPartition

from streams.contract.connection import client_configuration
from streams.contract.errors import RefusedStart
from streams.contract.settings import Kafka
from streams.engine.exits import FAILED, end_process
from streams.engine.offsets import Offsets

ValueT = TypeVar("ValueT")

_POLL_S: Final = 0.2
_AT_ONCE: Final = 1000


class FeedReader(Generic[ValueT]):
    """Reads all partitions of a feed from the beginning, without a group, on a thread.

    Args:
        decode: Called on the reader's thread.
        frozen: Stop when everything that was there at the start is read; the same log then gives the same decisions.
    """

    def __init__(self, topic: str, kafka: Kafka, decode: Callable[[bytes], ValueT], *, frozen: bool = False) -> None:
        self._topic = topic
        self._kafka = kafka
        self._decode = decode
        self._frozen = frozen
        self._values: deque[ValueT] = deque()
        self._caught_up = threading.Event()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._read_or_end, name=f"feed-{topic}", daemon=True)

    def start(self, timeout_s: float = 60.0) -> None:
        """Starts to read, and returns when what was there is read.

        Raises:
            RefusedStart: The topic is not there, or was not read in time.
        """
        self._thread.start()
        if not self._caught_up.wait(timeout_s):
            raise RefusedStart(f"the feed {self._topic} could not be read within {timeout_s:.0f} s")

    def stop(self) -> None:
        """Ends the thread."""
        self._stopping.set()
        self._thread.join()

    def take(self) -> list[ValueT]:
        """Takes what has come since the last call, in order."""
        values = self._values
        return [values.popleft() for _ in range(len(values))]

    def _read_or_end(self) -> None:
        try:
            self._read()
        except Exception as error:  # noqa: BLE001 - a worker without its feeds would decide on stale models unseen
            end_process(FAILED, f"the feed {self._topic} cannot be read: {error}")

    def _read(self) -> None:
        with Offsets(self._kafka) as offsets:
            ends = [offsets.coverage(self._topic, number) for number in range(offsets.partitions(self._topic))]
        missing = {number: end for number, (first, end) in enumerate(ends) if end > first}
        consumer = Consumer(
            {
                **client_configuration(self._kafka),
                "group.id": "headrace-feeds",
                "enable.auto.commit": False,
                "fetch.wait.max.ms": 100,
                "log_level": 2,
            }
        )
        consumer.assign([TopicPartition(self._topic, number, OFFSET_BEGINNING) for number in range(len(ends))])
        try:
            while not self._stopping.is_set() and not (self._frozen and not missing):
                if not missing:
                    self._caught_up.set()
                for message in consumer.consume(_AT_ONCE, _POLL_S):
                    if error := message.error():
                        if error.code() != KafkaError._PARTITION_EOF and not error.retriable():
                            raise RefusedStart(error.str())
                        continue
                    if (value := message.value()) is not None:
                        self._values.append(self._decode(value))
                    number, offset = message.partition(), message.offset()
                    if number is not None and offset is not None and offset + 1 >= missing.get(number, offset + 2):
                        del missing[number]
            self._caught_up.set()
        finally:
            consumer.close()
