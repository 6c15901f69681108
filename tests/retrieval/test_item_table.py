"""The item table says what the global table said last, however it came, and its top lists are those of a full sort."""

from collections.abc import Sequence
from math import inf, log, log2, nan
from random import Random
from zlib import crc32

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.contract.records import ItemSummary
from streams.contract.settings import Items, Settings
from streams.core.retrieval import top_k
from streams.core.retrieval.item_table import NO_CATEGORY, NOBODY, ItemTable

HALF_LIFE_MS = 100_000
SETTINGS = Settings(items=Items(half_life_s=HALF_LIFE_MS / 1000, neighbours=3))


def summary(
    item_id: str,
    category: str | None = None,
    popularity: float = 1.0,
    updated_ms: int = 0,
    first_seen_ms: int = 0,
    price: float | None = None,
    impressions: float = 0.0,
    clicks: float = 0.0,
    neighbours: Sequence[tuple[str, float]] = (),
) -> ItemSummary:
    others, strengths = [name for name, _ in neighbours], [strength for _, strength in neighbours]
    return ItemSummary(
        item_id, category, price, first_seen_ms, updated_ms, popularity, impressions, clicks, others, strengths
    )


def item_table(*summaries: ItemSummary) -> ItemTable:
    made = ItemTable(SETTINGS)
    made.apply(summaries)
    return made


names = st.integers(0, 30).map("item-{}".format)
summaries = st.builds(
    summary,
    item_id=names,
    category=st.sampled_from([None, "hats", "shoes", "bags"]),
    popularity=st.one_of(st.just(0.0), st.floats(0.01, 50.0)),
    updated_ms=st.integers(0, 1_000_000),
    first_seen_ms=st.integers(0, 20),
    neighbours=st.lists(st.tuples(names, st.floats(0.1, 9.0)), max_size=3, unique_by=lambda pair: pair[0]),
)


def by_id(made: ItemTable) -> dict[str, list[str]]:
    """All lists, as item ids."""
    lists = {"popular": made.popular, "newest": made.newest}
    lists |= {name: made.popular_in(made.find_category(name)) for name in ("hats", "shoes", "bags")}
    return {name: [made.ids[item] for item in items] for name, items in lists.items()}


@given(st.lists(summaries, max_size=60), st.data())
def test_lists_are_those_of_a_full_sort_however_the_feed_is_cut(
    global_table: list[ItemSummary], data: st.DataObject
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        for name in ("N_OVERALL", "N_CATEGORY", "N_NEWEST"):
            patch.setattr(top_k, name, 4)
        at_once, piecemeal = item_table(*global_table), ItemTable(SETTINGS)
        left = global_table
        while left:
            size = data.draw(st.integers(1, len(left)))
            piecemeal.apply(left[:size])
            left = left[size:]
    last = {one.item_id: one for one in global_table}
    standing = {
        one.item_id: log2(one.popularity) + one.updated_ms / HALF_LIFE_MS for one in last.values() if one.popularity
    }
    for made in (at_once, piecemeal):
        lists = by_id(made)
        for name, listed in lists.items():
            there = [one for one in standing if name in ("popular", "newest") or last[one].category == name]
            value = {one: -last[one].first_seen_ms if name == "newest" else -standing[one] for one in there}
            assert len(listed) == len(set(listed)) == min(4, len(there))
            assert set(listed) <= set(there)
            assert [-value[one] for one in listed] == pytest.approx(
                sorted((-value[one] for one in there), reverse=True)[:4], abs=1e-5
            )
    assert by_id(at_once) == by_id(piecemeal)


@given(st.lists(summaries, max_size=20, unique_by=lambda one: one.item_id), st.randoms(use_true_random=False))
def test_the_order_in_which_items_arrive_does_not_matter(global_table: list[ItemSummary], random: object) -> None:
    shuffled = list(global_table)
    random.shuffle(shuffled)  # type: ignore[attr-defined]  # hypothesis' random is typed as an object only
    one, other = item_table(*global_table), item_table(*shuffled)
    assert by_id(one) == by_id(other)
    for item_id in one.ids:
        mine, theirs = one.find(item_id), other.find(item_id)
        assert mine is not None
        assert theirs is not None
        assert one.standing[mine] == other.standing[theirs]
        assert [one.ids[n] for n in one.neighbours[mine] if n >= 0] == [
            other.ids[n] for n in other.neighbours[theirs] if n >= 0
        ]


def test_equally_popular_items_are_listed_alike_in_whatever_order_they_arrive() -> None:
    global_table = [summary(f"item-{number}", "hats") for number in range(100)]
    lists = by_id(item_table(*global_table))
    assert lists == by_id(item_table(*reversed(global_table)))
    assert lists["popular"] != sorted(lists["popular"])


def test_an_item_that_changes_its_category_makes_room_in_the_one_it_leaves() -> None:
    made = item_table(*(summary(f"item-{number}", "hats", popularity=100.0 - number) for number in range(60)))
    made.apply([summary("item-0", "shoes", popularity=100.0)])
    lists = by_id(made)
    assert lists["shoes"] == ["item-0"]
    assert lists["hats"] == [f"item-{number}" for number in range(1, 1 + top_k.N_CATEGORY)]


def test_an_item_that_turns_out_to_be_older_makes_room_among_the_newest() -> None:
    made = item_table(*(summary(f"item-{number}", first_seen_ms=number) for number in range(top_k.N_NEWEST + 1)))
    made.apply([summary(f"item-{top_k.N_NEWEST}", first_seen_ms=-1)])
    assert by_id(made)["newest"] == [f"item-{number}" for number in reversed(range(top_k.N_NEWEST))]


def test_an_item_that_is_no_longer_seen_sinks_below_what_is() -> None:
    made = item_table(summary("old", popularity=8.0, updated_ms=0))
    made.apply([summary("new", popularity=2.0, updated_ms=3 * HALF_LIFE_MS)])
    assert [made.ids[item] for item in made.popular] == ["new", "old"]


def test_numbers_are_those_of_the_last_summary() -> None:
    made = item_table(summary("a", price=1.0), summary("a", "hats", 3.0, price=20.0, impressions=180.0, clicks=29.0))
    item = made.find("a")
    assert item == 0
    assert made.popularity[item] == 3.0
    assert made.log_popularity[item] == pytest.approx(log(4.0))
    assert (made.impressions[item], made.clicks[item]) == (180.0, 29.0)
    assert made.log_price[item] == pytest.approx(log(20.0))
    assert made.category[item] == made.find_category("hats") == 0


@given(
    st.lists(st.tuples(st.floats(0.0, 1e5), st.floats(0.0, 1.0)), min_size=1, max_size=30),
    st.randoms(use_true_random=False),
)
def test_click_rates_are_between_the_items_own_and_the_shops_to_the_bit_in_any_order(
    shown: list[tuple[float, float]], draw: Random
) -> None:
    summaries = [
        summary(f"item-{number}", impressions=impressions, clicks=impressions * share)
        for number, (impressions, share) in enumerate(shown)
    ]
    made, names = item_table(*summaries), [each.item_id for each in summaries]
    rates = made.ctr(np.array(made.number(names)))
    [unknown] = made.ctr(np.array([NOBODY]))
    for (impressions, share), rate in zip(shown, rates.tolist(), strict=True):
        own, prior = share, float(unknown)
        assert min(own, prior) - 1e-9 <= rate <= max(own, prior) + 1e-9
        assert impressions or rate == pytest.approx(prior)
    draw.shuffle(summaries)
    again = item_table(*summaries)
    assert again.ctr(np.array(again.number(names))).tolist() == rates.tolist()


@pytest.mark.parametrize("price", [None, 0.0])
def test_a_price_that_has_no_logarithm_is_missing_and_no_number(price: float | None) -> None:
    made = item_table(summary("a", price=price))
    assert made.log_price[:1] == pytest.approx([nan], nan_ok=True)


def test_a_neighbour_without_a_summary_is_known_and_in_no_list() -> None:
    made = item_table(summary("a", neighbours=[("b", 3.0), ("c", 2.0)]))
    b = made.find("b")
    assert b is not None
    assert made.neighbours[0].tolist() == [b, made.find("c"), -1]
    assert made.closeness[0].tolist() == pytest.approx([0.3, 0.2, 0.0])
    assert made.standing[b] == -inf
    assert made.category[b] == NO_CATEGORY
    assert [made.ids[item] for item in made.popular] == ["a"]


def test_neighbours_that_are_gone_are_gone() -> None:
    made = item_table(summary("a", neighbours=[("b", 3.0), ("c", 2.0), ("d", 2.0), ("beyond", 1.0)]))
    assert (made.neighbours[0] >= 0).all()
    made.apply([summary("a", neighbours=[("d", 1.0)])])
    assert made.neighbours[0].tolist() == [made.find("d"), -1, -1]
    assert made.closeness[0, 1:].tolist() == [0.0, 0.0]


def test_it_grows() -> None:
    made = ItemTable(SETTINGS)
    for start in range(0, 5000, 700):
        made.apply([summary(f"item-{n}", "hats", popularity=n + 1.0) for n in range(start, start + 700)])
    assert len(made) == 5600
    assert made.popularity[: len(made)].tolist() == (np.arange(5600) + 1.0).tolist()
    assert made.popular[0] == made.popular_in(0)[0] == 5599


MAX_ITEMS = 16
FEW = Settings(items=Items(half_life_s=HALF_LIFE_MS / 1000, neighbours=3, max_items=MAX_ITEMS))


def forget(decision_context: dict[str, ItemSummary | None], keep: int) -> dict[str, ItemSummary | None]:
    """The plain way: sort all, drop the rest, and drop their names from the lists of those who stay."""

    def recency(name: str) -> tuple[int, int]:
        one = decision_context[name]
        return (1, 0) if one is None else (-one.updated_ms, crc32(name.encode()))

    stay = set(sorted(decision_context, key=recency)[:keep])
    left: dict[str, ItemSummary | None] = {}
    for name, one in decision_context.items():
        if name in stay:
            left[name] = one
            if one is not None:
                pairs = zip(one.neighbours, one.strengths, strict=True)
                kept = [pair for pair in pairs if pair[0] in stay]
                names, strengths = [other for other, _ in kept], [strength for _, strength in kept]
                left[name] = msgspec.structs.replace(one, neighbours=names, strengths=strengths)
    return left


@given(st.lists(st.lists(summaries, min_size=1, max_size=6), max_size=12))
def test_of_too_many_items_those_seen_last_stay_with_all_that_is_known_of_them(parts: list[list[ItemSummary]]) -> None:
    made, decision_context = ItemTable(FEW), dict[str, ItemSummary | None]()
    for part in parts:
        made.apply(part)
        decision_context |= {one.item_id: one for one in part}
        for one in {one.item_id: one for one in part}.values():
            decision_context |= {name: None for name in one.neighbours if name not in decision_context}
        if len(decision_context) > MAX_ITEMS:
            decision_context = forget(decision_context, MAX_ITEMS - MAX_ITEMS // 8)
        assert len(made) == len(decision_context)
    described = {name: one for name, one in decision_context.items() if one is not None}
    whole = item_table(*described.values())
    assert by_id(made) == by_id(whole)
    for name, one in described.items():
        item, same = made.find(name), whole.find(name)
        assert item is not None
        assert same is not None
        assert made.standing[item] == whole.standing[same]
        assert [made.ids[other] for other in made.neighbours[item] if other >= 0] == one.neighbours


def test_what_was_bought_together_is_forgotten_with_its_items() -> None:
    made = ItemTable(FEW)
    bought = {"item-0": ["item-20"], "item-20": ["item-0", "item-19", "item-18"]}
    for number in range(MAX_ITEMS + 6):
        name = f"item-{number}"
        others = bought.get(name, [])
        own = summary(name, updated_ms=number)
        made.apply([msgspec.structs.replace(own, bought=others, bought_strengths=[1.0] * len(others))])
    assert made.find("item-0") is None
    assert [[made.ids[other] for other in others] for others in made.bought.values()] == [["item-19", "item-18"]]
    assert [made.ids[item] for item in made.bought] == ["item-20"]


def test_nothing_is_known_of_what_was_never_named() -> None:
    made = item_table()
    assert made.find("a") is None
    assert made.find(None) is None
    assert made.find_category("hats") == made.find_category(None) == NO_CATEGORY
    assert list(made.popular) == list(made.newest) == list(made.popular_in(NO_CATEGORY)) == []
