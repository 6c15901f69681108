"""POST /v1/events: what is accepted is in clickstream, and what is not is named, with the reason of its dead letter."""

import asyncio
import gzip
import hashlib
import io
import json
from collections.abc import Sequence
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from streams.contract.errors import RejectedRecord, UndeliveredOutput
from streams.contract.events import EARLIEST_TIMESTAMP_MS, MAX_RETRIED_EVENTS, decode_event
from streams.contract.settings import Serve, Settings
from streams.serving.clickstream import QueueFull
from streams.serving.problems import PROBLEM_JSON, Problem
from streams.serving.submission import NewRecord, SubmissionParser
from tests.serving.fakes import NOW_MS, PARTITIONS, Client, MemoryLog, ask

JSON = {"Content-Type": "application/json"}


def event(number: int, **fields: Any) -> dict[str, Any]:
    """A view of a user of its own."""
    known = {"event_id": f"e{number}", "timestamp_ms": NOW_MS, "kind": "view", "user_id": f"u{number}", "item_id": "i"}
    return known | fields


def with_serve(**changes: Any) -> Settings:
    return replace(Settings(), serve=replace(Serve(), **changes))


async def post(client: Client, body: bytes, **headers: str) -> tuple[int, Any]:
    async with client.post("/v1/events", data=io.BytesIO(body), headers=JSON | headers) as response:
        answer = await response.read()
        assert response.headers["Server"] == "headrace"
        assert response.content_type == (PROBLEM_JSON if b'"title"' in answer else "application/json")
        return response.status, json.loads(answer)


def test_one_event_or_an_array_is_appended_as_it_came_keyed_by_its_user() -> None:
    async def test(client: Client, log: MemoryLog) -> None:
        one = json.dumps(event(0, colour="red"), indent=1).encode()
        assert await post(client, one) == (202, {"accepted": 1, "rejected": []})
        assert log.records == [NewRecord(b"u0", one)]
        many = [event(number) for number in range(3)]
        assert await post(client, json.dumps(many).encode()) == (202, {"accepted": 3, "rejected": []})
        assert [json.loads(record.value or b"") for record in log.records[1:]] == many
        assert await post(client, b" [] ") == (202, {"accepted": 0, "rejected": []})

    ask(test)


GOOD = st.builds(event, st.integers(0, 50))
BAD = st.sampled_from(
    [{"kind": "stare"}, {"item_id": None}, {"timestamp_ms": NOW_MS // 1000}, {"user_id": "a\0"}, {"price": -1}]
)
ANYTHING = st.none() | st.integers() | st.text() | st.lists(st.integers()) | st.dictionaries(st.text(), st.text())


def test_whole_numbers_with_a_fraction_are_integers_as_json_schema_has_it() -> None:
    async def test(client: Client, log: MemoryLog) -> None:
        view = b'"event_id":"e","kind":"view","user_id":"u","item_id":"i"'
        body = b"{" + view + b',"timestamp_ms":1.79e12,"quantity":2.0,"price":9.5}'
        assert (await post(client, body))[0] == 202
        assert decode_event(log.records[0].value).quantity == 2
        assert (await post(client, body.replace(b"2.0", b"2.5")))[0] == 422
        assert (await post(client, body.replace(b"1.79e12", b"%d.0" % EARLIEST_TIMESTAMP_MS)))[0] == 202

    ask(test)


@given(st.lists(st.one_of(GOOD, st.builds(dict.__or__, GOOD, BAD), ANYTHING), max_size=10))
def test_each_event_is_accepted_or_rejected_with_the_reason_that_the_fold_gives(events: Sequence[Any]) -> None:
    body = json.dumps(events).encode()
    submitted = SubmissionParser(Settings()).parse(body, NOW_MS, is_operator=True)
    expected = {}
    for index, each in enumerate(events):
        try:
            decode_event(json.dumps(each).encode())
        except RejectedRecord as rejection:
            expected[index] = rejection.reason
    assert {rejection.index: rejection.reason for rejection in submitted.rejected} == expected
    assert submitted.accepted == len(events) - len(expected)
    kept = [each for index, each in enumerate(events) if index not in expected]
    assert [msgspec.json.decode(record.value or b"") for record in submitted.records] == kept


def test_rejected_events_do_not_hold_up_the_others_and_none_accepted_is_an_error() -> None:
    async def test(client: Client, log: MemoryLog) -> None:
        ahead = event(1, timestamp_ms=NOW_MS + 3_600_000)
        status, answer = await post(client, json.dumps([event(0), ahead, event(2, kind="stare")]).encode())
        assert (status, answer["accepted"]) == (202, 1)
        assert [(each["index"], each["reason"]) for each in answer["rejected"]] == [(1, "ahead"), (2, "malformed")]
        status, answer = await post(client, json.dumps(ahead).encode())
        assert (status, answer["accepted"]) == (409, 0)
        status, answer = await post(client, json.dumps([ahead, event(2, kind="stare")]).encode())
        assert (status, answer["accepted"]) == (422, 0)
        assert len(log.records) == 1

    ask(test)


def test_more_events_of_a_user_than_the_fold_remembers_are_refused_whole() -> None:
    async def test(client: Client, log: MemoryLog) -> None:
        many = [event(number, user_id="u") for number in range(MAX_RETRIED_EVENTS + 1)]
        status, answer = await post(client, json.dumps(many).encode())
        assert (status, answer["reason"]) == (422, "too-many-of-one-user")
        assert not log.records
        assert (await post(client, json.dumps(many[1:]).encode()))[0] == 202

    ask(test)


@pytest.mark.parametrize(
    ("body", "headers", "status"),
    [
        (b"", {}, 400),
        (b"{", {}, 400),
        (b"[" * 100_000, {}, 400),
        (b'{"a":' * 100_000, {}, 400),
        (b'{"a":"\xff"}', {}, 422),
        (b"\xff\xfe{", {}, 400),
        (b"[1] [2]", {}, 400),
        (b"[" + b"1," * 400_000 + b"1]", {}, 422),
        (b"null", {}, 422),
        (b"{}", {"Content-Type": "text/plain"}, 415),
        (b"x" * 2_000_000, {}, 413),
        (gzip.compress(b"[" + b" " * 50_000_000 + b"]"), {"Content-Encoding": "gzip"}, 413),
        (b"no gzip", {"Content-Encoding": "gzip"}, 400),
    ],
)
def test_hostile_bodies_are_refused_and_end_nothing(body: bytes, headers: dict[str, str], status: int) -> None:
    async def test(client: Client, log: MemoryLog) -> None:
        found, answer = await post(client, body, **headers)
        assert found == status, answer
        assert "Traceback" not in str(answer)
        assert await post(client, json.dumps(event(0)).encode()) == (202, {"accepted": 1, "rejected": []})
        assert len(log.records) == 1

    ask(test)


def test_a_packed_body_is_unpacked() -> None:
    async def test(client: Client, log: MemoryLog) -> None:
        body = json.dumps(event(0)).encode()
        assert (await post(client, gzip.compress(body), **{"Content-Encoding": "gzip"}))[0] == 202
        assert log.records[0].value == body

    ask(test)


def test_a_body_that_does_not_come_is_refused_and_its_connection_closed() -> None:
    async def test(client: Client, log: MemoryLog) -> None:
        reader, writer = await asyncio.open_connection(client.host, client.port)
        writer.write(
            b"POST /v1/events HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 9\r\n\r\n{"
        )
        answer = await reader.read()
        assert answer.startswith(b"HTTP/1.1 408 ")
        writer.close()

    ask(test, with_serve(body_timeout_s=0.05))


def test_ticks_need_the_key_and_go_to_every_partition() -> None:
    key = "a3"
    tick = json.dumps({"event_id": "t", "timestamp_ms": NOW_MS, "kind": "tick"}).encode()

    async def without(client: Client, log: MemoryLog) -> None:
        status, answer = await post(client, tick)
        assert (status, answer["rejected"][0]["reason"]) == (403, "operators-only")

    async def with_key(client: Client, log: MemoryLog) -> None:
        assert await post(client, tick, **{"X-API-Key": key}) == (202, {"accepted": 1, "rejected": []})
        assert log.records == [NewRecord(None, tick, partition) for partition in range(PARTITIONS)]

    ask(without)
    ask(with_key, with_serve(key_sha256=hashlib.sha256(key.encode()).hexdigest()))


@pytest.mark.parametrize(
    ("error", "status", "reason"),
    [(QueueFull(), 429, "too-busy"), (UndeliveredOutput("gone"), 503, "not-delivered"), (KeyError(), 500, "fault")],
)
def test_events_that_are_not_acknowledged_are_never_accepted(error: Exception, status: int, reason: str) -> None:
    async def test(client: Client, log: MemoryLog) -> None:
        log.error = error
        found, answer = await post(client, json.dumps(event(0)).encode())
        assert (found, answer["reason"]) == (status, reason)

    ask(test)


def test_requests_beyond_the_bound_of_bytes_are_told_to_come_again() -> None:
    async def test(client: Client, log: MemoryLog) -> None:
        log.gate.clear()
        first = asyncio.ensure_future(post(client, json.dumps(event(0)).encode()))
        while not log.records:
            await asyncio.sleep(0)
        async with client.post("/v1/events", data=b"{}", headers=JSON) as refused:
            assert refused.status == 429
            assert int(refused.headers["Retry-After"]) > 0
        log.gate.set()
        assert (await first)[0] == 202
        assert (await post(client, json.dumps(event(1)).encode()))[0] == 202

    ask(test, with_serve(inflight_bytes=4096))


def test_a_body_that_announces_no_size_holds_the_largest() -> None:
    async def test(client: Client, log: MemoryLog) -> None:
        async def parts() -> Any:
            yield b"{}"

        async with client.post("/v1/events", data=parts(), headers=JSON) as refused:
            assert refused.status == 429

    ask(test, with_serve(inflight_bytes=8192, body_bytes=8193))


def test_a_problem_is_an_error_with_all_that_its_answer_says() -> None:
    problem = Problem(429, "too-busy", "wait", retry_after_s=3)
    response = problem.response()
    assert response.headers["Retry-After"] == "3"
    assert response.body == b'{"title":"Too busy","status":429,"reason":"too-busy","detail":"wait"}'
