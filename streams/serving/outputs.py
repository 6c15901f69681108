"""Reader of the topics that a door follows: recommendations, dead letters, items, catalogue. It joins no group."""

import asyncio
import logging
import threading
import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Final, NamedTuple

import msgspec
import numpy as np
from confluent_kafka import OFFSET_BEGINNING, OFFSET_END, Consumer, KafkaError, KafkaException, Message, TopicPartition

from streams.contract.catalogue import CatalogueItem, CatalogueRecord, decode_catalogue_record, encode_catalogue_item
from streams.contract.connection import reader_configuration
from streams.contract.names import Names
from streams.contract.records import ItemSummary, Recommendation, decode_item, decode_recommendation
from streams.contract.settings import Settings
from streams.contract.topics import CATALOGUE, CLICKSTREAM, DEAD_LETTERS, ITEMS, RECOMMENDATIONS
from streams.core.retrieval.item_table import ItemTable
from streams.core.retrieval.shortlist import most_popular_first
from streams.serving.clickstream import Place
from streams.serving.slates import KEPT_MS, Refusal, Slate, SlateMemory

_log: Final = logging.getLogger(__name__)
_WAIT_S: Final = 0.2
_RETRY_S: Final = 1.0
_ANSWER_S: Final = 5.0
_AT_ONCE: Final = 500
_READ_BACK: Final = 10_000
"""Records of a partition that are read back where the broker finds no offset by time."""


class KnownItems:
    """The items that shoppers saw and the shop offers, by popularity."""

    def __init__(self, settings: Settings) -> None:
        self._item_table = ItemTable(settings)
        # As written: an embedding takes several times as much decoded.
        self._listed: dict[str, bytes] = {}

    def apply(self, summaries: Iterable[ItemSummary]) -> None:
        """Applies records of the global table ``items``."""
        self._item_table.apply(summaries)

    def apply_listing(self, records: Iterable[CatalogueRecord]) -> None:
        """Applies records of the shop's catalogue."""
        listed = [*records]
        self._item_table.apply_listing(listed)
        for record in listed:
            if isinstance(record, CatalogueItem):
                self._listed[record.item_id] = encode_catalogue_item(record)
            else:
                self._listed.pop(record.item_id, None)

    def popular(self, n: int) -> list[str]:
        return [self._item_table.ids[item] for item in self._item_table.popular[:n]]

    def newest(self, n: int) -> list[tuple[str, tuple[int, float, float]]]:
        """Returns the ``n`` items that were first seen last, each with that time, impressions and click rate."""
        items, newest = self._item_table, self._item_table.newest[:n]
        rates = items.ctr(np.array(newest, np.int64)).tolist()
        return [
            (items.ids[item], (int(items.first_seen_ms[item]), float(items.impressions[item]), rate))
            for item, rate in zip(newest, rates, strict=True)
        ]

    def listed(self, item_id: str) -> CatalogueItem | None:
        value = self._listed.get(item_id)
        return None if value is None else msgspec.json.decode(value, type=CatalogueItem)

    def ordered(self, candidates: Sequence[str]) -> list[str]:
        return most_popular_first(self._item_table, self._item_table.listing.accepted(candidates))


class _Batch(NamedTuple):
    """What was read at once."""

    slates: list[tuple[Recommendation, Slate]]
    refusals: list[tuple[Place, Refusal]]
    items: list[ItemSummary]
    listed: list[CatalogueRecord]
    ends: list[tuple[str, int]]
    """Partitions that are read to their end."""


class OutputReader:
    """Reader on a thread of its own; what it reads is taken on the event loop.

    It begins ten minutes back, so that a request that is sent again has the answer that it had, from any door.
    """

    def __init__(
        self, settings: Settings, memory: SlateMemory, items: KnownItems, loop: asyncio.AbstractEventLoop
    ) -> None:
        self._settings = settings
        self._memory = memory
        self._items = items
        self._loop = loop
        self._unread: set[tuple[str, int]] | None = None
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._run, name="outputs", daemon=True)
        self._thread.start()

    def reasons_not_ready(self) -> list[str]:
        """Says which partitions are not read back yet."""
        if self._unread is None:
            return ["no broker has told where the topics begin"]
        return [f"not read to the end yet: {topic}-{partition}" for topic, partition in sorted(self._unread)]

    async def close(self) -> None:
        """Ends the thread."""
        self._ending.set()
        await asyncio.to_thread(self._thread.join)

    def _run(self) -> None:
        consumer = Consumer(
            {
                **reader_configuration(self._settings),
                "auto.offset.reset": "earliest",
                "enable.partition.eof": True,
                "fetch.wait.max.ms": self._settings.engine.fetch_wait_ms,
            }
        )
        try:
            while not self._assign(consumer):
                if self._ending.wait(_RETRY_S):
                    return
            while not self._ending.is_set():
                # A call of `consume` returns with a full batch or at its timeout, so the first record is waited for.
                first = consumer.poll(_WAIT_S)
                if first is not None:
                    self._hand_over([first, *consumer.consume(_AT_ONCE, 0.0)])
        finally:
            consumer.close()

    def _assign(self, consumer: Consumer) -> bool:
        """Assigns all partitions; returns whether a broker answered."""
        names, partitions = self._settings.names, range(self._settings.kafka.partitions)
        try:
            places = [_read_back(consumer, names.topic(RECOMMENDATIONS), number) for number in partitions]
        except KafkaException as error:
            _log.warning("%s: %s", names.topic(RECOMMENDATIONS), error.args[0].str())
            return False
        places += [TopicPartition(names.topic(ITEMS), number, OFFSET_BEGINNING) for number in partitions]
        places.append(TopicPartition(names.topic(CATALOGUE), 0, OFFSET_BEGINNING))
        places.append(TopicPartition(names.topic(DEAD_LETTERS), 0, OFFSET_END))
        self._unread = {(place.topic, place.partition) for place in places}
        consumer.assign(places)
        return True

    def _hand_over(self, messages: Sequence[Message]) -> None:
        batch = _Batch([], [], [], [], [])
        for message in messages:
            error = message.error()
            if error is None:
                _read(self._settings.names, message, batch)
            elif error.code() == KafkaError._PARTITION_EOF:
                batch.ends.append((message.topic() or "", message.partition() or 0))
            else:
                _log.warning("%s: %s", message.topic(), error.str())
        if any(batch):
            self._loop.call_soon_threadsafe(self._take, batch)

    def _take(self, batch: _Batch) -> None:
        for decision, slate in batch.slates:
            self._memory.take(decision, slate)
        for place, refusal in batch.refusals:
            self._memory.refuse(place, refusal)
        if batch.items:
            self._items.apply(batch.items)
        if batch.listed:
            self._items.apply_listing(batch.listed)
        # Last: what was read is applied by now.
        if self._unread:
            self._unread.difference_update(batch.ends)


def _read_back(consumer: Consumer, topic: str, number: int) -> TopicPartition:
    """Finds where to begin; the embedded broker finds no offset by time."""
    since_ms = int(time.time() * 1000) - KEPT_MS
    [found] = consumer.offsets_for_times([TopicPartition(topic, number, since_ms)], timeout=_ANSWER_S)
    if found.error is not None:
        raise KafkaException(found.error)
    if found.offset >= 0:
        return found
    first, end = consumer.get_watermark_offsets(found, timeout=_ANSWER_S)
    return TopicPartition(topic, number, max(first, end - _READ_BACK))


def _read(names: Names, message: Message, batch: _Batch) -> None:
    """Decodes a record; one that is not ours is skipped, since anything may be in a topic."""
    value = message.value() or b""
    try:
        topic = message.topic()
        if topic == names.topic(RECOMMENDATIONS):
            batch.slates.append((decode_recommendation(value), Slate(value, message.timestamp()[1])))
        elif topic == names.topic(ITEMS):
            batch.items.append(decode_item(value))
        elif topic == names.topic(CATALOGUE):
            batch.listed.append(decode_catalogue_record(message.key(), message.value()))
        elif (headers := _headers(message)).get("topic") in (CLICKSTREAM, names.events):
            place = Place(int(headers["partition"]), int(headers["offset"]))
            batch.refusals.append((place, Refusal(headers["reason"], headers["detail"])))
    except (msgspec.DecodeError, UnicodeDecodeError, KeyError, ValueError):
        _log.warning("%s-%s has a record that is not ours", message.topic(), message.partition())


def _headers(message: Message) -> Mapping[str, str]:
    headers = message.headers() or []
    pairs = headers.items() if isinstance(headers, dict) else headers
    return {name: value.decode("utf-8", "replace") for name, value in pairs if isinstance(value, bytes)}
