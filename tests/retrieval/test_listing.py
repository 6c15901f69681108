"""Nothing is shown that the shop's catalogue has taken out, and what it puts back may be shown again."""

from collections.abc import Iterable
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streams.contract.catalogue import (
    MAX_CATALOGUE_BYTES,
    CatalogueItem,
    CatalogueRecord,
    Delisted,
    decode_catalogue_record,
    encode_catalogue_item,
)
from streams.contract.outputs import Output
from streams.contract.records import ItemSummary
from streams.contract.settings import Items, Settings
from streams.contract.topics import CATALOGUE
from streams.core.retrieval.context import ShopperContext, decision_context
from streams.core.retrieval.item_table import ItemTable
from streams.core.retrieval.shortlist import popular_shortlist, shortlists
from tests.behaviour.small_shop import SETTINGS, Shop

NOW_MS = 1_700_000_000_000
N_ITEMS = 30
KNOWN = Settings(items=Items(neighbours=4))


def summary(number: int, popularity: float) -> ItemSummary:
    others = [f"i{(number * step) % N_ITEMS}" for step in (3, 7, 11)]
    neighbours = (others, [3.0, 2.0, 1.0])
    category = f"c{number % 3}"
    return ItemSummary(
        f"i{number}", category, 5.0, NOW_MS + number, NOW_MS, popularity, 9.0, 1.0, *neighbours, *neighbours
    )


def context(current: int) -> ShopperContext:
    views = {f"i{current + 1}": 2, f"i{current}": 1}
    return ShopperContext(f"i{current}", f"c{current % 3}", views, ["i2", "i4"], [*views], {"c1": 1.0}, None, NOW_MS)


def proposed(made: ItemTable) -> list[list[str]]:
    """Everything that retrieval proposes to some shoppers."""
    contexts = [decision_context(made, context(current)) for current in range(0, N_ITEMS, 4)]
    found = [*shortlists(made, contexts, 20), *(popular_shortlist(made, each, 20) for each in contexts)]
    return [[made.ids[item] for item in each.items] for each in found]


def record(number: int, change: str) -> CatalogueRecord:
    if change == "delete":
        return Delisted(f"i{number}")
    return CatalogueItem(item_id=f"i{number}", available=change == "list")


changes = st.lists(
    st.tuples(st.integers(0, N_ITEMS + 3), st.sampled_from(["list", "list", "hide", "delete"])), max_size=40
)


@settings(max_examples=60)
@given(st.lists(st.tuples(changes, st.lists(st.integers(0, N_ITEMS - 1), max_size=8)), min_size=1, max_size=5))
def test_in_any_order_retrieval_proposes_what_is_listed_as_if_there_were_nothing_else(
    steps: list[tuple[list[tuple[int, str]], list[int]]],
) -> None:
    made = ItemTable(KNOWN)
    listed: dict[str, bool] = {}
    popularity: dict[int, float] = {}
    for records, visited in steps:
        made.apply([summary(number, popularity.setdefault(number, 1.0 + number)) for number in visited])
        made.apply_listing([record(*change) for change in records])
        for number, change in records:
            listed.pop(f"i{number}", None)
            if change != "delete":
                listed[f"i{number}"] = change == "list"
        # Popularity that falls as well as rises.
        popularity = {number: value * (0.5 if number % 2 else 3.0) for number, value in popularity.items()}
        made.apply([summary(number, value) for number, value in popularity.items()])
    afresh = ItemTable(KNOWN)
    afresh.apply_listing(CatalogueItem(item_id=name, available=there) for name, there in listed.items())
    afresh.apply(summary(number, value) for number, value in popularity.items())
    assert tops(made) == tops(afresh)
    if listed:
        available = {name for name, there in listed.items() if there}
        assert {item for each in proposed(made) for item in each} <= available


def tops(made: ItemTable) -> list[list[str]]:
    """The lists of the most popular and of the newest items, by name."""
    by_category = [made.popular_in(made.find_category(f"c{number}")) for number in range(3)]
    return [[made.ids[item] for item in top] for top in (made.popular, made.newest, *by_category)]


def test_a_full_shop_that_hides_its_most_popular_items_proposes_the_next_ones() -> None:
    made = ItemTable(KNOWN)
    made.apply([summary(number, 1.0 + number) for number in range(N_ITEMS)])
    made.apply_listing([CatalogueItem(item_id=f"i{number}", available=number < 10) for number in range(N_ITEMS)])
    assert [made.ids[item] for item in made.popular] == [f"i{number}" for number in range(9, -1, -1)]
    assert all(each for each in proposed(made))
    made.apply_listing([CatalogueItem(item_id="i29")])
    assert made.ids[made.popular[0]] == "i29"
    made.apply_listing([Delisted(f"i{number}") for number in range(N_ITEMS)])
    assert len(made.popular) == N_ITEMS


def list_items(shop: Shop, items: Iterable[CatalogueItem], deleted: Iterable[str] = ()) -> None:
    for item in items:
        shop.topics.append(Output(CATALOGUE, item.item_id.encode(), encode_catalogue_item(item)))
    for item_id in deleted:
        shop.topics.append(Output(CATALOGUE, item_id.encode(), b""))
    shop.refresh()


@pytest.mark.parametrize("policy", ["random", "popular", "bandit", "q"])
def test_what_is_sold_out_or_deleted_is_shown_to_nobody_any_more(policy: str) -> None:
    shop = Shop(policy)
    shop.view(0, "i1")
    list_items(shop, [CatalogueItem(item_id=f"i{number}") for number in range(12)])
    list_items(
        shop, [CatalogueItem(item_id="i11", available=False), CatalogueItem(item_id="i3", available=False)], ["i9"]
    )
    for number in range(12):
        shop.view(1 + number, f"i{number}")
    out = {"i11", "i3", "i9"}
    for decision in shop.decisions()[1:]:
        assert not out & set(decision.shortlist)
    assert any(decision.slate for decision in shop.decisions()[1:])
    list_items(shop, [CatalogueItem(item_id="i11")])
    shop.view(20, "i1")
    assert "i11" in shop.decisions()[-1].shortlist


def test_of_a_callers_candidates_those_that_are_listed_as_unavailable_are_not_shown() -> None:
    shop = Shop("random")
    list_items(shop, [CatalogueItem(item_id="i1", available=False), CatalogueItem(item_id="i2")])
    shop.send("decide", 0, candidates=("i1", "i2", "i3", "new"), n=20)
    (made,) = shop.recommendations()
    assert {item.item_id for item in made.items} == {"i2", "i3", "new"}
    assert made.items[0].propensity == pytest.approx(1 / 3)
    shop.send("decide", 1, candidates=("i1",))
    assert shop.recommendations()[-1].items == []


ITEM = {
    "item_id": "i1",
    "title": "Trail shoe",
    "category": "shoes",
    "price": 79.9,
    "available": False,
    "url": "https://shop.example/i1",
    "image_url": "https://shop.example/i1.jpg",
    "tags": ["sale", "outdoor"],
    "embedding": [0.25, -1.0],
}


def test_every_field_of_an_item_is_read() -> None:
    decoded = decode_catalogue_record(b"i1", msgspec.json.encode(ITEM | {"colour": "red"}))
    assert isinstance(decoded, CatalogueItem)
    assert msgspec.json.decode(encode_catalogue_item(decoded)) == ITEM
    assert decode_catalogue_record(b"i1", None) == Delisted("i1")


@pytest.mark.parametrize(
    ("key", "change"),
    [
        (b"i2", {}),
        (b"", {}),
        (b"i1", {"item_id": ""}),
        (b"a\0", {"item_id": "a\0"}),
        (b"i1", {"price": -1.0}),
        (b"i1", {"title": ""}),
        (b"i1", {"available": "yes"}),
        (b"i1", {"tags": ["x"] * 65}),
        (b"i1", {"embedding": [1.0] * 2049}),
        (b"i1", {"more": "x" * MAX_CATALOGUE_BYTES}),
    ],
)
def test_what_is_no_item_is_refused(key: bytes, change: dict[str, Any]) -> None:
    with pytest.raises(msgspec.DecodeError):
        decode_catalogue_record(key, msgspec.json.encode(ITEM | change))


def test_an_evicted_item_that_comes_back_is_hidden_still() -> None:
    made = ItemTable(msgspec.structs.replace(SETTINGS, items=Items(max_items=8)))
    made.apply_listing([CatalogueItem(item_id=f"i{number}", available=number != 3) for number in range(N_ITEMS)])
    for number in range(N_ITEMS):
        made.apply([summary(number, 1.0)])
    made.apply([msgspec.structs.replace(summary(3, 1e6), updated_ms=NOW_MS + 1_000_000)])
    assert made.ids[int(np.flatnonzero(made.hidden[: len(made)])[0])] == "i3"
    assert "i3" not in [made.ids[item] for item in made.popular]
