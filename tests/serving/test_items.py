"""The catalogue over HTTP: what a worker takes is written, anything else is refused whole."""

import json
from typing import Any

from streams.contract.catalogue import CatalogueItem, Delisted, decode_catalogue_record
from streams.contract.topics import CATALOGUE
from tests.serving.fakes import Client, MemoryLog, ask


async def send(client: Client, method: str, path: str, body: Any = None) -> tuple[int, Any]:
    async with client.request(method, path, json=body) as response:
        return response.status, json.loads(await response.read())


def test_items_are_written_to_the_catalogue_keyed_by_their_id_and_taken_out_by_tombstones() -> None:
    async def test(client: Client, log: MemoryLog) -> None:
        boots = {"item_id": "bo/ots", "title": "Boots", "price": 79.9, "available": False, "colour": "red"}
        assert await send(client, "POST", "/v1/items", boots) == (202, {"accepted": 1, "rejected": []})
        assert (await send(client, "POST", "/v1/items", [{"item_id": "socks"}, boots]))[1]["accepted"] == 2
        assert (await send(client, "DELETE", "/v1/items/bo%2Fots"))[0] == 202
        assert {record.topic for record in log.records} == {CATALOGUE}
        first, socks, _, last = (decode_catalogue_record(record.key, record.value) for record in log.records)
        assert first == CatalogueItem(item_id="bo/ots", title="Boots", price=79.9, available=False)
        assert socks == CatalogueItem(item_id="socks")
        assert last == Delisted("bo/ots")

    ask(test)


def test_a_request_with_an_item_that_no_worker_takes_is_refused_whole() -> None:
    async def test(client: Client, log: MemoryLog) -> None:
        for bad in ({}, {"item_id": ""}, {"item_id": "a\0"}, {"item_id": "a", "price": -1}, 1):
            assert (await send(client, "POST", "/v1/items", [{"item_id": "good"}, bad]))[0] == 422
        assert (await send(client, "POST", "/v1/items", [{"item_id": str(n)} for n in range(1001)]))[0] == 422
        assert (await send(client, "DELETE", "/v1/items/" + "a" * 129))[0] == 422
        assert log.records == []

    ask(test)


def test_an_item_is_read_and_written_at_its_path() -> None:
    async def test(client: Client, log: MemoryLog) -> None:
        async with client.get("/v1/items/boots") as response:
            assert response.status == 200
            assert json.loads(await response.read())["title"] == "Red boots"
        async with client.get("/v1/items/none") as response:
            assert response.status == 404
        async with client.put("/v1/items/hat", json={"item_id": "hat", "title": "Straw hat"}) as response:
            assert response.status == 202
        async with client.put("/v1/items/hat", json={"item_id": "cap"}) as response:
            assert response.status == 409
        assert [(record.topic, record.key) for record in log.records] == [(CATALOGUE, b"hat")]

    ask(test)
