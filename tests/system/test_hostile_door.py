"""Hostile requests end nothing and leak nothing, and the books balance: accepted = in clickstream."""

import asyncio
import gzip
import json
import socket
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, closing, suppress
from pathlib import Path
from random import Random
from typing import Any, Final

from streams.contract.topics import CLICKSTREAM
from tests.fuzzing import AT_LENGTH
from tests.serving.doors import ROOT, DoorProcess
from tests.system.cluster import cluster
from tests.timeouts import HANG_S, scaled, wait_until

REQUESTS: Final = 100_000 if AT_LENGTH else 400
ROUNDS: Final = 4
RUBBISH: Final = (b"\0" * 500, b"\r\n\xff\xfe" * 50, b"GET / HTTP/9.9\r\n" * 99, b"{" * 9_000)
PIPELINED: Final = 50
SPARE: Final = 5
"""Descriptors that a door may open and close for its own reasons: connections to the broker."""
ON_LINUX: Final = Path("/proc/self/statm").exists()
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
            async with self._connected() as (reader, writer):
                writer.write(request)
                answer = await asyncio.wait_for(reader.read(), HANG_S)
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

    @asynccontextmanager
    async def _connected(self) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
        reader, writer = await asyncio.open_connection(self._host, self._port)
        try:
            yield reader, writer
        finally:
            writer.close()
            with suppress(ConnectionError):
                await writer.wait_closed()

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


def test_hostile_requests_end_nothing_leak_nothing_and_what_is_accepted_is_in_clickstream(tmp_path: Path) -> None:
    with (
        cluster(tmp_path, HEADRACE_SERVE__BODY_TIMEOUT_S="1") as it,
        DoorProcess(tmp_path / "d", it.environment) as door,
    ):
        attacker = Attacker(door.address, seed=1)
        resident, descriptors = list[int](), list[int]()
        for _ in range(ROUNDS):
            asyncio.run(attacker.send_all(REQUESTS // ROUNDS))
            it.records(CLICKSTREAM)  # the embedded broker does not keep those of many rounds
            if ON_LINUX:
                wait_until(lambda: not descriptors or door.descriptors() <= descriptors[0] + SPARE, door.said)
                descriptors.append(door.descriptors())
                resident.append(door.resident_bytes())
        # The first round is the warm-up.
        assert not resident or max(resident[1:]) < 1.25 * resident[0], resident
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


def connected(door: DoorProcess, receive_bytes: int | None = None) -> socket.socket:
    """Connects to a door; ``receive_bytes`` is how much is received before it is read."""
    host, _, port = door.address.removeprefix("http://").partition(":")
    made = socket.socket()
    made.settimeout(HANG_S)
    if receive_bytes is not None:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_bytes)
    made.connect((host, int(port)))
    return made


ASKED: Final = b"GET /healthz HTTP/1.1\r\nHost: x\r\n"


def test_clients_that_never_end_a_header_or_read_no_answer_are_dropped_and_others_served(tmp_path: Path) -> None:
    with (
        cluster(tmp_path, HEADRACE_SERVE__IDLE_TIMEOUT_S=str(scaled(2.0))) as it,
        DoorProcess(tmp_path / "d", it.environment) as door,
    ):
        descriptors = door.descriptors() if ON_LINUX else 0
        # A header of a second request, too, after a whole first one.
        slow = [connected(door) for _ in range(10)]
        for number, each in enumerate(slow):
            if number % 2:
                each.sendall(ASKED + b"\r\n")
                assert each.recv(1000).startswith(b"HTTP/1.1 200")
            each.sendall(ASKED + b"X-Slow: ")
        deaf = [connected(door, receive_bytes=4096) for _ in range(10)]
        for each in deaf:
            each.sendall(b"GET /openapi.json HTTP/1.1\r\nHost: x\r\n\r\n" * 50)
        open_ones = set(slow)
        while open_ones:
            assert door.ask("/healthz")[0] == 200
            open_ones = {each for each in open_ones if not is_dropped(each)}
        if ON_LINUX:
            wait_until(lambda: door.descriptors() <= descriptors + SPARE, door.descriptors)
        for each in (*slow, *deaf):
            each.close()
        assert "Traceback" not in door.said()


def is_dropped(client: socket.socket) -> bool:
    """Sends one more byte of a header; the header is never too long, so that the door has nothing to answer."""
    client.settimeout(0.05)
    try:
        client.sendall(b"x")
        answer = client.recv(1000)
    except TimeoutError:
        return False
    except ConnectionError:
        return True
    assert answer == b""
    return True


def test_of_requests_with_rubbish_behind_them_those_that_are_answered_are_in_clickstream(tmp_path: Path) -> None:
    with cluster(tmp_path) as it, DoorProcess(tmp_path / "d", it.environment) as door:
        accepted = 0
        for number, rubbish in enumerate(RUBBISH):
            with closing(connected(door)) as client:
                client.sendall(b"".join(event_request(f"{number}-{each}") for each in range(PIPELINED)) + rubbish)
                answer = b"".join(iter(lambda client=client: client.recv(65536), b""))  # type: ignore[misc]
            statuses = [part[:3] for part in answer.split(b"HTTP/1.1 ")[1:]]
            # The library may drop what came together with the rubbish: that is not answered, and not written.
            assert set(statuses) <= {b"202", b"400"}, (rubbish[:20], statuses)
            accepted += statuses.count(b"202")
        assert accepted == len(it.records(CLICKSTREAM)) > 0
        assert door.ask("/healthz")[0] == 200
        assert "Traceback" not in door.said()


def event_request(event_id: str) -> bytes:
    event = {"event_id": event_id, "timestamp_ms": NOW_MS, "kind": "view", "user_id": event_id, "item_id": "boots"}
    body = _json(event)
    head = (
        f"POST /v1/events HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body
