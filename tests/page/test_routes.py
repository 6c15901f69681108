"""What the door serves of the page: to whom, as what, and how a slow browser fares."""

import asyncio
import hashlib
from collections.abc import Awaitable, Callable
from typing import Final

import pytest
from aiohttp.test_utils import TestClient, TestServer
from aiohttp.web import Application, Request

from streams.contract.settings import Serve, Settings
from streams.contract.settings.policies import CONTROLS
from streams.serving.door import Door
from streams.serving.outputs import KnownItems
from streams.serving.page.page import Page
from streams.serving.page.stream import Viewer
from tests.page.test_state import BEGIN_MS, decision, event, predicted, recommended
from tests.serving.fakes import FewItems, MemoryLog

Client = TestClient[Request, Application]
KEY: Final = "a secret"
KEYED: Final = Settings(serve=Serve(key_sha256=hashlib.sha256(KEY.encode()).hexdigest()))


def ask(test: Callable[[Client, Page], Awaitable[None]], settings: Settings | None = None) -> None:
    """Runs a test against a door with a page, whose topics a test puts into its state."""

    async def run() -> None:
        made, log = settings or Settings(), MemoryLog()
        page = Page(made, KnownItems(made), lambda: BEGIN_MS)
        door = Door(made, log, log.memory, FewItems(), list, page)
        server = TestServer(door.application())
        await server.start_server(**door.runner_options())
        async with TestClient(server) as client:
            await test(client, page)
            door.end()

    asyncio.run(run())


async def first_bands(client: Client, **headers: str) -> set[str]:
    """Reads what a browser gets first."""
    async with client.get("/page/events", headers=headers) as response:
        assert response.status == 200
        bands = set()
        async for line in response.content:
            if line.startswith(b"event: "):
                bands.add(line.split()[1].decode())
            if b"series" in line:
                return bands
    return bands


@pytest.mark.parametrize("path", ["/", "/shop", "/help", "/page/static/page.js", "/page/static/vendor/uPlot.min.css"])
def test_files_have_a_policy_that_lets_nothing_else_in(path: str) -> None:
    async def test(client: Client, _: Page) -> None:
        response = await client.get(path)
        assert response.status == 200
        assert "default-src 'self'" in response.headers["Content-Security-Policy"]
        assert response.headers["X-Content-Type-Options"] == "nosniff"

    ask(test)


@pytest.mark.parametrize(
    "path", ["/page/static/page.py", "/page/static/../page.py", "/page/static/vendor/lock", "/page"]
)
def test_nothing_else_is_served(path: str) -> None:
    async def test(client: Client, _: Page) -> None:
        assert (await client.get(path)).status == 404

    ask(test)


def test_without_the_key_there_are_totals_and_no_shoppers() -> None:
    async def test(client: Client, page: Page) -> None:
        page.state.take([recommended(decision(1)), predicted("ann", BEGIN_MS, 0.5)])
        assert (await client.get("/")).status == 200
        assert await first_bands(client) == {"health", "worth", "belief", "who", "series"}
        assert "doing" in await first_bands(client, Authorization=f"Bearer {KEY}")
        paths = (
            "/page/decisions",
            "/page/decision?id=x",
            "/page/buyers.csv",
            "/page/leavers.csv",
            "/page/events?user_id=a",
        )
        for path in paths:
            assert (await client.get(path)).status == 401, path
        challenged = await client.get("/login")
        assert challenged.status == 401
        assert challenged.headers["WWW-Authenticate"].startswith("Basic")
        asked = await client.get("/login", headers={"X-API-Key": KEY}, allow_redirects=False)
        assert (asked.status, asked.headers["Location"]) == (303, "/")
        assert (await client.post("/v1/events", json=[])).status == 401

    ask(test, KEYED)


def test_a_file_of_shoppers_has_no_formulas() -> None:
    async def test(client: Client, page: Page) -> None:
        page.state.take([event("view", "=1+1", BEGIN_MS, item_id="a"), predicted("=1+1", BEGIN_MS, 0.5)])
        lines = (await (await client.get("/page/buyers.csv")).text()).splitlines()
        assert lines[1] == f"'=1+1,0.5,3.0,0.0,0,{BEGIN_MS}"

    ask(test)


def test_decisions_are_paged_and_a_decision_is_found() -> None:
    async def test(client: Client, page: Page) -> None:
        page.state.take([recommended(decision(number)) for number in range(25)])
        listed = await (await client.get("/page/decisions?user_id=ann&skip=10&n=10")).json()
        assert [each["decision_id"] for each in listed] == [decision(n).decision_id for n in range(14, 4, -1)]
        found = await client.get("/page/decision", params={"id": decision(3).decision_id})
        assert (await found.json())["decision"]["user_id"] == "ann"
        assert (await client.get("/page/decision?id=none")).status == 404
        assert (await client.get("/page/decisions?n=0")).status == 422

    ask(test)


def test_a_new_visitor_is_not_of_a_control() -> None:
    async def test(client: Client, _: Page) -> None:
        visitors = [await (await client.get("/page/visitor")).json() for _ in range(20)]
        assert len({each["user_id"] for each in visitors}) == 20
        assert not {each["policy"] for each in visitors} & set(CONTROLS)

    ask(test)


def test_the_shelf_has_products_of_several_categories() -> None:
    async def test(client: Client, page: Page) -> None:
        assert await (await client.get("/page/shelf")).json() == {"products": [], "is_new": True}
        page.state.take(
            [
                event("view", "ann", BEGIN_MS, item_id=f"item-{number}", category=f"c{number % 9}", price=1.0)
                for number in range(90)
            ]
        )
        shelf = await (await client.get("/page/shelf")).json()
        assert not shelf["is_new"]
        assert len(shelf["products"]) == len({each["item_id"] for each in shelf["products"]}) == 24
        assert len({each["category"] for each in shelf["products"]}) == 6

    ask(test)


def test_a_slow_browser_gets_the_latest_of_each_band() -> None:
    async def run() -> None:
        viewer = Viewer(None, is_named=True)
        for number in range(1000):
            viewer.put("health", b"%d" % number)
        viewer.put("worth", b"{}")
        assert await viewer.next() == b"event: health\ndata: 999\n\nevent: worth\ndata: {}\n\n"
        viewer.end()
        assert await viewer.next() == b""

    asyncio.run(run())


def test_a_door_that_ends_ends_the_streams() -> None:
    async def test(client: Client, page: Page) -> None:
        async with client.get("/page/events") as response:
            page.broadcaster.end()
            await response.content.read()

    ask(test)
