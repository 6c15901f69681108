"""Hostile requests end nothing and leak nothing, and the books balance: accepted = in clickstream."""

import asyncio
import gzip
import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any, Final

from streams.contract.topics import CLICKSTREAM
from tests.fuzzing import AT_LENGTH
from tests.serving.doors import ROOT, DoorProcess
from tests.system.cluster import cluster
from tests.timeouts import HANG_S

REQUESTS: Final = 100_000 if AT_LENGTH else 400
AT_ONCE: Final = 20
NOW_MS: Final = 1_790_000_000_000
METHODS: Final = ("POST",) * 12 + ("GET", "PUT", "DELETE", "BREW")
PATHS: Final = (
    *("/v1/events",) * 5,
    *("/v1/rank",) * 2,
    "/v1/reward",
    "/v1/recommendations/%ff%00",
    "/v1/recommendations/ann?n=9e99&max_age_s=inf",
    "/v1/../../etc/passwd",
    "//",
)
TYPES: Final = ("application/json",) * 6 + ("text/plain", "application/json; charset=utf-16", "\xff")


class Attacker:
    """Sends requests that are drawn from a seed.

    Attributes:
        accepted: Events that the answers say are accepted.
        statuses: How often each status was the answer.
    """

    def __init__(self, address: str, seed: int) -> None:
        self._host, _, port = address.removeprefix("http://").partition(":")
        self._port = int(port)
        self._random = Random(seed)
        self._last = 0
        self.accepted = 0
        self.statuses: Counter[str] = Counter()

    async def send_all(self, requests: int) -> None:
        left = iter(range(requests))

        async def send_some() -> None:
            for _ in left:
                await self._send(self._request())

        await asyncio.gather(*(send_some() for _ in range(AT_ONCE)))

    async def _send(self, request: bytes) -> None:
        try:
            reader, writer = await asyncio.open_connection(self._host, self._port)
            writer.write(request)
            answer = await asyncio.wait_for(reader.read(), HANG_S)
            writer.close()
        except ConnectionError:  # the door need not read all of a request that it refuses
            self.statuses["closed"] += 1
            return
        head, _, body = answer.partition(b"\r\n\r\n")
        status = head[9:12].decode()
        self.statuses[status] += 1
        assert status != "500", (request[:500], answer)
        assert not any(word in answer for word in (b"Traceback", b"site-packages", str(ROOT).encode())), answer
        if status == "202":
            self.accepted += json.loads(body)["accepted"]

    def _request(self) -> bytes:
        draw = self._random
        body = self._body()
        headers = ["Host: x", "Connection: close", f"Content-Type: {draw.choice(TYPES)}"]
        match draw.randrange(12):
            case 0:
                headers += ["Content-Length: 99999999999"]
            case 1:
                headers += ["Content-Length: -1"]
            case 2:
                headers += [f"Content-Length: {len(body)}", "Transfer-Encoding: chunked"]
            case 3:
                headers += [f"Content-Length: {len(body)}", "Content-Encoding: gzip"]
            case 4:
                body = gzip.compress(body)
                headers += [f"Content-Length: {len(body)}", "Content-Encoding: gzip"]
            case 5:
                headers += [f"Content-Length: {len(body)}", "X-API-Key: " + "k" * draw.randrange(9000)]
            case 6:
                headers += [f"Content-Length: {len(body)}", "Authorization: Basic \x01=="]
            case _:
                headers += [f"Content-Length: {len(body)}"]
        line = f"{draw.choice(METHODS)} {draw.choice(PATHS)} HTTP/1.1"
        return "\r\n".join([line, *headers, "", ""]).encode("latin-1") + body

    def _body(self) -> bytes:
        draw = self._random
        bodies: list[Callable[[], bytes]] = [
            lambda: draw.randbytes(draw.randrange(300)),
            lambda: b"[" * draw.randrange(1, 100_000),
            lambda: b'{"a":' * draw.randrange(1, 100_000),
            lambda: b"[" + b"1," * draw.randrange(100_000) + b"1]",
            lambda: b"x" * 1_100_000,
            lambda: _json([self._event(kind="stare"), self._event(), self._event(item_id=5)]),
            lambda: _json(self._event(kind="tick", user_id=None)),
            lambda: _json({"user_id": "ann", "timeout_ms": 1, "candidates": draw.choices("ab\0", k=3)}),
            lambda: _json({"decision_id": "d", "kind": "impression", "user_id": "ann"}),
            *[lambda: _json([self._event() for _ in range(draw.randrange(1, 9))])] * 3,
        ]
        return draw.choice(bodies)()

    def _event(self, **fields: Any) -> dict[str, Any]:
        self._last += 1
        known = {"event_id": f"e{self._last}", "timestamp_ms": NOW_MS, "kind": "view", "item_id": "boots"}
        return known | {"user_id": f"user-{self._random.randrange(50)}"} | fields


def _json(value: object) -> bytes:
    return json.dumps(value).encode()


def test_hostile_requests_end_nothing_and_what_is_accepted_is_in_clickstream(tmp_path: Path) -> None:
    with (
        cluster(tmp_path, HEADRACE_SERVE__BODY_TIMEOUT_S="1") as it,
        DoorProcess(tmp_path / "d", it.environment) as door,
    ):
        attacker = Attacker(door.address, seed=1)
        asyncio.run(attacker.send_all(REQUESTS))
        assert attacker.statuses.keys() >= {"200", "202", "400", "404", "405", "408", "413", "415", "422"}
        door.terminate()
        assert door.process.wait() == 0
        records = [json.loads(record.value) for record in it.records(CLICKSTREAM)]
        # Those that ask for a slate are written, too, and are no submission.
        assert attacker.accepted == sum(record["kind"] != "decide" for record in records)
        assert len({record["event_id"] for record in records if record["kind"] == "view"}) == sum(
            record["kind"] == "view" for record in records
        )
        assert "Traceback" not in door.said()
