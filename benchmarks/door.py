"""The HTTP door on Apache Kafka, with one worker of all folds and transactions: time to a slate, cost of messages.

Requests come at a steady rate, whether or not earlier ones are answered. What the worker takes is measured in the same
run: from the broker's timestamp of the ``decide`` to the moment that a reader of committed records in this process has
the recommendation. The rest of a request's time is the door's, and the producer's.
"""

import asyncio
import json
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import aiohttp
import numpy as np
from confluent_kafka import OFFSET_END, Consumer, TopicPartition

from benchmarks.harness import PARTITIONS, ROOT, WORKER, running_worker
from benchmarks.shop import Shop
from streams.admin.topics import create_topics
from streams.brokers.apache_kafka import ApacheKafka
from streams.contract.connection import reader_configuration
from streams.contract.events import decode_event, encode_event
from streams.contract.records import decode_recommendation
from streams.contract.settings import Kafka, Settings
from streams.contract.topics import CLICKSTREAM, RECOMMENDATIONS

RANKS_PER_S: Final = 100
CANDIDATES: Final = 20
TIMEOUT_MS: Final = 1000
SETTLED_S: Final = 5.0
READY_S: Final = 120.0
BATCH: Final = 1000
AT_ONCE: Final = 4


def measure_door(quick: bool) -> dict[str, Any]:
    """Measures a door, a worker and a client that share this machine."""
    seconds, events = (10.0, 40_000) if quick else (60.0, 200_000)
    with ExitStack() as stack:
        kafka = Kafka(bootstrap_servers=stack.enter_context(ApacheKafka()).bootstrap_servers)
        create_topics(Settings(kafka=kafka))
        stack.enter_context(running_worker(kafka.bootstrap_servers, WORKER, delivery="transactions"))
        address = stack.enter_context(_running_door(kafka.bootstrap_servers))
        with _Stamps(kafka) as stamps:
            ranked = asyncio.run(_rank(address, seconds))
        posted = asyncio.run(_post(address, "/v1/events", _arrays(events)))
        batched = asyncio.run(_post(address, "/v1/batch", _batches(events)))
    return {**_ranking(ranked, stamps), **_named("posted", posted), **_named("batched", batched)}


@contextmanager
def _running_door(servers: str) -> Iterator[str]:
    with tempfile.TemporaryDirectory() as folder:
        address = Path(folder) / "address"
        command = [sys.executable, "-m", "streams.cli.main", "--bootstrap-servers", servers, "serve", "--port", "0"]
        with subprocess.Popen([*command, "--ready-file", str(address)], cwd=ROOT, stderr=subprocess.DEVNULL) as door:
            try:
                give_up_s = time.monotonic() + READY_S
                while not address.exists() or not address.read_text("utf-8"):
                    if door.poll() is not None or time.monotonic() > give_up_s:
                        raise RuntimeError(f"the door does not listen; exit code {door.poll()}")
                    time.sleep(0.05)
                yield address.read_text("utf-8").strip()
            finally:
                door.terminate()


class _Stamps:
    """When events were appended, and when their recommendations could be read, in milliseconds, by event id."""

    def __init__(self, kafka: Kafka) -> None:
        self.appended_ms: dict[str, float] = {}
        self.read_ms: dict[str, float] = {}
        self._consumer = Consumer({**reader_configuration(Settings(kafka=kafka)), "auto.offset.reset": "earliest"})
        topics = (CLICKSTREAM, RECOMMENDATIONS)
        self._consumer.assign(
            [TopicPartition(topic, number, OFFSET_END) for topic in topics for number in range(PARTITIONS)]
        )
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> "_Stamps":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ending.set()
        self._thread.join()
        self._consumer.close()

    def _run(self) -> None:
        while (message := self._consumer.poll(0.1)) is not None or not self._ending.is_set():
            if message is None or message.error() is not None:
                continue
            if message.topic() == RECOMMENDATIONS:
                self.read_ms[decode_recommendation(message.value() or b"").event_id] = time.time() * 1000
            else:
                self.appended_ms[decode_event(message.value()).event_id] = message.timestamp()[1]


async def _rank(address: str, seconds: float) -> list[dict[str, Any]]:
    """Asks at a steady rate, after a first answer that is live."""
    items = [f"item-{number}" for number in range(5000)]
    random = np.random.default_rng(1)
    async with aiohttp.ClientSession(address, connector=aiohttp.TCPConnector(limit=0)) as session:

        async def ask(number: int) -> dict[str, Any]:
            body = {
                "event_id": f"rank-{number}",
                "user_id": f"user-{random.integers(20_000)}",
                "candidates": [items[each] for each in random.choice(len(items), CANDIDATES, replace=False)],
                "timeout_ms": TIMEOUT_MS,
            }
            begun_s = time.perf_counter()
            async with session.post("/v1/rank", json=body) as response:
                answer = await response.json()
            return {
                "event_id": body["event_id"],
                "ms": 1000 * (time.perf_counter() - begun_s),
                "source": answer["source"],
            }

        number, give_up_s = 0, time.monotonic() + READY_S
        while (await ask(number))["source"] != "live":
            number += 1
            if time.monotonic() > give_up_s:
                raise RuntimeError("no live answer: does the worker run?")
        asked = []
        begun_s = time.perf_counter()
        for each in range(int(RANKS_PER_S * (SETTLED_S + seconds))):
            await asyncio.sleep(max(0.0, begun_s + each / RANKS_PER_S - time.perf_counter()))
            number += 1
            asked.append(asyncio.ensure_future(ask(number)))
        return list(await asyncio.gather(*asked))


def _ranking(ranked: list[dict[str, Any]], stamps: _Stamps) -> dict[str, Any]:
    counted = ranked[int(RANKS_PER_S * SETTLED_S) :]
    live = [each for each in counted if each["source"] == "live"]
    workers = {
        each["event_id"]: stamps.read_ms[each["event_id"]] - stamps.appended_ms[each["event_id"]]
        for each in live
        if each["event_id"] in stamps.read_ms and each["event_id"] in stamps.appended_ms
    }
    added = [each["ms"] - workers[each["event_id"]] for each in live if each["event_id"] in workers]
    return {
        "ranks": len(counted),
        "live_share": round(len(live) / len(counted), 4),
        **_percentiles("rank", [each["ms"] for each in live]),
        **_percentiles("worker", list(workers.values())),
        **_percentiles("added", added),
    }


def _percentiles(name: str, values: list[float]) -> dict[str, float]:
    if not values:
        return {}  # no answer was live
    return {f"{name}_p{percent}_ms": round(float(np.percentile(values, percent)), 1) for percent in (50, 99)}


def _arrays(events: int) -> list[bytes]:
    """Bodies of ``/v1/events``."""
    made = [encode_event(event) for event in Shop().events(events)]
    return [b"[" + b",".join(made[begin : begin + BATCH]) + b"]" for begin in range(0, events, BATCH)]


def _batches(events: int) -> list[bytes]:
    """Bodies of ``/v1/batch``: messages with what Segment's library for Node.js adds to each."""
    now = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    library = {"library": {"name": "@segment/analytics-node", "version": "2.1.2"}}
    made = [
        {
            "type": "track",
            "event": "Product Viewed",
            "messageId": f"node-next-{number:036}",
            "userId": event.user_id,
            "timestamp": now,
            "integrations": {},
            "context": library,
            "_metadata": {"nodeVersion": "20.11.0", "jsRuntime": "node"},
            "properties": {
                "product_id": event.item_id or "item-0",
                "category": event.category,
                "name": "Boots",
                "price": event.price,
                "currency": "EUR",
            },
        }
        for number, event in enumerate(Shop().events(events))
    ]
    parts = (made[begin : begin + BATCH] for begin in range(0, events, BATCH))
    return [json.dumps({"batch": part, "sentAt": now}).encode() for part in parts]


async def _post(address: str, path: str, bodies: Sequence[bytes]) -> dict[str, int]:
    """Posts events; the door's processor time is its own, native threads included."""
    async with aiohttp.ClientSession(address) as session:
        before_s, begun_s = await _cpu_s(session), time.perf_counter()
        left, accepted, headers = iter(bodies), 0, {"Content-Type": "application/json"}

        async def post() -> None:
            nonlocal accepted
            for body in left:
                async with session.post(path, data=body, headers=headers) as response:
                    answer: Mapping[str, Any] = json.loads(await response.read())
                accepted += answer.get("accepted", 0)

        await asyncio.gather(*(post() for _ in range(AT_ONCE)))
        elapsed_s, cpu_s = time.perf_counter() - begun_s, await _cpu_s(session) - before_s
    return {
        "events": accepted,
        "events_per_core_second": round(accepted / cpu_s),
        "events_per_second": round(accepted / elapsed_s),
    }


def _named(name: str, figures: Mapping[str, int]) -> dict[str, int]:
    return {f"{name}_{figure}": value for figure, value in figures.items()}


async def _cpu_s(session: aiohttp.ClientSession) -> float:
    async with session.get("/metrics") as response:
        lines = (await response.text()).splitlines()
    return next(float(line.split()[1]) for line in lines if line.startswith("process_cpu_seconds_total "))
