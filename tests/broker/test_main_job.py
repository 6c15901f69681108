"""The main job on a real broker: more than the embedded one keeps, a kill in its middle, and disks that are empty."""

import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final

import pytest

from streams.contract.events import Event
from streams.contract.settings import load_settings
from streams.contract.topics import CLICKSTREAM, DECISIONS
from tests.broker.fresh import make_topics_anew
from tests.producers.files import read_taobao
from tests.system.cluster import Cluster, Worker
from tests.system.test_replayed_file import BEGIN_S, check_rows, write_taobao
from tests.timeouts import Deadline, wait_until

pytestmark = pytest.mark.kafka

LINES: Final = 30_000
ITEMS: Final = 300
KEPT_BY_THE_EMBEDDED_BROKER: Final = 5 * 2**20
"""Bytes of a partition."""


def folded(it: Cluster) -> int:
    return sum(row.counts.get("applied", 0) for row in it.rows_of_partitions(CLICKSTREAM).values())


def decided(it: Cluster) -> int:
    """Counts the decisions by the workers' totals, which are as exact as their rows."""
    counts = [row.counts for row in it.rows_of_partitions(CLICKSTREAM).values()]
    return sum(number for count in counts for name, number in count.items() if name.startswith("decisions."))


def wait_for_rows(worker: Worker) -> None:
    """Waits until a worker has its partitions and their rows."""

    def has_them() -> bool:
        assert worker.code is None, worker.said()
        return "rebalance-ends" in worker.said()

    wait_until(has_them, worker.said)


def views_of_all_items() -> list[Event]:
    """Makes views before the file begins, so that there is something to recommend from its first line on.

    Read at full speed, the file may be folded before any of its items comes back, and every decision is empty.
    """
    return [
        Event(
            event_id=f"early-{number}",
            timestamp_ms=1000 * BEGIN_S,
            kind="view",
            user_id=f"early-{number % 40}",
            item_id=str(number),
        )
        for number in range(ITEMS)
    ]


def test_a_large_file_outlives_a_kill_and_comes_back_on_empty_disks(kafka: str, tmp_path: Path) -> None:
    file = tmp_path / "large.csv"
    write_taobao(file, LINES)
    known = views_of_all_items()
    make_topics_anew(kafka, load_settings(environment={}).topics)
    it = Cluster(kafka, tmp_path, {})
    try:
        it.publish(known)
        (first,) = it.settle(it.start("first"))
        with ThreadPoolExecutor() as pool:
            # Meanwhile, since a replay waits for the workers when they are too far behind.
            replayed = pool.submit(it.headrace, "replay", str(file), "--keep-order")
            deadline = Deadline(first.said)
            while folded(it) < LINES / 3:
                deadline.check()
                first = it.keep(first)
                time.sleep(0.05)
            first.kill()
            assert folded(it) < LINES
            second = it.start("second")
            while not replayed.done():
                deadline.check()
                second = it.keep(second)
                time.sleep(0.05)
        replayed.result()
        (second,) = it.settle(second)
        second.stop()
        check_rows(it, [*known, *read_taobao(file)], "second")
        third = it.start("third")
        wait_for_rows(third)
        third.stop()
        for view in ("users", "items", "models"):
            rows = it.inspect(view, "second")
            assert rows
            assert it.inspect(view, "third") == rows
        decisions, sizes = it.records(DECISIONS), Counter[int]()
        for record in decisions:
            sizes[record.partition] += len(record.value)
        assert len(decisions) == decided(it)
        assert max(sizes.values()) > KEPT_BY_THE_EMBEDDED_BROKER
    finally:
        it.close()
