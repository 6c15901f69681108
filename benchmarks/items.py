"""Memory against the number of items: the items feed read whole from a broker, as a worker does that starts."""

from time import process_time_ns
from typing import Any, Final

import msgspec

from benchmarks.engine import publisher
from benchmarks.users import rss_mib
from streams.contract.records import MSGPACK, ItemSummary, decode_item
from streams.contract.settings import Items, Kafka, Settings
from streams.contract.topics import ITEMS
from streams.core.retrieval.catalogue import Catalogue
from streams.engine.feeds import FeedReader
from streams.engine.garbage import collect_seldom
from streams.ops.broker import EmbeddedBroker

COUNT: Final = 400_000
PARTITIONS: Final = 48
"""The embedded broker keeps 5 MiB of each."""
CATEGORIES: Final = 400
BEGIN_MS: Final = 1_767_225_600_000


def measure_items(quick: bool) -> dict[str, Any]:
    """Reads items with all the neighbours that they may have, twice as many as a worker remembers."""
    count = COUNT // 10 if quick else COUNT
    settings = Settings(items=Items(max_items=count // 2))
    collect_seldom()  # as a worker does
    with EmbeddedBroker({ITEMS: PARTITIONS}) as broker:
        _publish(broker, settings, count)
        before_mib, begun_ns = rss_mib(), process_time_ns()
        catalogue = Catalogue(settings)
        rss: dict[str, int] = {}
        read = 0

        def apply(summaries: list[ItemSummary]) -> None:
            nonlocal read
            catalogue.apply(summaries)
            read += len(summaries)
            rss[f"{read:,}"] = rss_mib()

        reader = FeedReader(ITEMS, Kafka(bootstrap_servers=broker.bootstrap_servers), decode_item, apply)
        reader.start()
        apply(reader.take())
        reader.stop()
        spent_ns = process_time_ns() - begun_ns
    steps = max(len(rss) // 10, 1)
    return {
        "items": count,
        "known_items": len(catalogue),
        "rss_before_mib": before_mib,
        "rss_mib_by_items_read": dict(list(rss.items())[steps - 1 :: steps]),
        "peak_rss_mib": max(rss.values()),
        "cpu_us_per_item": round(spent_ns / count / 1000, 1),
    }


def _publish(broker: EmbeddedBroker, settings: Settings, count: int) -> None:
    width = settings.items.neighbours
    summary = ItemSummary(
        "", None, 9.5, BEGIN_MS, BEGIN_MS, 1.0, 5.0, 1.0, [], [float(width - n) for n in range(width)]
    )
    with publisher(broker) as producer:
        for number in range(count):
            item = msgspec.structs.replace(
                summary,
                item_id=f"item-{number}",
                category=f"category-{number % CATEGORIES}",
                updated_ms=BEGIN_MS + number,
                popularity=1.0 + number * 7919 % 1000,
                neighbours=[f"item-{max(number - n * n, 0)}" for n in range(1, width + 1)],
            )
            producer.produce(ITEMS, MSGPACK.encode(item), item.item_id, partition=number % PARTITIONS)
            if number % 1000 == 0:
                producer.poll(0)
