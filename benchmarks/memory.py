"""Memory of one worker with all folds and a large shop: rows of many users and items, and every item on offer, known.

The rows are in the changelogs and the items in the feed of an Apache Kafka before the worker starts, on an empty disk.
Resident memory is read from /proc, which only Linux has.
"""

import subprocess
import time
from pathlib import Path
from typing import Any, Final

from benchmarks import engine, pipeline
from benchmarks.growth import left_rows, offered
from benchmarks.shop import Shop
from benchmarks.workers import SOURCES
from streams.contract.events import encode_event
from streams.contract.records import MSGPACK
from streams.contract.settings import Settings
from streams.contract.topics import CLICKSTREAM, ITEM_ROWS_CHANGELOG, ITEMS, USERS_CHANGELOG
from streams.core.relations import RelationsFold
from streams.ops.apache import ApacheKafka
from tests.broker.fresh import make_topics_anew

USER_COUNT: Final = 1_000_000
ITEM_COUNT: Final = 200_000
EVENTS: Final = 20_000
"""Of users drawn from all of them, so that nearly every event reads a row that was not read before."""


def measure_memory(quick: bool) -> dict[str, Any]:
    """Lets a worker recover all rows and learn of all items, and then fold what shoppers do."""
    users, items, events = (each // 10 if quick else each for each in (USER_COUNT, ITEM_COUNT, EVENTS))
    with ApacheKafka() as kafka:
        make_topics_anew(kafka.bootstrap_servers, Settings().topics)
        _log(kafka, users, items)
        _publish(kafka, Shop(users, items, seed=1), events // 100)
        begun_s = time.monotonic()
        with engine.worker_of(kafka.bootstrap_servers, pipeline.WORKER, subprocess.DEVNULL) as worker:
            engine.wait_until_committed(kafka, worker, SOURCES)
            ready_s = time.monotonic() - begun_s
            recovered_mib = mib_of(worker.pid, "VmRSS")
            _publish(kafka, Shop(users, items, seed=2), events)
            engine.wait_until_committed(kafka, worker, SOURCES)
            return {
                "users": users,
                "items": items,
                "events": events,
                "first_events_answered_s": round(ready_s, 1),
                "rss_after_recovery_mib": recovered_mib,
                "rss_after_events_mib": mib_of(worker.pid, "VmRSS"),
                "peak_rss_mib": mib_of(worker.pid, "VmHWM"),
            }


def mib_of(pid: int, field: str) -> int:
    """Reads what the kernel counts of a process's memory: ``VmRSS`` now, ``VmHWM`` at most."""
    status = Path(f"/proc/{pid}/status").read_text("ascii")
    [kib] = [int(line.split()[1]) for line in status.splitlines() if line.startswith(f"{field}:")]
    return round(kib / 1024)


def _log(kafka: ApacheKafka, users: int, items: int) -> None:
    """Writes the rows of users who went weeks ago and of items that have all their neighbours, and the items' feed."""
    settings, rows = Settings(), left_rows()
    encode_row = RelationsFold(settings).encode_row
    with engine.publisher(kafka) as producer:
        for number in range(users):
            producer.produce(USERS_CHANGELOG, rows[number % len(rows)], f"user-{number}")
            producer.poll(0)
        for item in offered(items, settings):
            item_id = item.summary.item_id
            producer.produce(ITEM_ROWS_CHANGELOG, encode_row(item.row), item_id)
            producer.produce(ITEMS, MSGPACK.encode(item.summary), item_id)
            producer.poll(0)


def _publish(kafka: ApacheKafka, shop: Shop, events: int) -> None:
    with engine.publisher(kafka) as producer:
        for event in shop.events(events):
            producer.produce(CLICKSTREAM, encode_event(event), event.user_id)
