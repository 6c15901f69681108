"""A worker as whoever runs it sees it: its health, its numbers and its log, while things go wrong around it."""

import http.client
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from streams.contract.events import Event
from streams.contract.topics import METRICS
from streams.ops.embedded import Request
from tests.system.cluster import CHANGELOGS, Cluster, Worker, cluster

pytestmark = pytest.mark.slow

DEADLINE_S = 60.0
NOT_LEADER = 6


def until(holds: Callable[[], bool], worker: Worker) -> None:
    deadline_s = time.monotonic() + DEADLINE_S
    while not holds():
        assert time.monotonic() < deadline_s, worker.said()
        assert worker.code is None, worker.said()
        time.sleep(0.1)


def ask(worker: Worker, path: str) -> tuple[int, bytes]:
    """Asks as a probe does; 0 is a worker that does not listen yet."""
    file = worker.data_dir / "http-address"
    if not file.exists() or not (address := file.read_text().strip()):
        return 0, b""
    connection = http.client.HTTPConnection(address, timeout=10)
    try:
        connection.request("GET", path)
        response = connection.getresponse()
        return response.status, response.read()
    finally:
        connection.close()


def events(first: int, n: int) -> list[Event]:
    return [
        Event(
            event_id=f"e{number}",
            timestamp_ms=1_700_000_000_000 + 1000 * number,
            kind="view",
            user_id=f"user-{number % 7}",
            item_id=f"item-{number % 5}",
        )
        for number in range(first, first + n)
    ]


def lines(worker: Worker) -> list[dict[str, Any]]:
    return [json.loads(line) for line in worker.said().splitlines()]


def incidents(worker: Worker) -> list[str]:
    return [line["incident"] for line in lines(worker) if "incident" in line]


def test_a_worker_that_cannot_deliver_turns_unhealthy_before_it_ends_and_well_again_when_it_can(tmp_path: Path) -> None:
    with cluster(
        tmp_path,
        HEADRACE_HTTP__STALLED_S="2.0",
        HEADRACE_ENGINE__WATCHDOG_S="50.0",
        HEADRACE_LOG__FORM="json",
        HEADRACE_ENGINE__BATCH_RECORDS="5",
    ) as it:
        worker = it.start("disk")
        until(lambda: ask(worker, "/readyz")[0] == 200, worker)
        it.publish(events(0, 50))
        it.settle(worker)
        assert ask(worker, "/healthz")[0] == 200
        assert b'headrace_lag_records{partition="0",topic="clickstream"}' in ask(worker, "/metrics")[1]

        it.publish(events(50, 3000))  # more than it folds before the broker refuses what it puts out
        it.broker.fail_requests(Request.PRODUCE, [NOT_LEADER] * 160)
        until(lambda: ask(worker, "/healthz")[0] == 503, worker)
        assert "has not moved for" in json.loads(ask(worker, "/healthz")[1])["why"][0]
        probe = it.headrace("health", "--data", str(worker.data_dir), code=1)
        assert json.loads(probe.stdout)["status"] == "stalled"

        until(lambda: ask(worker, "/readyz")[0] == 200, worker)
        it.settle(worker)
        until(lambda: "moving-again" in incidents(worker), worker)
        worker.stop()
        assert not (worker.data_dir / "http-address").exists()
        told = incidents(worker)
        assert told[:3] == ["worker-starts", "rebalance-begins", "rebalance-ends"]
        assert told.count("standing-still") == told.count("moving-again") == 1
        assert told[-1] == "worker-stops"


def test_a_worker_on_an_empty_disk_says_everywhere_how_many_rows_it_recovered(tmp_path: Path) -> None:
    with cluster(tmp_path, HEADRACE_LOG__FORM="json") as it:
        it.publish(events(0, 2000))
        (first,) = it.settle(it.start("first"))
        first.stop()
        logged = sum(len(it.records(changelog)) for changelog in CHANGELOGS.values())
        second = it.start("second")
        until(lambda: ask(second, "/readyz")[0] == 200, second)
        recovery = json.loads(it.headrace("health", "--data", str(second.data_dir)).stdout)["recovery"]
        assert (recovery["rows"], recovery["done"]) == (logged, 1.0)
        assert f"headrace_recovered_rows_total {float(logged)}".encode() in ask(second, "/metrics")[1]
        second.stop()
        [ends] = [line for line in lines(second) if line.get("incident") == "rebalance-ends"]
        assert ends["recovered_rows"] == logged
        *_, last = (json.loads(record.value) for record in it.records(METRICS) if (record.key or b"")[:6] == b"worker")
        assert (last["recovery"]["recovered_rows"], last["recovery"]["standby_rows"]) == (logged, 0)


def test_a_worker_that_is_told_to_stop_while_no_broker_answers_stops_all_the_same(tmp_path: Path) -> None:
    with cluster(tmp_path, HEADRACE_LOG__FORM="json", HEADRACE_ENGINE__SHUTDOWN_TIMEOUT_S="40.0") as it:
        worker = it.start("disk")
        until(lambda: ask(worker, "/readyz")[0] == 200, worker)
        it.broker.take_down()
        until(lambda: "NodeNotReady" in worker.said(), worker)
        worker.stop()
        # Nothing goes on stopping behind the last word.
        assert lines(worker)[-1]["incident"] == "worker-stops"


def test_what_cannot_be_used_is_told_and_stops_nobody(tmp_path: Path) -> None:
    with cluster(tmp_path, HEADRACE_LOG__FORM="json") as it:
        it.produce(b"\xc1 no MessagePack", b"purchase/linear", 0, "models")
        worker = it.start("disk")
        until(lambda: ask(worker, "/readyz")[0] == 200, worker)
        it.produce(b"\xc1 no MessagePack", b"item", 1, "items")
        publish_with_rubbish(it)
        (worker,) = it.settle(worker)
        worker.stop()
        told = lines(worker)
    [letters] = [line for line in told if line.get("incident") == "dead-letters"]
    assert (letters["reason"], letters["records"]) == ("malformed", 20)
    assert "headrace dead-letters export" in letters["todo"]
    refused = {
        line["topic"]: line["why"].partition(":")[0] for line in told if line.get("incident") == "snapshot-refused"
    }
    assert refused == {"models": "0-0", "items": "1-0"}


def publish_with_rubbish(it: Cluster) -> None:
    for number in range(20):
        it.produce(b"{", b"user", number % 4)
    it.publish(events(0, 50))
