"""A door without Kafka: events go to a list, and a test decides when and how they are acknowledged."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from types import MappingProxyType
from typing import Final

from aiohttp.test_utils import TestClient, TestServer
from aiohttp.web import Application, Request

from streams.contract.catalogue import CatalogueItem
from streams.contract.partitioning import partition_of
from streams.contract.settings import Settings
from streams.serving.clickstream import Place
from streams.serving.door import Door
from streams.serving.slates import SlateMemory
from streams.serving.submission import NewRecord

MAX_LAG_MS: Final = 1000 * Settings().serve.max_lag_s
NOW_MS: Final = 1_790_000_000_000
PARTITIONS: Final = Settings().kafka.partitions


class MemoryLog:
    """Clickstream as a list.

    Attributes:
        error: Raised in place of an acknowledgement.
        gate: Closed, it holds all acknowledgements back.
        memory: Of the door; a test puts into it what a worker would decide.
    """

    def __init__(self) -> None:
        self.records: list[NewRecord] = []
        self.error: Exception | None = None
        self.gate = asyncio.Event()
        self.gate.set()
        self.why: list[str] = []
        self.memory = SlateMemory(1000, PARTITIONS, MAX_LAG_MS)
        self.now_ms = NOW_MS

    async def append(self, records: Sequence[NewRecord]) -> list[Place]:
        if self.error is not None:
            raise self.error
        places = [Place(_partition(record), len(self.records) + number) for number, record in enumerate(records)]
        self.records += records
        await self.gate.wait()
        return places

    def reasons_not_ready(self) -> list[str]:
        return self.why


def _partition(record: NewRecord) -> int:
    return partition_of(record.key, PARTITIONS) if record.key is not None else record.partition or 0


Client = TestClient[Request, Application]


class FewItems:
    """Popular items, most popular first."""

    ids = ("boots", "sandals", "socks")
    catalogue: Mapping[str, CatalogueItem] = MappingProxyType(
        {"boots": CatalogueItem(item_id="boots", title="Red boots", image_url="/boots.png", price=79.9)}
    )

    def popular(self, n: int) -> list[str]:
        return [*self.ids[:n]]

    def listed(self, item_id: str) -> CatalogueItem | None:
        return self.catalogue.get(item_id)

    def ordered(self, candidates: Sequence[str]) -> list[str]:
        return sorted(candidates, key=lambda item: self.ids.index(item) if item in self.ids else len(self.ids))


@asynccontextmanager
async def opened(settings: Settings, log: MemoryLog) -> AsyncIterator[Client]:
    """Serves a door on loopback."""
    door = Door(settings, log, log.memory, FewItems(), list, clock_ms=lambda: log.now_ms)
    server = TestServer(door.application())
    await server.start_server(**door.runner_options())
    async with TestClient(server) as client:
        yield client


def ask(test: Callable[[Client, MemoryLog], Awaitable[None]], settings: Settings | None = None) -> None:
    """Runs a test against a door of its own."""

    async def run() -> None:
        log = MemoryLog()
        async with opened(settings or Settings(), log) as client:
            await test(client, log)

    asyncio.run(run())
