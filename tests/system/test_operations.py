"""A worker as whoever runs it sees it: its health, its numbers and its log, while things go wrong around it."""

import http.client
import json
from collections.abc import Callable
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any

from streams.brokers.mock_cluster import Request
from streams.contract.events import Event
from streams.contract.metrics import WorkerMetrics, decode_metrics
from streams.contract.topics import METRICS
from tests.system.cluster import CHANGELOGS, Cluster, Worker, cluster
from tests.timeouts import HANG_S, Deadline, scaled, wait_until

NOT_LEADER = 6
MORE_THAN_ARE_SENT = 1_000_000
UNREAD, UNREAD_ENDS = "unread-partition", "partition-read"


def until(holds: Callable[[], bool], worker: Worker) -> None:
    def holds_and_lives() -> bool:
        assert worker.code is None, worker.said()
        return holds()

    wait_until(holds_and_lives, worker.said)


def ask(worker: Worker, path: str) -> tuple[int, bytes]:
    """Asks as a probe does; 0 is a worker that does not listen yet."""
    file = worker.data_dir / "http-address"
    if not file.exists() or not (address := file.read_text().strip()):
        return 0, b""
    connection = http.client.HTTPConnection(address, timeout=HANG_S)
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


def has_said(worker: Worker, incident: str) -> bool:
    return incident in incidents(worker)


def all_is_read(worker: Worker) -> bool:
    return not json.loads(ask(worker, "/healthz")[1])["unread"]


def test_a_worker_that_cannot_deliver_turns_unhealthy_before_it_ends_and_well_again_when_it_can(tmp_path: Path) -> None:
    with cluster(
        tmp_path,
        # Longer than a pause of a busy machine; and the worker lives longer than it takes to ask for its health.
        HEADRACE_HTTP__STALLED_S=str(scaled(5.0)),
        HEADRACE_ENGINE__WATCHDOG_S=str(scaled(120.0)),
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
        it.broker.fail_requests(Request.PRODUCE, [NOT_LEADER] * MORE_THAN_ARE_SENT)
        until(lambda: ask(worker, "/healthz")[0] == 503, worker)
        assert "has not moved for" in json.loads(ask(worker, "/healthz")[1])["why"][0]
        probe = it.headrace("health", "--data", str(worker.data_dir), code=1)
        assert json.loads(probe.stdout)["status"] == "stalled"

        it.broker.answer_again(Request.PRODUCE)
        until(lambda: ask(worker, "/readyz")[0] == 200, worker)
        it.settle(worker)
        until(lambda: "partitions-resumed" in incidents(worker), worker)
        worker.stop()
        assert not (worker.data_dir / "http-address").exists()
        told = incidents(worker)
        assert told[:3] == ["worker-starts", "rebalance-begins", "rebalance-ends"]
        assert told.count("partitions-stalled") == told.count("partitions-resumed") == 1
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
        assert recovery["done"] == 1.0
        assert f"headrace_recovered_rows_total {float(logged)}".encode() in ask(second, "/metrics")[1]
        # The learners' records were written by the first worker: the second one reads the topic.
        until(lambda: b'headrace_learned_records_total{learner="' in ask(second, "/metrics")[1], second)
        second.stop()
        # The group may be balanced once more, when it misses the first worker; then there is no row to recover.
        found = [line["recovered_rows"] for line in lines(second) if line.get("incident") == "rebalance-ends"]
        assert recovery["rows"] in found
        assert sum(found) == logged
        records = [decode_metrics(record.value) for record in it.records(METRICS)]
        *_, last = (record.recovery for record in records if isinstance(record, WorkerMetrics))
        assert (last.recovered_rows, last.standby_rows) == (logged, 0)


def test_sources_that_no_worker_reads_any_more_are_named_by_the_workers_that_are_left(tmp_path: Path) -> None:
    with cluster(tmp_path, HEADRACE_LOG__FORM="json", HEADRACE_ENGINE__WATCHDOG_S=str(scaled(6.0))) as it:
        left, ends, new = it.start("behaviour", "behaviour"), False, count(0, 200)
        # A worker that is started again, as a busy machine may have it, says nothing of what the one before it found.
        while not ends:
            it.publish(events(next(new), 200))
            left, of_all = it.settle(left, it.start("all"))
            of_all.stop()
            it.publish(events(next(new), 200))
            left = until_unread(it, left)
            finder = left
            left, of_all = it.settle(left, it.start("all"))
            until(partial(all_is_read, left), left)
            if ends := left is finder:
                until(partial(has_said, left, UNREAD_ENDS), left)
            of_all.stop()
        left.stop()
        told = [decode_metrics(record.value) for record in it.records(METRICS)]
        assert any(record.unread for record in told if isinstance(record, WorkerMetrics))


def probed(it: Cluster, worker: Worker, *arguments: str) -> tuple[int, dict[str, Any]]:
    """Returns the exit code and the answer of ``headrace health``; no answer from a worker that does not listen."""
    done = it.headrace("health", *arguments, "--data", str(worker.data_dir), code=None)
    return done.returncode, json.loads(done.stdout) if done.stdout.startswith(b"{") else {"unread": {}, "why": []}


def until_unread(it: Cluster, left: Worker) -> Worker:
    """Waits until all who ask a worker learn that nobody reads item-signals; returns the worker that then runs."""
    deadline = Deadline(left.said)
    while True:
        deadline.check()
        left = it.keep(left)
        # The worker is alive: starting it again would not help. But it is not ready.
        alive, ready = (probed(it, left, *arguments) for arguments in ((), ("--ready",)))
        if (
            alive[0] == 0
            and any(place.startswith("item-signals-") for place in alive[1]["unread"])
            and ready[0] == 1
            and any(why.startswith("item-signals[") for why in ready[1]["why"])
            and b'headrace_unread_records{partition="' in ask(left, "/metrics")[1]
            and any(line["what"].startswith("item-signals-") for line in lines(left) if line.get("incident") == UNREAD)
        ):
            return left


def test_a_worker_that_is_told_to_stop_while_no_broker_answers_stops_all_the_same(tmp_path: Path) -> None:
    with cluster(tmp_path, HEADRACE_LOG__FORM="json", HEADRACE_ENGINE__SHUTDOWN_TIMEOUT_S=str(scaled(40.0))) as it:
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
        line["topic"]: line["why"].partition(":")[0]
        for line in told
        if line.get("incident") == "global-table-record-refused"
    }
    assert refused == {"models": "0-0", "items": "1-0"}


def publish_with_rubbish(it: Cluster) -> None:
    for number in range(20):
        it.produce(b"{", b"user", number % 4)
    it.publish(events(0, 50))
