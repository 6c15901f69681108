"""The door as a process, on a broker: what it has accepted is in clickstream, and what it has begun, it ends."""

import json
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from streams.contract.topics import CATALOGUE, CLICKSTREAM, DEAD_LETTERS, RECOMMENDATIONS
from tests.serving.doors import DoorProcess
from tests.system.cluster import Cluster, Worker, cluster
from tests.timeouts import HANG_S, scaled, wait_until

START_MS = 1_790_000_000_000


def view(number: int, user: str) -> dict[str, Any]:
    return {"event_id": f"e{number}", "timestamp_ms": START_MS, "kind": "view", "user_id": user, "item_id": "boots"}


def test_what_two_doors_accept_is_in_clickstream_and_nothing_else_is(tmp_path: Path) -> None:
    with cluster(tmp_path) as it, DoorProcess(tmp_path / "a", it.environment) as a:
        with DoorProcess(tmp_path / "b", it.environment) as b, ThreadPoolExecutor(4) as pool:
            bodies = [[view(10 * n + m, f"u{n}-{m}") for m in range(3)] + [{"kind": "stare"}] for n in range(20)]
            asked = [pool.submit((a, b)[n % 2].ask, "/v1/events", body) for n, body in enumerate(bodies)]
            receipts = [each.result() for each in asked]
        assert {(status, answer["accepted"], len(answer["rejected"])) for status, answer in receipts} == {(202, 3, 1)}
        written = sorted(json.loads(record.value)["event_id"] for record in it.records(CLICKSTREAM))
        assert written == sorted(event["event_id"] for body in bodies for event in body if "event_id" in event)
        assert all(record.key == json.loads(record.value)["user_id"].encode() for record in it.records(CLICKSTREAM))


def test_a_door_that_is_told_to_stop_answers_what_it_has_begun_and_ends_with_0(tmp_path: Path) -> None:
    patient = {
        "HEADRACE_SERVE__SHUTDOWN_TIMEOUT_S": str(scaled(60.0)),
        "HEADRACE_ENGINE__DELIVERY_TIMEOUT_S": str(scaled(60.0)),
    }
    with cluster(tmp_path, **patient) as it, DoorProcess(tmp_path / "door", it.environment) as door:
        it.broker.take_down()
        with ThreadPoolExecutor(1) as pool:
            asked = pool.submit(door.ask, "/v1/events", view(1, "ann"))
            wait_until(lambda: door.metric("headrace_door_held_bytes"), door.said)
            door.terminate()
            it.broker.bring_up()
            assert asked.result() == (202, {"accepted": 1, "rejected": []})
        assert door.process.wait() == 0, door.said()
        assert len(it.records(CLICKSTREAM)) == 1


def ranked(it: Cluster, worker: Worker, door: DoorProcess, **body: Any) -> tuple[Worker, dict[str, Any]]:
    """Asks until the slate is there; with one event id, it is decided once. Returns the worker that then runs, too."""
    answers: list[dict[str, Any]] = []

    def is_live() -> bool:
        nonlocal worker
        worker = it.keep(worker)
        status, answer = door.ask("/v1/rank", {"timeout_ms": 5_000, **body})
        assert status == 200, answer
        answers.append(answer)
        return bool(answer["source"] == "live")

    wait_until(is_live, door.said)
    return worker, answers[-1]


def test_a_rank_is_answered_live_and_stays_the_same_through_restarts_and_doors(tmp_path: Path) -> None:
    # Its topics have a prefix; a slate is not too old for the cache at the end.
    window_s = str(int(scaled(600)))
    with cluster(tmp_path, HEADRACE_ENGINE__APP_ID="shop", HEADRACE_DECISIONS__IMPRESSION_WINDOW_S=window_s) as it:
        worker = it.start("disk")
        candidates = ["boots", "sandals", "socks"]
        ask: dict[str, Any] = {"user_id": "ann", "event_id": "ask-1", "candidates": candidates, "n": 2}
        with DoorProcess(tmp_path / "a", it.environment) as a:
            worker, slate = ranked(it, worker, a, **ask)
            assert len({item["item_id"] for item in slate["items"]} & set(candidates)) == 2
            assert all(0 < item["propensity"] <= 1 for item in slate["items"])
            with DoorProcess(tmp_path / "b", it.environment) as b:
                worker, again = ranked(it, worker, b, **ask)
                assert again == slate
            click = {"decision_id": slate["decision_id"], "kind": "click", "item_id": slate["items"][1]["item_id"]}
            assert [a.ask("/v1/reward", click)[0] for _ in range(2)] == [202, 202]
        with DoorProcess(tmp_path / "c", it.environment) as c:
            worker, again = ranked(it, worker, c, **ask)
            assert again == slate
            assert c.ask("/v1/items", [{"item_id": each} for each in candidates])[0] == 202
            assert c.ask("/v1/recommendations/ann")[1]["decision_id"] == slate["decision_id"]
            [worker] = it.settle(worker)
            worker.kill()
            # Nobody decides any more: the last slate of ann, and what is popular for bob.
            assert c.ask("/v1/rank", {"user_id": "ann", "timeout_ms": 1})[1]["source"] == "cached"
            status, answer = c.ask("/v1/rank", {"user_id": "bob", "candidates": ["socks", "boots"], "timeout_ms": 1})
            assert (status, answer["source"], len(answer["items"])) == (200, "fallback", 2)
        assert len(it.records(RECOMMENDATIONS)) == 1
        assert [record.key for record in it.records(CATALOGUE)] == [b"boots", b"sandals", b"socks"]
        assert it.records(DEAD_LETTERS) == []
        counts = [row.counts for row in it.rows_of_partitions(CLICKSTREAM).values()]
        assert sum(each.get("kinds.click", 0) for each in counts) == 1
        assert sum(each.get("duplicates", 0) for each in counts) >= 1


def test_a_stream_ends_with_the_door(tmp_path: Path) -> None:
    with cluster(tmp_path) as it, DoorProcess(tmp_path / "door", it.environment) as door:
        with urllib.request.urlopen(f"{door.address}/v1/stream?topics=clickstream", timeout=HANG_S) as response:  # noqa: S310
            assert response.headers["Content-Type"] == "text/event-stream"
            assert response.readline() == b": following\n"
            assert door.ask("/v1/events", view(1, "ann"))[0] == 202
            wait_until(lambda: b"e1" in response.readline(), door.said)
            door.terminate()
            response.read()
        assert door.process.wait(HANG_S) == 0
