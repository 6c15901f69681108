"""Messages of Segment's and RudderStack's libraries: mapped as those of a file, whole, once, from pages that may."""

import asyncio
import json
from base64 import b64encode
from hashlib import sha256
from typing import Any, Final

import pytest

from streams.contract.errors import UndeliveredOutput
from streams.contract.events import MAX_RETRIED_EVENTS, decode_event
from streams.contract.settings import Settings
from streams.contract.settings.sections import Serve
from tests.serving.fakes import NOW_MS, Client, MemoryLog, ask

NOW: Final = "2026-09-21T14:13:20Z"
"""``NOW_MS``."""
AN_HOUR_BEHIND: Final = "2026-09-21T13:13:20Z"
SHOP: Final = "https://shop.example"


def viewed(product: str, user: str = "ann", **fields: Any) -> dict[str, Any]:
    about = {"product_id": product, "category": "shoes", "price": 79.9}
    return {
        "type": "track",
        "event": "Product Viewed",
        "messageId": f"m-{product}",
        "userId": user,
        "timestamp": NOW,
        "properties": about,
    } | fields


async def post(client: Client, path: str, body: Any, **headers: str) -> tuple[int, Any]:
    sent = {"Content-Type": "application/json"} | {name.replace("_", "-"): value for name, value in headers.items()}
    async with client.post(path, data=json.dumps(body), headers=sent) as response:
        return response.status, json.loads(await response.read())


def items(log: MemoryLog) -> list[str | None]:
    return [decode_event(record.value).item_id for record in log.records]


def test_the_time_of_now_is_that_of_the_door() -> None:
    async def test(client: Client, log: MemoryLog) -> None:
        assert (await post(client, "/v1/track", viewed("boots")))[1]["accepted"] == 1
        assert decode_event(log.records[0].value).timestamp_ms == NOW_MS

    ask(test)


def test_a_batch_is_mapped_with_the_clock_of_its_device_set_right() -> None:
    async def test(client: Client, log: MemoryLog) -> None:
        batch = [viewed("boots", timestamp=AN_HOUR_BEHIND), viewed("socks", timestamp=AN_HOUR_BEHIND)]
        status, receipt = await post(client, "/v1/batch", {"batch": batch, "sentAt": AN_HOUR_BEHIND})
        assert (status, receipt) == (200, {"accepted": 2, "rejected": [], "unknown": {}, "skipped": {}})
        events = [decode_event(record.value) for record in log.records]
        assert [(event.kind, event.item_id, event.timestamp_ms) for event in events] == [
            ("view", "boots", NOW_MS),
            ("view", "socks", NOW_MS),
        ]
        assert [record.key for record in log.records] == [b"ann", b"ann"]

    ask(test)


def test_an_order_is_one_event_for_each_product() -> None:
    async def test(client: Client, log: MemoryLog) -> None:
        products = [{"product_id": f"p{number}", "price": 1.5, "quantity": 2} for number in range(65)]
        order = viewed("", event="Order Completed", messageId="order", properties={"products": products})
        status, receipt = await post(client, "/v1/track", order)
        assert (status, receipt["accepted"]) == (200, 65)
        assert len({decode_event(record.value).event_id for record in log.records}) == 65

    ask(test)


def test_names_that_are_not_mapped_are_named_and_with_strict_refuse_the_request() -> None:
    async def test(client: Client, log: MemoryLog) -> None:
        batch = {"batch": [viewed("boots"), viewed("x", event="Slider Moved"), viewed("y", event="Slider Moved"), 5]}
        status, receipt = await post(client, "/v1/batch", batch)
        assert (status, receipt["accepted"], receipt["unknown"]) == (200, 1, {"Slider Moved": 2})
        assert [(each["index"], each["reason"]) for each in receipt["rejected"]] == [(3, "malformed")]
        log.records.clear()
        status, receipt = await post(client, "/v1/batch?strict=1", batch)
        assert (status, receipt["accepted"], receipt["unknown"]) == (400, 0, {"Slider Moved": 2})
        assert log.records == []

    ask(test)


@pytest.mark.parametrize(
    ("path", "type_"), [("/v1/track", "track"), ("/v1/t", "track"), ("/v1/page", "page"), ("/v1/identify", "identify")]
)
def test_a_message_without_a_type_has_that_of_its_path(path: str, type_: str) -> None:
    async def test(client: Client, log: MemoryLog) -> None:
        message = viewed("boots")
        del message["type"], message["event"]
        _, receipt = await post(client, path, message)
        assert receipt["accepted"] == 0
        assert [*receipt["unknown"], *receipt["skipped"]] == [type_]

    ask(test)


def test_a_long_batch_that_failed_midway_counts_once_when_it_comes_again() -> None:
    async def test(client: Client, log: MemoryLog) -> None:
        batch = {"batch": [viewed(f"i{number:03}") for number in range(2 * MAX_RETRIED_EVENTS + 10)]}
        appended = log.append
        attempts: list[int] = []

        async def fail_at_the_second(records: Any) -> Any:
            attempts.append(len(records))
            places = await appended(records)
            if len(attempts) == 2:  # appended, and not acknowledged
                raise UndeliveredOutput("gone")
            return places

        log.append = fail_at_the_second  # type: ignore[method-assign]
        status, _ = await post(client, "/v1/batch", batch)
        assert status == 503
        status, receipt = await post(client, "/v1/batch", batch)
        assert (status, receipt["accepted"]) == (200, len(batch["batch"]))
        assert attempts == [64, 64, 0, 64, 10]
        # What a worker does with it: it knows the last 64 ids of the shopper.
        known: list[str] = []
        applied = []
        for record in log.records:
            event_id = decode_event(record.value).event_id
            if event_id not in known[-MAX_RETRIED_EVENTS:]:
                applied.append(event_id)
                known.append(event_id)
        assert sorted(applied) == [f"m-i{number:03}" for number in range(2 * MAX_RETRIED_EVENTS + 10)]

    ask(test)


@pytest.mark.parametrize(
    ("body", "status"),
    [([], 400), ({"batch": {}}, 400), ({"batch": [{}] * 2501}, 400), ({"batch": []}, 200), ({"batch": [{}]}, 200)],
)
def test_what_is_no_batch_is_said(body: Any, status: int) -> None:
    async def test(client: Client, log: MemoryLog) -> None:
        assert (await post(client, "/v1/batch", body))[0] == status
        assert log.records == []

    ask(test)


@pytest.mark.parametrize("body", [[], 5, None, "text", [{}]])
def test_what_is_no_message_is_said(body: Any) -> None:
    async def test(client: Client, log: MemoryLog) -> None:
        status, problem = await post(client, "/v1/track", body)
        assert (status, problem["reason"]) == (400, "malformed")
        assert log.records == []

    ask(test)


def test_a_message_that_is_too_long_is_refused_alone() -> None:
    async def test(client: Client, log: MemoryLog) -> None:
        batch = {"batch": [viewed("boots", context="x" * 40_000), viewed("socks")]}
        _, receipt = await post(client, "/v1/batch", batch)
        assert [each["reason"] for each in receipt["rejected"]] == ["oversized"]
        assert items(log) == ["socks"]

    ask(test)


def test_pages_write_from_the_origins_of_the_settings_alone() -> None:
    async def test(client: Client, log: MemoryLog) -> None:
        # As a browser sends it without asking before.
        simple = {"Content_Type": "text/plain", "Origin": SHOP}
        assert (await post(client, "/v1/track", viewed("boots"), **simple))[0] == 200
        status, answer = await post(
            client, "/v1/track", viewed("socks"), **simple | {"Origin": "https://other.example"}
        )
        assert (status, answer["reason"]) == (403, "other-origin")
        assert items(log) == ["boots"]
        asked = {"Origin": SHOP, "Access-Control-Request-Method": "POST"}
        async with client.options("/v1/batch", headers=asked) as response:
            assert response.status == 204
            assert response.headers["Access-Control-Allow-Origin"] == SHOP
        async with client.options("/v1/batch", headers=asked | {"Origin": "https://other.example"}) as response:
            assert response.status == 403
        # Other endpoints take no text, so a browser asks before, and is told nothing.
        status, answer = await post(client, "/v1/events", {}, **simple)
        assert (status, answer["reason"]) == (415, "not-json")

    ask(test, Settings(serve=Serve(cors_origins=(SHOP,))))


def test_the_write_key_is_the_user_of_basic_authentication() -> None:
    async def test(client: Client, log: MemoryLog) -> None:
        assert (await post(client, "/v1/batch", {"batch": [viewed("boots")]}))[0] == 401
        basic = "Basic " + b64encode(b"secret:").decode()
        assert (await post(client, "/v1/batch", {"batch": [viewed("boots")]}, Authorization=basic))[0] == 200

    ask(test, Settings(serve=Serve(key_sha256=sha256(b"secret").hexdigest())))


def test_other_requests_are_served_while_a_batch_is_mapped() -> None:
    async def test(client: Client, log: MemoryLog) -> None:
        batch = {"batch": [viewed(f"i{number}", f"u{number}") for number in range(2500)]}
        order: list[str] = []

        async def note(name: str, path: str, body: Any) -> None:
            await post(client, path, body)
            order.append(name)

        async with asyncio.TaskGroup() as both:
            both.create_task(note("batch", "/v1/batch", batch))
            await asyncio.sleep(0.01)
            both.create_task(note("event", "/v1/track", viewed("boots")))
        assert len(log.records) == 2501
        assert order == ["event", "batch"]

    ask(test)
