"""Memory of one worker with all folds and a large shop: rows of many users and items, and every item on offer, known.

The rows are in the changelogs and the items in the global table of an Apache Kafka before the worker starts, on an
empty disk. Resident memory is read from /proc, which only Linux has.
"""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, NamedTuple

from benchmarks.harness import SOURCES, WORKER, Message, publish, running_worker, until_committed
from benchmarks.pipeline import shopping
from benchmarks.shop import START_MS, Shop
from streams.admin.topics import create_topics
from streams.brokers.apache_kafka import ApacheKafka
from streams.contract.records import MSGPACK, ItemSummary
from streams.contract.settings import Kafka, Settings
from streams.contract.topics import ITEM_ROWS_CHANGELOG, ITEMS, USERS_CHANGELOG
from streams.core.items.fold import ItemRow, ItemsFold
from streams.testing import Pipeline

USER_COUNT: Final = 1_000_000
ITEM_COUNT: Final = 200_000
EVENTS: Final = 20_000
"""Of users drawn from all of them, so that nearly every event reads a row that was not read before."""
FORMER_USERS: Final = 200
FORMER_EVENTS: Final = 4_000
DAY_MS: Final = 86_400_000


def measure_memory(quick: bool) -> dict[str, Any]:
    """Lets a worker recover all rows and learn of all items, and then fold what shoppers do."""
    users, items, events = (each // 10 if quick else each for each in (USER_COUNT, ITEM_COUNT, EVENTS))
    with ApacheKafka() as kafka:
        servers = kafka.bootstrap_servers
        create_topics(Settings(kafka=Kafka(bootstrap_servers=servers)))
        publish(servers, _rows_and_global_table(users, items))
        publish(servers, shopping(Shop(users, items, seed=1), events // 100))
        begun_s = time.monotonic()
        with running_worker(servers, WORKER) as worker:
            until_committed(*SOURCES)(servers, worker)
            ready_s = time.monotonic() - begun_s
            recovered_mib = _mib_of(worker.pid, "VmRSS")
            publish(servers, shopping(Shop(users, items, seed=2), events))
            until_committed(*SOURCES)(servers, worker)
            return {
                "users": users,
                "items": items,
                "events": events,
                "first_events_answered_s": round(ready_s, 1),
                "rss_after_recovery_mib": recovered_mib,
                "rss_after_events_mib": _mib_of(worker.pid, "VmRSS"),
                "peak_rss_mib": _mib_of(worker.pid, "VmHWM"),
            }


def _mib_of(pid: int, field: str) -> int:
    """Reads what the kernel counts of a process's memory: ``VmRSS`` now, ``VmHWM`` at most."""
    status = Path(f"/proc/{pid}/status").read_text("ascii")
    [kib] = [int(line.split()[1]) for line in status.splitlines() if line.startswith(f"{field}:")]
    return round(kib / 1024)


def _rows_and_global_table(users: int, items: int) -> Iterator[Message]:
    """Makes the rows of users who left weeks ago, and the global table of items with all their neighbours."""
    rows = left_rows()
    for number in range(users):
        yield Message(USERS_CHANGELOG, rows[number % len(rows)], f"user-{number}")
    settings = Settings()
    encode_row = ItemsFold(settings).encode_row
    for item in offered(items, settings.items.neighbours, settings.items.half_life_s * 1000):
        yield Message(ITEM_ROWS_CHANGELOG, encode_row(item.row), item.summary.item_id)
        yield Message(ITEMS, MSGPACK.encode(item.summary), item.summary.item_id)


def left_rows() -> list[bytes]:
    """Makes rows of users who left 20 days ago: nothing of them is open."""
    pipeline, shop = Pipeline(Settings(kafka=Kafka(partitions=1))), Shop(FORMER_USERS)
    shop.now_ms -= 20 * DAY_MS
    for event in shop.events(FORMER_EVENTS):
        pipeline.publish(event)
    pipeline.tick(shop.now_ms + DAY_MS)
    pipeline.behaviour.drain(FORMER_EVENTS)
    fold = pipeline.behaviour.fold
    rows = []
    for (_, key), value in pipeline.behaviour.rows().items():
        row = fold.decode_row(value)
        if row.deadline_ms:
            raise RuntimeError(f"the row of {key!r} still has something open")
        row.applied_offset = -1
        row.recent_ids = b""
        rows.append(fold.encode_row(row))
    return rows


class Offered(NamedTuple):
    """An item: its row in Relations' table, and its record in the items global table."""

    row: ItemRow
    summary: ItemSummary


def offered(count: int, neighbours: int, half_life_ms: float) -> Iterator[Offered]:
    strengths = [float(neighbours - rank) for rank in range(neighbours)]
    for number in range(count):
        others = [f"item-{(number + 40 * rank) % count}" for rank in range(1, neighbours + 1)]
        item_id, category, price = f"item-{number}", f"category-{number % 40}", 5.0 + number % 97
        row = ItemRow(
            half_life_ms=half_life_ms,
            landmark_ms=START_MS,
            first_seen_ms=START_MS,
            updated_ms=START_MS,
            published_ms=START_MS,
            category=category,
            price=price,
            popularity=1.0,
            neighbours=dict(zip(others, strengths, strict=True)),
        )
        yield Offered(row, ItemSummary(item_id, category, price, START_MS, START_MS, 1.0, 0.0, 0.0, others, strengths))
