"""Keys, probes and unknown paths."""

import base64
import hashlib
import json
from typing import Any

import pytest
from msgspec.structs import replace

from streams.contract.errors import ConfigurationError
from streams.contract.settings import Serve, Settings
from streams.serving.keys import KeyCheck
from tests.serving.fakes import Client, MemoryLog, ask

KEY = "s3cret-ключ"


def keyed(**changes: Any) -> Settings:
    digest = hashlib.sha256(KEY.encode()).hexdigest()
    return replace(Settings(), serve=replace(Serve(), key_sha256=digest, **changes))


def basic(user: str, password: str) -> str:
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 401),
        ({"X-API-Key": "wrong"}, 401),
        ({"X-API-Key": ""}, 401),
        ({"Authorization": "Bearer wrong"}, 401),
        ({"Authorization": "Basic !!!"}, 401),
        ({"Authorization": "Basic " + base64.b64encode(b"\xff").decode()}, 401),
        ({"Authorization": basic("", "")}, 401),
        ({"Authorization": f"Digest {KEY}"}, 401),
        ({"X-API-Key": KEY}, 202),
        ({"Authorization": f"bearer {KEY}"}, 202),
        ({"Authorization": basic(KEY, "")}, 202),
        ({"Authorization": basic("anybody", KEY)}, 202),
    ],
)
def test_only_the_key_opens_a_door_that_has_one(headers: dict[str, str], status: int) -> None:
    async def test(client: Client, log: MemoryLog) -> None:
        body = headers | {"Content-Type": "application/json"}
        async with client.post("/v1/events", data=b"[]", headers=body) as response:
            assert response.status == status
            assert KEY not in await response.text()
        async with client.get("/metrics") as response:
            assert response.status == 401
        async with client.get("/readyz") as response:
            assert response.status == 200

    ask(test, keyed())


def test_a_door_without_a_key_listens_on_loopback_only() -> None:
    for host in ("0.0.0.0", "::", "shop.example"):  # noqa: S104 - this is what is refused
        with pytest.raises(ConfigurationError, match="key_sha256"):
            KeyCheck(Serve(host=host))
        KeyCheck(keyed(host=host).serve)
    assert not KeyCheck(Serve()).is_known({"X-API-Key": ""})


def test_probes_say_what_is_missing_and_unknown_paths_and_methods_what_there_is() -> None:
    async def test(client: Client, log: MemoryLog) -> None:
        log.why = ["no broker"]
        async with client.get("/readyz") as response:
            assert (response.status, await response.json()) == (503, {"status": "not ready", "why": ["no broker"]})
        async with client.get("/healthz") as response:
            assert response.status == 200
        async with client.get("/v1/event") as response:
            assert (response.status, json.loads(await response.read())["reason"]) == (404, "no-such-path")
        async with client.get("/v1/events") as response:
            assert (response.status, response.headers["Allow"]) == (405, "POST")
        async with client.get("/metrics") as response:
            text = await response.text()
        assert 'headrace_door_requests_total{endpoint="/readyz",status="503"} 1.0' in text
        assert 'headrace_door_requests_total{endpoint="other",status="404"} 1.0' in text

    ask(test)
