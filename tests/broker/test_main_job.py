"""The main job on a real broker: more than the embedded one keeps, a kill in its middle, and disks that are empty."""

import time
from pathlib import Path
from typing import Final

import pytest

from producers.replay.taobao import read_taobao
from streams.contract.settings import load_settings
from streams.contract.topics import CLICKSTREAM, DECISIONS
from tests.broker.fresh import make_topics_anew
from tests.system.cluster import DEADLINE_S, Cluster, Worker
from tests.system.test_replayed_file import check_rows, write_taobao

pytestmark = [pytest.mark.kafka, pytest.mark.slow]

LINES: Final = 30_000
KEPT_BY_THE_EMBEDDED_BROKER: Final = 5 * 2**20
"""Bytes of a partition."""


def folded(it: Cluster) -> int:
    return sum(row.counts.get("applied", 0) for row in it.rows_of_partitions(CLICKSTREAM).values())


def wait_for_rows(worker: Worker) -> None:
    """Waits until a worker has its partitions and their rows."""
    deadline_s = time.monotonic() + DEADLINE_S
    while "rebalance-ends" not in worker.said():
        assert worker.code is None, worker.said()
        assert time.monotonic() < deadline_s, worker.said()
        time.sleep(0.1)


def test_a_large_file_outlives_a_kill_and_comes_back_on_empty_disks(kafka: str, tmp_path: Path) -> None:
    file = tmp_path / "large.csv"
    write_taobao(file, LINES)
    make_topics_anew(kafka, load_settings(environment={}).topics)
    it = Cluster(kafka, tmp_path, {})
    try:
        it.headrace("replay", str(file), "--format", "taobao")
        first = it.start("first")
        while folded(it) < LINES / 3:
            assert first.code is None, first.said()
            time.sleep(0.05)
        first.kill()
        assert folded(it) < LINES
        (second,) = it.settle(it.start("second"))
        second.stop()
        check_rows(it, list(read_taobao(file)), "second")
        third = it.start("third")
        wait_for_rows(third)
        third.stop()
        for view in ("users", "items", "models"):
            rows = it.inspect(view, "second")
            assert rows
            assert it.inspect(view, "third") == rows
        decisions = it.records(DECISIONS)
        assert (
            sum(len(record.value) for record in decisions) > KEPT_BY_THE_EMBEDDED_BROKER * it.settings.kafka.partitions
        )
    finally:
        it.close()
