"""Reader of the public topics for the page, on a thread of its own. It joins no group."""

import asyncio
import logging
import threading
from collections.abc import Callable, Sequence
from typing import Final, NamedTuple

from confluent_kafka import Consumer, KafkaException, Message, TopicPartition

from streams.contract.connection import reader_configuration
from streams.contract.settings import Settings
from streams.contract.topics import CATALOGUE, CLICKSTREAM, DECISIONS, METRICS, PREDICTIONS, RECOMMENDATIONS

_log: Final = logging.getLogger(__name__)
_WAIT_S: Final = 0.25
_RETRY_S: Final = 1.0
_ANSWER_S: Final = 5.0
_AT_ONCE: Final = 2000
_PAUSE_S: Final = 0.2
"""Between two batches: few large ones take less of a core than many small ones."""
READ_BACK: Final = {
    CATALOGUE: 1_000_000,
    METRICS: 20_000,
    CLICKSTREAM: 2_000,
    PREDICTIONS: 2_000,
    RECOMMENDATIONS: 500,
    DECISIONS: 500,
}
"""Topic to the records of each partition, before those that are written from now on, that are read back."""


class PageRecord(NamedTuple):
    """A record of a topic, by the name that the code calls it."""

    topic: str
    key: bytes | None
    value: bytes | None
    timestamp_ms: int


class PageReader:
    """Reader that hands over what it has read in batches, on the event loop.

    Args:
        take: Called on the loop with records in the order of their partitions.
    """

    def __init__(
        self, settings: Settings, take: Callable[[Sequence[PageRecord]], None], loop: asyncio.AbstractEventLoop
    ) -> None:
        self._settings = settings
        self._called = {settings.names.topic(topic): topic for topic in READ_BACK}
        self._partitions = {topic.called: topic.partitions for topic in settings.topics}
        self._take = take
        self._loop = loop
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._run, name="page", daemon=True)
        self._thread.start()

    async def close(self) -> None:
        """Ends the thread."""
        self._ending.set()
        await asyncio.to_thread(self._thread.join)

    def _run(self) -> None:
        consumer = Consumer(
            {
                **reader_configuration(self._settings),
                "auto.offset.reset": "earliest",
                "fetch.wait.max.ms": int(_WAIT_S * 1000),
                "fetch.min.bytes": 32 * 1024,
            }
        )
        try:
            while not self._assign(consumer):
                if self._ending.wait(_RETRY_S):
                    return
            while not self._ending.wait(_PAUSE_S):
                # A call of `consume` returns with a full batch or at its timeout, so the first record is waited for.
                first = consumer.poll(_WAIT_S)
                if first is not None:
                    self._hand_over([first, *consumer.consume(_AT_ONCE, 0.0)])
        finally:
            consumer.close()

    def _assign(self, consumer: Consumer) -> bool:
        """Assigns all partitions; returns whether a broker answered."""
        places = []
        for name, topic in self._called.items():
            for number in range(self._partitions[topic]):
                place = TopicPartition(name, number)
                try:
                    first, end = consumer.get_watermark_offsets(place, timeout=_ANSWER_S)
                except KafkaException as error:
                    _log.warning("%s: %s", name, error.args[0].str())
                    return False
                place.offset = max(first, end - READ_BACK[topic])
                places.append(place)
        consumer.assign(places)
        return True

    def _hand_over(self, messages: Sequence[Message]) -> None:
        records = []
        for message in messages:
            if (error := message.error()) is not None:
                _log.warning("%s: %s", message.topic(), error.str())
                continue
            records.append(
                PageRecord(
                    self._called[message.topic() or ""],
                    message.key(),
                    message.value(),
                    message.timestamp()[1],
                )
            )
        if records:
            self._loop.call_soon_threadsafe(self._take, records)
