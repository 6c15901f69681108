"""Features say what is so of an item and a shopper, and are zero where there is no item."""

from collections.abc import Mapping, Sequence
from itertools import combinations
from math import exp, isnan, log1p, sqrt
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from streams.contract.records import ItemSummary
from streams.contract.settings import Settings
from streams.core.policies.slate_features import FEATURES, N_FEATURES, PACKING, padded, slate_features
from streams.core.retrieval.context import ShopperContext, decision_context
from streams.core.retrieval.item_table import NO_CATEGORY, ItemTable
from streams.core.retrieval.shortlist import MAX_ITEMS, SOURCE_NAMES, Shortlist

NAMES = [feature.name for feature in FEATURES]
NOW_MS = 1_700_000_000_000
HOUR_MS = 3_600_000
ITEMS = {
    "hat": ItemSummary(
        "hat", "hats", exp(3.0), NOW_MS - HOUR_MS, NOW_MS, 10.0, 80.0, 19.0, ["cap", "shoe"], [11.0, 4.0]
    ),
    "cap": ItemSummary("cap", "hats", exp(4.0), 0, NOW_MS, 3.0, 0.0, 0.0, ["shoe"], [5.0]),
    "shoe": ItemSummary("shoe", "shoes", None, 0, NOW_MS, 1.0, 0.0, 0.0, [], []),
    "thing": ItemSummary("thing", None, exp(9.0), 0, NOW_MS, 1.0, 0.0, 0.0, [], []),
}


def shop() -> ItemTable:
    made = ItemTable(Settings())
    made.apply(ITEMS.values())
    return made


def context(**others: Any) -> ShopperContext:
    nothing: dict[str, Any] = {
        "item_id": None,
        "category": None,
        "views": {},
        "cart_items": (),
        "session_items": (),
        "category_shares": {},
        "usual_log_price": None,
        "timestamp_ms": NOW_MS,
    }
    return ShopperContext(**(nothing | others))


def described_slates(
    made: ItemTable, contexts: Sequence[ShopperContext], lists: Sequence[Shortlist]
) -> NDArray[np.float64]:
    return slate_features(made, [decision_context(made, each) for each in contexts], padded(lists))


def described(contexts: ShopperContext, item_id: str, source: int = 0) -> Mapping[str, float]:
    made = shop()
    item = made.find(item_id)
    assert item is not None
    features = described_slates(made, [contexts], [Shortlist([item], [source])])
    return dict(zip(NAMES, features[0, 0].tolist(), strict=True))


def plainly_described(made: ItemTable, contexts: ShopperContext, item: int, source: int) -> dict[str, float]:
    """The features of one item in plain Python, by name."""
    name, own = made.ids[item], made.category[item]
    before = [other for other in [*reversed(contexts.views)][:3] if other != contexts.item_id][:2]
    current, *others = (closeness(made, source, item) for source in (contexts.item_id, *before, None, None))
    shares = {made.find_category(category): share for category, share in contexts.category_shares.items()}
    share = 0.0 if own == NO_CATEGORY else shares.get(own, 0.0)
    log_price, usual = made.log_price[item].item(), contexts.usual_log_price
    is_unknown = isnan(log_price) or usual is None
    distance = 0.0 if usual is None or isnan(log_price) else min(0.5 * abs(log_price - usual), 1.0)
    ctr = 5.0 * made.ctr(np.array([item])).item()
    return {
        "bias": 1.0,
        "log_popularity": 0.1 * made.log_popularity[item].item(),
        "ctr": ctr,
        "closeness": sqrt(current),
        "recent_closeness": sqrt(0.5 * (others[0] + others[1])),
        "same_category": float(own != NO_CATEGORY and own == made.find_category(contexts.category)),
        "category_share": share,
        "price_distance": distance,
        "price_unknown": float(is_unknown),
        "in_cart": float(name in contexts.cart_items),
        "seen": float(name in contexts.session_items or name in contexts.views),
        "new": float(contexts.timestamp_ms - made.first_seen_ms[item] < 24 * HOUR_MS),
        **{f"source_{name}": float(number == source) for number, name in enumerate(SOURCE_NAMES)},
        "ctr_x_category_share": ctr * share,
    }


def closeness(made: ItemTable, source: str | None, item: int) -> float:
    found = made.find(source)
    if found is None:
        return 0.0
    shares: dict[int, float] = dict(zip(made.neighbours[found].tolist(), made.closeness[found].tolist(), strict=True))
    return shares.get(item, 0.0)


def test_rows_beyond_a_shortlist_are_zero() -> None:
    lists = [Shortlist([0, 1], [0, 1]), Shortlist([], []), Shortlist([2], [3])]
    features = described_slates(shop(), [context()] * 3, lists)
    assert features.shape == (3, MAX_ITEMS, N_FEATURES)
    assert features.dtype == np.float64
    assert np.argwhere(features[:, :, 0] == 1.0).tolist() == [[0, 0], [0, 1], [2, 0]]
    assert not features[features[:, :, 0] == 0.0].any()


@pytest.mark.parametrize("made", [ItemTable(Settings()), shop()])
def test_no_decisions_and_empty_shortlists_have_features_of_their_shape(made: ItemTable) -> None:
    assert described_slates(made, [], []).shape == (0, MAX_ITEMS, N_FEATURES)
    assert not described_slates(made, [context(item_id="hat")], [Shortlist([], [])]).any()


def test_what_is_known_of_the_item() -> None:
    hat = described(context(), "hat")
    assert hat["log_popularity"] == pytest.approx(0.1 * log1p(10.0))
    # The shop has 80 impressions and 19 clicks, all of them of the hat.
    assert hat["ctr"] == pytest.approx(5.0 * (19.0 + 20.0 * (19.0 + 1.0) / 100.0) / 100.0)
    assert described(context(), "cap")["ctr"] == pytest.approx(5.0 * (19.0 + 1.0) / 100.0)
    assert (hat["new"], described(context(), "cap")["new"]) == (1.0, 0.0)


@pytest.mark.parametrize("source", range(len(SOURCE_NAMES)))
def test_the_source_is_one_hot(source: int) -> None:
    hat = described(context(), "hat", source)
    assert [hat[f"source_{name}"] for name in SOURCE_NAMES] == [
        float(source == other) for other in range(len(SOURCE_NAMES))
    ]


def test_closeness_to_the_current_item_and_to_the_two_before() -> None:
    contexts = context(item_id="hat", views={"thing": 1, "cap": 1, "hat": 1})
    assert described(contexts, "cap")["closeness"] == pytest.approx(sqrt(11.0 / 20.0))
    assert described(contexts, "shoe")["closeness"] == pytest.approx(sqrt(4.0 / 20.0))
    assert described(contexts, "shoe")["recent_closeness"] == pytest.approx(sqrt(0.5 * 5.0 / 10.0))
    assert described(contexts, "thing")["closeness"] == described(contexts, "cap")["recent_closeness"] == 0.0


@pytest.mark.parametrize("unknown", [None, "never heard of"])
def test_nothing_is_close_to_an_item_that_nobody_knows(unknown: str | None) -> None:
    for item in ITEMS:
        assert described(context(item_id=unknown, views={"?": 1}), item)["closeness"] == 0.0


def test_the_category() -> None:
    contexts = context(category="hats", category_shares={"hats": 0.75, "gone": 0.25})
    hat, shoe, thing = (described(contexts, item) for item in ("hat", "shoe", "thing"))
    assert (hat["same_category"], shoe["same_category"], thing["same_category"]) == (1.0, 0.0, 0.0)
    assert (hat["category_share"], shoe["category_share"], thing["category_share"]) == (0.75, 0.0, 0.0)
    assert hat["ctr_x_category_share"] == pytest.approx(0.75 * hat["ctr"])


def test_items_and_shoppers_without_a_category_have_none_in_common() -> None:
    assert described(context(category=None), "thing")["same_category"] == 0.0
    assert described(context(category_shares={"gone": 1.0}), "thing")["category_share"] == 0.0


def test_the_price_and_that_it_is_missing() -> None:
    contexts = context(usual_log_price=3.5)
    assert described(contexts, "hat")["price_distance"] == pytest.approx(0.25)
    assert described(contexts, "thing")["price_distance"] == 1.0
    assert (described(contexts, "hat")["price_unknown"], described(contexts, "shoe")["price_unknown"]) == (0.0, 1.0)
    assert described(contexts, "shoe")["price_distance"] == 0.0
    assert described(context(), "hat")["price_unknown"] == 1.0


@pytest.mark.parametrize(
    ("others", "in_cart", "seen"),
    [
        ({}, 0.0, 0.0),
        ({"cart_items": ("cap", "hat")}, 1.0, 0.0),
        ({"session_items": ("hat",)}, 0.0, 1.0),
        ({"views": {"hat": 1}}, 0.0, 1.0),
    ],
)
def test_the_cart_and_what_was_seen(others: dict[str, Any], in_cart: float, seen: float) -> None:
    hat = described(context(**others), "hat")
    assert (hat["in_cart"], hat["seen"]) == (in_cart, seen)


def many() -> tuple[list[ShopperContext], list[Shortlist]]:
    random = np.random.default_rng(1)
    names: Sequence[str] = [*ITEMS, "?"]
    contexts, lists = [], []
    for _ in range(60):
        recent = tuple(random.permutation(names)[:4].tolist())
        shares = dict(zip(("hats", "shoes"), random.dirichlet([1.0, 1.0]).tolist(), strict=True))
        contexts.append(
            context(
                item_id=recent[0],
                category="hats",
                views=dict.fromkeys(reversed(recent), 1),
                cart_items=recent[1:2],
                session_items=recent[:2],
                category_shares=shares,
                usual_log_price=float(random.normal(3.0)) if random.random() < 0.8 else None,
            )
        )
        items = random.permutation(len(ITEMS))[: random.integers(0, 5)].tolist()
        lists.append(Shortlist(items, random.integers(0, len(SOURCE_NAMES), len(items)).tolist()))
    return contexts, lists


@pytest.fixture(scope="module")
def columns() -> dict[str, list[float]]:
    """Each feature's values over many items, as computed."""
    made, (contexts, lists) = shop(), many()
    features = described_slates(made, contexts, lists)
    rows = np.concatenate([features[place, : len(found.items)] for place, found in enumerate(lists)])
    return dict(zip(NAMES, rows.T.tolist(), strict=True))


@pytest.fixture(scope="module")
def plain() -> dict[str, list[float]]:
    """The same in plain Python, rounded as in the log."""
    made, (contexts, lists) = shop(), many()
    rows = [
        plainly_described(made, each, *pair)
        for each, found in zip(contexts, lists, strict=True)
        for pair in zip(found.items, found.sources, strict=True)
    ]
    return {name: np.array([row[name] for row in rows], np.float32).tolist() for name in rows[0]}


def test_features_are_to_the_bit_what_plain_python_makes_of_each_item(
    columns: dict[str, list[float]], plain: dict[str, list[float]]
) -> None:
    assert columns == plain


def test_any_two_features_that_are_swapped_are_found(
    columns: dict[str, list[float]], plain: dict[str, list[float]]
) -> None:
    for one, other in combinations(NAMES, 2):
        assert columns | {one: columns[other], other: columns[one]} != plain, (one, other)


def test_features_come_back_from_the_log_to_the_bit(columns: dict[str, list[float]]) -> None:
    rows = np.array(list(columns.values())).T
    assert PACKING.unpack(PACKING.pack(rows).tobytes()).tolist() == rows.tolist()


def test_features_have_names_and_words_of_their_own() -> None:
    assert len(set(NAMES)) == len({feature.words for feature in FEATURES}) == N_FEATURES


def test_a_decisions_features_have_the_same_bits_in_any_batch() -> None:
    made, (contexts, lists) = shop(), many()
    together = described_slates(made, contexts, lists)
    for size in (1, 7):
        for start in range(0, len(contexts), size):
            part = slice(start, start + size)
            assert described_slates(made, contexts[part], lists[part]).tobytes() == together[part].tobytes()
