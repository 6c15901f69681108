"""Door, Apache Kafka and worker are killed under load: what is accepted counts once, and nobody waits too long."""

import http.client
import json
import threading
import time
import uuid
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final

import pytest

from streams.brokers.apache_kafka import ApacheKafka
from streams.contract.errors import RefusedStart
from streams.contract.topics import CLICKSTREAM, RECOMMENDATIONS
from streams.serving.door_process import free_port
from tests.broker.fresh import make_topics_anew
from tests.serving.doors import DoorProcess
from tests.system.cluster import Cluster, Worker
from tests.timeouts import scaled, wait_until

TIMEOUT_MS: Final = min(5_000, int(scaled(1_500)))
MARGIN_S: Final = scaled(5.0)
"""What a busy machine may add to the longest wait for a slate."""
REMEMBERED: Final = 20
"""Slates of the door's memory: fewer than are decided here."""
PAUSE_S: Final = 0.1
LONGER: Final = 10
"""Requests of each kind that are answered before the next fault."""


class Shoppers:
    """Clients that send each request again, under the same ids, until it is answered.

    Attributes:
        accepted: Ids of the events that an answer says are accepted.
        answered: Number of answers by path, and of slates by their source.
        failed: Number of requests that were not answered, or with a status on which they are sent again.
        longest_s: Longest wait for a slate that was answered.
        first_decision: The first slate that was decided.
    """

    def __init__(self, door: DoorProcess) -> None:
        self._door = door
        self._ending = threading.Event()
        self._broken = threading.Event()
        self.accepted: set[str] = set()
        self.answered: Counter[str] = Counter()
        self.failed = 0
        self.longest_s = 0.0
        self.first_decision: dict[str, Any] = {}

    def run(self, send: Callable[["Shoppers", str], None], user: str) -> None:
        while not self._ending.is_set():
            send(self, user)
            time.sleep(PAUSE_S)

    def end(self) -> None:
        """Has them come to the end of what they have begun."""
        self._ending.set()

    def give_up(self) -> None:
        """Has them end at once, where the test has failed."""
        self._ending.set()
        self._broken.set()

    def send_events(self, user: str) -> None:
        ids = [f"event-{uuid.uuid4()}" for _ in range(2)]
        event = {"timestamp_ms": now_ms(), "kind": "view", "user_id": user, "item_id": "boots"}
        receipt = self._until_answered("/v1/events", [{**event, "event_id": each} for each in ids])
        assert receipt == {"accepted": 2, "rejected": []}
        self.accepted.update(ids)

    def send_batch(self, user: str) -> None:
        ids = [f"message-{uuid.uuid4()}" for _ in range(2)]
        message = {"type": "track", "event": "Product Viewed", "userId": user, "properties": {"product_id": "socks"}}
        receipt = self._until_answered("/v1/batch", {"batch": [{**message, "messageId": each} for each in ids]})
        assert (receipt["accepted"], receipt["rejected"]) == (2, [])
        self.accepted.update(ids)

    def rank(self, user: str) -> None:
        asked = {"user_id": user, "event_id": f"ask-{uuid.uuid4()}", "candidates": ["boots", "socks", "hats"]}
        slate = self._until_answered("/v1/rank", {**asked, "timeout_ms": TIMEOUT_MS})
        self.answered[slate["source"]] += 1
        if slate["source"] == "live":
            self.first_decision = self.first_decision or slate

    def _until_answered(self, path: str, body: object) -> Any:
        while not self._broken.is_set():
            begun_s = time.monotonic()
            try:
                status, answer = self._door.ask(path, body)
            except (OSError, http.client.HTTPException):
                status, answer = 503, None
            else:
                if path == "/v1/rank":
                    self.longest_s = max(self.longest_s, time.monotonic() - begun_s)
            if status not in (429, 503):
                assert status in (200, 202), (status, answer)
                self.answered[path] += 1
                return answer
            self.failed += 1
            time.sleep(PAUSE_S)
        raise InterruptedError(path)


def now_ms() -> int:
    return time.time_ns() // 10**6


class Scene:
    """A worker that is started again when it ends, beside a load."""

    def __init__(self, it: Cluster, shoppers: Shoppers) -> None:
        self.it = it
        self.shoppers = shoppers
        self.worker: Worker = it.start("disk")

    def until(self, holds: Callable[[], object]) -> None:
        def is_so() -> bool:
            if self.worker.code is not None:
                self.worker = self.it.start("disk")
            return bool(holds())

        wait_until(is_so, lambda: (self.shoppers.answered, self.shoppers.failed, self.worker.said()[-2000:]))

    def until_more(self, *names: str, by: int = LONGER) -> None:
        """Goes on until there are more answers of each kind."""
        before = {name: self.shoppers.answered[name] for name in names}
        self.until(lambda: all(self.shoppers.answered[name] >= count + by for name, count in before.items()))


ALL: Final = ("/v1/events", "/v1/batch", "/v1/rank", "live")


@pytest.mark.kafka
def test_through_kills_of_door_broker_and_worker_all_that_is_accepted_counts_once(tmp_path: Path) -> None:
    kafka = ApacheKafka()
    try:
        kafka.start()
    except RefusedStart as refusal:
        pytest.skip(f"no Apache Kafka: {refusal}")
    settings = {
        "HEADRACE_SERVE__REMEMBERED": str(REMEMBERED),
        "HEADRACE_SERVE__PAGE": "false",
        # Fewer transactions: each costs the broker something.
        "HEADRACE_KAFKA__PARTITIONS": "2",
        "HEADRACE_ENGINE__COMMIT_INTERVAL_S": "0.5",
    }
    it = Cluster(kafka.bootstrap_servers, tmp_path, settings)
    port = free_port()
    try:
        make_topics_anew(it.servers, it.settings.topics)
        with DoorProcess(tmp_path / "door", it.environment, port) as door, ThreadPoolExecutor(4) as pool:
            shoppers = Shoppers(door)
            sends = (Shoppers.send_events, Shoppers.send_batch, Shoppers.rank, Shoppers.rank)
            running = [pool.submit(shoppers.run, send, f"shopper-{n}") for n, send in enumerate(sends)]
            try:
                scene = Scene(it, shoppers)
                scene.until_more(*ALL)
                door.process.kill()
                failed = shoppers.failed
                scene.until(lambda: shoppers.failed > failed)
                with DoorProcess(tmp_path / "again", it.environment, port) as second:
                    scene.until_more(*ALL)
                    kafka.kill()
                    scene.until_more("/v1/rank")
                    kafka.restart()
                    scene.until_more(*ALL)
                    scene.worker.kill()
                    scene.until_more(*ALL)
                    shoppers.end()
                    for each in running:
                        each.result()
                    scene.until(lambda: it.is_folded(CLICKSTREAM))
                    check_books(it, shoppers)
                    check_forgotten(it, second, shoppers.first_decision)
            finally:
                shoppers.give_up()
    finally:
        it.close()
        kafka.stop()


def check_books(it: Cluster, shoppers: Shoppers) -> None:
    log = [json.loads(record.value) for record in it.records(CLICKSTREAM)]
    ids = {kind: {each["event_id"] for each in log if each["kind"] == kind} for kind in ("view", "decide")}
    assert shoppers.accepted == ids["view"]
    counts: Counter[str] = Counter()
    for row in it.rows_of_partitions(CLICKSTREAM).values():
        counts.update(row.counts)
    assert {kind: counts[f"kinds.{kind}"] for kind in ids} == {kind: len(each) for kind, each in ids.items()}
    assert counts["duplicates"] == len(log) - sum(map(len, ids.values()))
    assert shoppers.longest_s < TIMEOUT_MS / 1000 + MARGIN_S


def check_forgotten(it: Cluster, door: DoorProcess, slate: dict[str, Any]) -> None:
    """A reward of a slate that the door does not remember any more needs what the door would have found in it."""
    assert len(it.records(RECOMMENDATIONS)) > REMEMBERED
    item_id = slate["items"][0]["item_id"]
    click = {"decision_id": slate["decision_id"], "kind": "click", "item_id": item_id}
    reasons = [door.ask("/v1/reward", click | more) for more in ({}, {"user_id": slate["user_id"]})]
    assert [(status, answer["reason"]) for status, answer in reasons] == [
        (409, "unknown-decision"),
        (409, "unknown-slot"),
    ]
    assert door.ask("/v1/reward", click | {"user_id": slate["user_id"], "position": 0})[0] == 202
