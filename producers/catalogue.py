"""Publisher of the shop's catalogue."""

from collections.abc import Sequence
from typing import Any, Final

from confluent_kafka import Producer

from producers.cluster import partition_count
from streams.contract.catalogue import CatalogueItem, encode_catalogue_item
from streams.contract.connection import producer_configuration
from streams.contract.errors import UnreachableBroker
from streams.contract.settings import Settings
from streams.contract.topics import CATALOGUE

_START_TIMEOUT_S: Final = 30.0
_TIMEOUT_S: Final = 60.0
_POLLED: Final = 1000


def publish_catalogue(settings: Settings, items: Sequence[CatalogueItem]) -> None:
    """Publishes items; every worker shows and hides them from then on.

    Raises:
        UnreachableBroker: No broker took them all.
        RefusedStart: The topic is missing.
    """
    # Idempotent: of two lines with one item the later one wins, also after a retry.
    producer = Producer({**producer_configuration(settings.kafka, _TIMEOUT_S), "compression.type": "gzip"})
    topic = settings.names.topic(CATALOGUE)
    partition_count(producer, topic, _START_TIMEOUT_S)
    failures: list[Any] = []

    def on_delivery(error: Any, _: Any) -> None:
        if error:
            failures.append(error)

    for number, item in enumerate(items):
        key = item.item_id.encode()
        while True:
            try:
                producer.produce(topic, encode_catalogue_item(item), key, on_delivery=on_delivery)
                break
            except BufferError:
                producer.poll(0.1)
        if number % _POLLED == 0:
            producer.poll(0)
    if (left := producer.flush(_TIMEOUT_S)) or failures:
        why = failures[0] if failures else f"no answer for {left} items"
        raise UnreachableBroker(f"{settings.kafka.bootstrap_servers} did not take the whole catalogue: {why}")
