"""POST /v1/rank: one slate for one event id, from wherever it comes, within the time that the shop has."""

import asyncio
import json
from collections.abc import Callable
from typing import Any

import pytest

from streams.contract.errors import UndeliveredOutput
from streams.contract.events import decode_event
from streams.contract.records import JSON as RECORDS
from streams.contract.records import Recommendation, RecommendedItem
from streams.contract.settings import Settings
from streams.serving.clickstream import Place
from streams.serving.slates import KEPT_MS, Refusal, Slate, SlateMemory
from tests.serving.fakes import MAX_LAG_MS, NOW_MS, PARTITIONS, Client, MemoryLog, ask
from tests.timeouts import Deadline, scaled

SLATE_SIZE = Settings().decisions.slate
HOUR_MS = 3_600_000
FOREVER_MS = 5_000
"""The longest time-out: a test that waits for it hangs."""


@pytest.fixture(autouse=True)
def patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """Time-outs are as long as this machine needs them."""
    timeout = asyncio.timeout
    monkeypatch.setattr(asyncio, "timeout", lambda delay_s: timeout(delay_s and scaled(delay_s)))


def decided(user: str, event_id: str, *items: str, surface: str | None = None) -> Recommendation:
    slots = [RecommendedItem(item, 0.5, 1 / (slot + 2), "related") for slot, item in enumerate(items)]
    return Recommendation(f"d-{event_id}", "clickstream-0-0", user, NOW_MS, "bandit", slots, {}, event_id, surface)


def take(memory: SlateMemory, decision: Recommendation, written_ms: int = NOW_MS) -> None:
    memory.take(decision, Slate(RECORDS.encode(decision), written_ms))


async def post(client: Client, path: str, body: dict[str, Any]) -> tuple[int, Any]:
    async with client.post(path, json=body) as response:
        return response.status, json.loads(await response.read())


async def get(client: Client, path: str) -> tuple[int, Any]:
    async with client.get(path) as response:
        return response.status, json.loads(await response.read())


async def until(holds: Callable[[], object]) -> None:
    deadline = Deadline()
    while not holds():
        deadline.check()
        await asyncio.sleep(0)


async def until_asked(log: MemoryLog, records: int = 1) -> None:
    await until(lambda: len(log.records) >= records)


def test_a_rank_asks_by_a_decide_and_answers_with_its_slate() -> None:
    async def test(client: Client, log: MemoryLog) -> None:
        body = {"user_id": "ann", "event_id": "e", "candidates": ["a", "b"], "surface": "home", "n": 2}
        asked = asyncio.ensure_future(post(client, "/v1/rank", body | {"timeout_ms": FOREVER_MS}))
        await until_asked(log)
        event = decode_event(log.records[0].value)
        assert (event.kind, event.user_id, event.event_id) == ("decide", "ann", "e")
        assert (event.candidates, event.surface, event.n, event.timestamp_ms) == (("a", "b"), "home", 2, NOW_MS)
        take(log.memory, decided("bob", "e", "x"))
        take(log.memory, decided("ann", "other", "x"))
        take(log.memory, decided("ann", "e", "b", "a", surface="home"))
        status, answer = await asked
        assert (status, answer["source"], answer["decision_id"], answer["event_id"]) == (200, "live", "d-e", "e")
        assert answer["items"] == [
            {"item_id": "b", "score": 0.5, "propensity": 1 / 2, "reason": "related"},
            {"item_id": "a", "score": 0.5, "propensity": 1 / 3, "reason": "related"},
        ]

    ask(test)


def test_the_same_event_id_has_the_same_slate_and_asks_once() -> None:
    async def test(client: Client, log: MemoryLog) -> None:
        body = {"user_id": "ann", "event_id": "e", "timeout_ms": FOREVER_MS}
        first = [asyncio.ensure_future(post(client, "/v1/rank", body)) for _ in range(2)]
        await until(lambda: log.memory.waiting == 2)
        take(log.memory, decided("ann", "e", "a"))
        take(log.memory, decided("ann", "e", "b"))  # from an event that was sent again after all
        answers = [await each for each in first] + [await post(client, "/v1/rank", body)]
        assert all(answer == answers[0] for answer in answers)
        assert answers[0][1]["items"][0]["item_id"] == "a"
        assert len(log.records) == 1
        assert log.memory.waiting == 0

    ask(test)


def test_an_answer_is_forgotten_after_ten_minutes() -> None:
    async def test(client: Client, log: MemoryLog) -> None:
        take(log.memory, decided("ann", "e", "a"))
        log.now_ms = NOW_MS + KEPT_MS
        asked = asyncio.ensure_future(
            post(client, "/v1/rank", {"user_id": "ann", "event_id": "e", "timeout_ms": FOREVER_MS})
        )
        await until_asked(log)
        take(log.memory, decided("ann", "e", "b"), log.now_ms)
        assert (await asked)[1]["items"][0]["item_id"] == "b"

    ask(test)


@pytest.mark.parametrize("error", [None, UndeliveredOutput("gone")])
def test_without_a_decision_in_time_the_answer_comes_from_memory(error: Exception | None) -> None:
    async def test(client: Client, log: MemoryLog) -> None:
        log.error = error
        ann = {"user_id": "ann", "timeout_ms": 1}
        status, answer = await post(client, "/v1/rank", ann)
        assert (status, answer["source"]) == (200, "fallback")
        assert [item["item_id"] for item in answer["items"]] == ["boots", "sandals", "socks"]
        assert "decision_id" not in answer
        _, answer = await post(client, "/v1/rank", ann | {"candidates": ["new", "socks", "boots"], "n": 2})
        assert [item["item_id"] for item in answer["items"]] == ["boots", "socks"]

        take(log.memory, decided("ann", "before", "a", "b", surface="home"))
        _, answer = await post(client, "/v1/rank", ann | {"n": 1, "surface": "home"})
        assert (answer["source"], answer["decision_id"], len(answer["items"])) == ("cached", "d-before", 1)
        _, answer = await post(client, "/v1/rank", ann | {"candidates": ["c", "b", "a"]})
        assert answer["source"] == "cached"
        # Not one of the candidates, another surface, another user, too old to be learned from.
        for change in ({"candidates": ["a", "c"]}, {"surface": "mail"}, {"user_id": "bob"}):
            assert (await post(client, "/v1/rank", ann | change))[1]["source"] == "fallback"
        log.now_ms += HOUR_MS
        assert (await post(client, "/v1/rank", ann))[1]["source"] == "fallback"
        assert log.memory.waiting == 0

    ask(test)


@pytest.mark.parametrize("comes_first", [False, True])
def test_a_dead_letter_answers_at_once(comes_first: bool) -> None:
    async def test(client: Client, log: MemoryLog) -> None:
        places = [Place(partition, 0) for partition in range(PARTITIONS)]
        if comes_first:
            for place in places:
                log.memory.refuse(place, Refusal("flood", "too many"))
        asked = asyncio.ensure_future(post(client, "/v1/rank", {"user_id": "ann", "timeout_ms": FOREVER_MS}))
        await until(lambda: comes_first or log.memory.waiting)
        await until_asked(log)
        if not comes_first:
            for place in places:
                log.memory.refuse(place, Refusal("flood", "too many"))
        status, answer = await asked
        assert (status, answer["reason"], answer["detail"]) == (422, "flood", "too many")

    ask(test)


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ({}, "invalid"),
        ({"user_id": ""}, "invalid"),
        ({"user_id": "u" * 129}, "invalid"),
        ({"user_id": "u", "n": 0}, "invalid"),
        ({"user_id": "u", "n": "2"}, "invalid"),
        ({"user_id": "u", "timeout_ms": FOREVER_MS + 1}, "invalid"),
        ({"user_id": "u", "candidates": []}, "invalid"),
        ({"user_id": "u", "candidates": [f"i{number}" for number in range(101)]}, "invalid"),
        ({"user_id": "u", "candidate": ["a"]}, "invalid"),
        ({"user_id": "u", "candidates": ["a", "a"]}, "bad-candidates"),
        ({"user_id": "a\0"}, "malformed"),
    ],
)
def test_a_wrong_request_is_refused_and_asks_nothing(body: dict[str, Any], reason: str) -> None:
    async def test(client: Client, log: MemoryLog) -> None:
        status, answer = await post(client, "/v1/rank", body)
        assert (status, answer["reason"]) == (422, reason)
        assert not log.records

    ask(test)


def test_recommendations_are_the_last_slate_or_what_is_popular() -> None:
    async def test(client: Client, log: MemoryLog) -> None:
        take(log.memory, decided("a/nn", "1", "a", "b", surface="home"))
        take(log.memory, decided("a/nn", "2", "c"))
        path = "/v1/recommendations/a%2Fnn"
        assert (await get(client, path))[1]["decision_id"] == "d-2"
        _, answer = await get(client, f"{path}?surface=home&n=1")
        assert (answer["source"], answer["decision_id"], len(answer["items"])) == ("cached", "d-1", 1)
        log.now_ms += 5000
        assert (await get(client, f"{path}?max_age_s=4.5"))[1]["source"] == "fallback"
        assert (await get(client, "/v1/recommendations/bob?n=2"))[1]["items"][1]["item_id"] == "sandals"
        for query in ("n=0", "n=x", "max_age_s=nan", "max_age_s=-1", "surface=", "n=null", "n=1&n=1"):
            assert (await get(client, f"{path}?{query}"))[0] == 422, query

    ask(test)


def test_a_reward_is_the_feedback_event_and_sent_again_it_is_the_same() -> None:
    async def test(client: Client, log: MemoryLog) -> None:
        take(log.memory, decided("ann", "e", "a", "b"))
        click = {"decision_id": "d-e", "kind": "click", "item_id": "b"}
        for _ in range(2):
            assert await post(client, "/v1/reward", click) == (202, {"accepted": 1, "rejected": []})
        first, again = (decode_event(record.value) for record in log.records)
        assert (first.user_id, first.kind, first.item_id, first.position) == ("ann", "click", "b", 1)
        assert first == again
        await post(client, "/v1/reward", {"decision_id": "d-e", "kind": "impression"})
        assert decode_event(log.records[2].value).event_id != first.event_id
        await post(client, "/v1/reward", click | {"kind": "purchase", "value": 9.5, "event_id": "order-1"})
        bought = decode_event(log.records[3].value)
        assert (bought.kind, bought.price, bought.event_id) == ("purchase", 9.5, "order-1")

        unknown = click | {"decision_id": "gone"}
        assert (await post(client, "/v1/reward", unknown))[1]["reason"] == "unknown-decision"
        # Its slot is not known, and a click needs it.
        assert (await post(client, "/v1/reward", unknown | {"user_id": "ann"}))[1]["reason"] == "unknown-slot"
        assert (await post(client, "/v1/reward", unknown | {"user_id": "ann", "position": 0}))[0] == 202

    ask(test)


def test_memory_is_bounded() -> None:
    memory = SlateMemory(3, PARTITIONS, MAX_LAG_MS)
    for number in range(10):
        take(memory, decided(f"u{number}", f"e{number}", "a"))
    kept = [number for number in range(10) if memory.latest(f"u{number}", None, 0) is not None]
    assert kept == [7, 8, 9]
    assert memory.decision("d-e6") is None
    assert memory.decision("d-e7") is not None


def test_an_item_of_the_catalogue_has_its_title() -> None:
    async def test(client: Client, log: MemoryLog) -> None:
        take(log.memory, decided("ann", "e", "boots", "new"))
        _, answer = await post(client, "/v1/rank", {"user_id": "ann", "event_id": "e"})
        assert [item.get("title") for item in answer["items"]] == ["Red boots", None]
        assert [item.get("image_url") for item in answer["items"]] == ["/boots.png", None]
        _, answer = await get(client, "/v1/recommendations/bob")
        assert answer["items"][0]["title"] == "Red boots"

    ask(test)


def test_while_workers_are_far_behind_answers_come_at_once_but_for_one_a_second_that_tries() -> None:
    async def test(client: Client, log: MemoryLog) -> None:
        body = {"user_id": "ann", "timeout_ms": 1}
        await post(client, "/v1/rank", body)
        log.now_ms += int(MAX_LAG_MS)
        await post(client, "/v1/rank", body)
        assert len(log.records) == 2  # the oldest has waited for just so long
        log.now_ms += 1
        for timeout_ms in (1, FOREVER_MS, FOREVER_MS):
            _, answer = await post(client, "/v1/rank", body | {"timeout_ms": timeout_ms})
            assert answer["source"] == "fallback"
        assert len(log.records) == 3
        log.now_ms += 1000
        await post(client, "/v1/rank", body)
        assert len(log.records) == 4
        # The worker is there again: an answer settles what was asked before.
        last = decode_event(log.records[-1].value)
        take(log.memory, decided("ann", last.event_id, "a"))
        await post(client, "/v1/rank", body)
        assert len(log.records) == 5

    ask(test)
