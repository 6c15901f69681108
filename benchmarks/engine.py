"""The engine with the smallest fold that keeps a row: JSON in, a row in RocksDB, a changelog, one JSON out per event.

Rates are by the worker's own processor time without its start, which is measured with one event in each partition. The
broker is the embedded one, in a process of its own.
"""

from collections.abc import Callable, Iterable, Iterator
from itertools import chain
from typing import Any, Final

import msgspec

from benchmarks.counting import Count
from benchmarks.harness import COUNTING, PARTITIONS, Message, Usage, run_worker, until_committed
from streams.contract.events import Event, encode_event
from streams.contract.settings import Kafka, Settings
from streams.contract.topics import CLICKSTREAM, USERS_CHANGELOG
from streams.engine.offsets import Offsets

USERS: Final = 20_000


def measure_throughput(quick: bool) -> dict[str, Any]:
    """Folds a backlog that is there before the worker starts."""
    events = 20_000 if quick else 200_000
    start = _usage(views(PARTITIONS))
    cpu_s = _usage(views(events)).cpu_s - start.cpu_s
    return {
        "events": events,
        "events_per_core_s": round(events / cpu_s),
        "cpu_us_per_event": round(cpu_s / events * 1e6, 2),
        "start_up_cpu_s": round(start.cpu_s, 2),
    }


def measure_recovery(quick: bool) -> dict[str, Any]:
    """Reads a changelog of rows onto an empty disk."""
    rows = 20_000 if quick else 200_000
    start = _usage(views(PARTITIONS))
    cpu_s = _usage(chain(_logged_rows(rows), views(PARTITIONS))).cpu_s - start.cpu_s
    return {"rows": rows, "rows_per_core_s": round(rows / cpu_s), "cpu_us_per_row": round(cpu_s / rows * 1e6, 2)}


def measure_backlog(quick: bool) -> dict[str, Any]:
    """Takes the memory of a worker with a backlog far larger than its buffers; the broker holds the end of it."""
    published = 200_000 if quick else 2_000_000
    start = _usage(views(PARTITIONS))
    held: list[int] = []
    usage = _usage(views(published), lambda servers: held.append(_held(servers)))
    return {
        "published_events": published,
        "held_events": sum(held),
        "peak_rss_mib": round(usage.peak_rss_bytes / 2**20),
        "idle_rss_mib": round(start.peak_rss_bytes / 2**20),
    }


def views(count: int) -> Iterator[Message]:
    """Makes views, the users in turn."""
    for number in range(count):
        user_id = f"user-{number * 7919 % USERS}"
        event = Event(
            event_id=f"e{number}",
            timestamp_ms=1_767_225_600_000 + number,
            kind="view",
            user_id=user_id,
            item_id="x",
            price=1.5,
        )
        yield Message(CLICKSTREAM, encode_event(event), user_id)


def _logged_rows(count: int) -> Iterator[Message]:
    for number in range(count):
        row = msgspec.msgpack.encode(Count(applied_offset=number, events=number))
        yield Message(USERS_CHANGELOG, row, f"logged-{number}", number % PARTITIONS)


def _held(servers: str) -> int:
    with Offsets(Settings(kafka=Kafka(bootstrap_servers=servers))) as offsets:
        return sum(end - first for first, end in (offsets.coverage(CLICKSTREAM, n) for n in range(PARTITIONS)))


def _usage(backlog: Iterable[Message], look: Callable[[str], object] = lambda servers: None) -> Usage:
    return run_worker(backlog, COUNTING, until_committed(CLICKSTREAM), look=look)
