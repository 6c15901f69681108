"""A shortlist has every source in it, nothing twice, and never what is being looked at."""

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from streams.contract.records import ItemSummary
from streams.contract.settings import Items, Settings
from streams.core.retrieval.context import ShopperContext, decision_context
from streams.core.retrieval.item_table import ItemTable
from streams.core.retrieval.rules import LAST_ITEMS
from streams.core.retrieval.shortlist import MAX_PROPOSED, SOURCE_NAMES, Shortlist, shortlists
from tests.retrieval.plain import QUOTAS, plain_shortlist

SETTINGS = Settings(items=Items(neighbours=24))
CATEGORIES = ("hats", "shoes", "bags")


def shop(
    n_items: int = 200,
    neighbours: Mapping[int, Sequence[int]] | None = None,
    bought: Mapping[int, Sequence[int]] | None = None,
) -> ItemTable:
    """Item ``n`` is in the category ``n % 3``; lower numbers are more popular, higher ones newer."""
    beside = {n: [(n + step) % n_items for step in range(1, 20)] for n in range(n_items)} | dict(neighbours or {})
    made = ItemTable(SETTINGS)
    made.apply(
        ItemSummary(
            f"item-{n}",
            CATEGORIES[n % 3],
            10.0,
            n,
            0,
            float(n_items - n),
            0.0,
            0.0,
            [f"item-{m}" for m in beside[n]],
            [float(50 - place) for place in range(len(beside[n]))],
            [f"item-{m}" for m in (bought or {}).get(n, ())],
            [1.0 for _ in (bought or {}).get(n, ())],
        )
        for n in range(n_items)
    )
    return made


def context(
    item: int | None = 100,
    recent_items: Sequence[str] | None = None,
    view_counts: Mapping[str, int] | None = None,
    **others: Any,
) -> ShopperContext:
    """A shopper at a view; ``recent_items`` are nearest first, and of this session unless that is given, too."""
    item_id = None if item is None else f"item-{item}"
    recent = ((item_id,) if item_id else ()) if recent_items is None else recent_items
    counts = view_counts or {}
    older = {name: count for name, count in counts.items() if name not in recent}
    nothing: dict[str, Any] = {
        "item_id": item_id,
        "category": None,
        "views": older | {name: counts.get(name, 1) for name in reversed(recent)},
        "cart_items": (),
        "session_items": recent_items or (),
        "category_shares": {},
        "usual_log_price": None,
        "timestamp_ms": 0,
    }
    return ShopperContext(**(nothing | others))


def shortlist(made: ItemTable, asked: ShopperContext, size: int) -> Shortlist:
    (found,) = shortlists(made, [decision_context(made, asked)], size)
    return found


def proposed(made: ItemTable, asked: ShopperContext, size: int = 20) -> dict[str, list[int]]:
    """Items by the source that proposed them."""
    found = shortlist(made, asked, size)
    return {
        source: [i for i, k in zip(found.items, found.sources, strict=True) if SOURCE_NAMES[k] == source]
        for source in SOURCE_NAMES
    }


SHOP = shop()
items = st.integers(0, 210).map("item-{}".format)
contexts = st.builds(
    context,
    item=st.one_of(st.none(), st.integers(0, 210)),
    category=st.sampled_from([None, *CATEGORIES, "unheard of"]),
    recent_items=st.lists(items, max_size=6, unique=True).map(tuple),
    view_counts=st.dictionaries(items, st.integers(1, 3), max_size=6),
    cart_items=st.lists(items, max_size=6, unique=True).map(tuple),
    category_shares=st.dictionaries(st.sampled_from(CATEGORIES), st.floats(0.1, 1.0)),
)


@given(contexts, st.integers(1, 20))
def test_it_is_full_has_nothing_twice_and_not_the_current_item(asked: ShopperContext, size: int) -> None:
    found = shortlist(SHOP, asked, size)
    assert len(found.items) == len(set(found.items)) == len(found.sources) == size
    assert SHOP.find(asked.item_id) not in found.items
    assert set(found.sources) <= set(range(len(SOURCE_NAMES)))


summaries = st.builds(
    lambda item, category, popularity, rules, bought: ItemSummary(
        item, category, 10.0, 0, 0, popularity, 0.0, 0.0, list(rules), list(rules.values()), bought, [1.0] * len(bought)
    ),
    items,
    st.sampled_from([None, *CATEGORIES]),
    st.integers(0, 9).map(float),
    st.dictionaries(items, st.sampled_from([0.5, 1.0, 2.0]), max_size=24),
    st.lists(items, max_size=3, unique=True),
)


@given(st.lists(summaries, max_size=12), st.lists(contexts, max_size=8), st.sampled_from(sorted(QUOTAS)))
def test_many_at_once_are_as_plain_python_makes_them_one_by_one(
    global_table: list[ItemSummary], asked: list[ShopperContext], size: int
) -> None:
    made = shop(40)
    made.apply(global_table)
    together = shortlists(made, [decision_context(made, each) for each in asked], size)
    assert together == [plain_shortlist(made, each, size) for each in asked]


@given(st.lists(contexts, max_size=8))
def test_those_of_a_new_shop_are_as_plain_python_makes_them(asked: list[ShopperContext]) -> None:
    made = ItemTable(SETTINGS)
    for global_table in ([], [ItemSummary("item-1", None, None, 0, 0, 1.0, 0.0, 0.0, ["item-2"], [1.0])]):
        made.apply(global_table)
        together = shortlists(made, [decision_context(made, each) for each in asked], 20)
        assert together == [plain_shortlist(made, each, 20) for each in asked]


def test_every_kind_has_its_share() -> None:
    asked = context(category="hats", cart_items=("item-150", "item-151", "item-152"))
    made = shop(bought={150: [10, 20, 30]})
    assert {source: len(found) for source, found in proposed(made, asked).items()} == {
        "related": 8 + 3,
        "trending": 4,
        "cart": 2,
        "bought": 2,
        "popular": 1,
    }


def test_what_a_kind_cannot_fill_goes_to_the_others() -> None:
    counts = {source: len(found) for source, found in proposed(SHOP, context(None, recent_items=())).items()}
    assert counts == {"related": 0, "trending": 0, "cart": 0, "bought": 0, "popular": 20}


def test_an_empty_item_table_proposes_nothing() -> None:
    assert shortlist(ItemTable(SETTINGS), context(), 20) == Shortlist([], [])


def test_related_are_the_neighbours_of_the_sessions_last_items_the_last_counting_most() -> None:
    made = shop(neighbours={100 + n: [n + 1] for n in range(LAST_ITEMS + 1)})
    last_items = tuple(f"item-{100 + n}" for n in range(LAST_ITEMS + 1))
    related = proposed(made, context(session_items=last_items))["related"]
    assert [item for item in related if item < 100] == [n + 1 for n in range(LAST_ITEMS)]


def test_items_of_an_earlier_session_lead_nowhere() -> None:
    made = shop(neighbours={100: [1], 101: [2]})
    asked = context(recent_items=("item-100", "item-101"), session_items=("item-100",))
    assert proposed(made, asked)["related"] == [1]


def test_what_two_of_the_last_items_lead_to_is_more_related() -> None:
    made = shop(neighbours={100: [1, 2], 101: [2]})
    assert proposed(made, context(recent_items=("item-100", "item-101")))["related"] == [2, 1, 101]


def test_the_current_item_counts_as_the_last_one_even_if_it_is_not_among_the_recent() -> None:
    made = shop(neighbours={100: [1], 101: [2]})
    assert proposed(made, context(100, recent_items=("item-101",)))["related"] == [1, 2, 101]


def test_what_was_bought_together_with_the_cart_and_the_current_item_is_proposed_in_turn() -> None:
    made = shop(neighbours={100: []}, bought={100: [61, 62], 150: [63, 151], 151: [64]})
    assert proposed(made, context(cart_items=("item-150", "item-151")))["bought"] == [64, 63]
    assert proposed(made, context(cart_items=("item-151",)))["bought"] == [64, 61]
    assert proposed(made, context())["bought"] == [61, 62]


def test_trending_is_what_is_popular_in_the_category_then_in_the_shoppers_favourite() -> None:
    asked = context(None, category="shoes", category_shares={"bags": 0.7, "shoes": 0.3})
    assert proposed(SHOP, asked)["trending"][:5] == [1, 4, 7, 10, 13]
    asked = context(None, category_shares={"bags": 0.7, "shoes": 0.3})
    assert proposed(SHOP, asked)["trending"][:5] == [2, 5, 8, 11, 14]


def test_without_a_category_in_the_event_it_is_the_items_own() -> None:
    made = shop(neighbours={100: []})
    assert proposed(made, context(100))["trending"][:3] == [1, 4, 7]


def test_the_cart_comes_before_what_was_looked_at_again() -> None:
    asked = context(
        cart_items=("item-150", "item-151"),
        recent_items=("item-100", "item-160", "item-161"),
        session_items=("item-100",),
        view_counts={"item-100": 9, "item-160": 1, "item-161": 2},
    )
    alone = shop(neighbours={n: [] for n in range(200)})
    assert proposed(alone, asked)["cart"] == [151, 150]
    assert proposed(alone, msgspec.structs.replace(asked, cart_items=("item-150",)))["cart"] == [150, 161]


def test_the_first_kind_that_proposes_an_item_has_it() -> None:
    asked = context(100, cart_items=("item-101",))
    found = proposed(SHOP, asked)
    assert 101 in found["related"]
    assert found["cart"] == []


def test_new_items_get_a_chance_among_the_popular() -> None:
    made = shop(neighbours={100: []})
    assert proposed(made, context(100, category="shoes"), MAX_PROPOSED)["popular"][:4] == [0, 199, 198, 2]
