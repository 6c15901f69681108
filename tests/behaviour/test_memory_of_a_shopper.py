"""What the row remembers of a shopper is what a plain loop over all their events says."""

from collections.abc import Iterator
from math import exp2, log
from typing import Any, NamedTuple

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streams.core.features.affinities import HALF_LIFE_MS
from streams.core.features.schema import WINDOWED, feature_schema
from streams.core.rendering import render_user
from tests.behaviour.shop import SETTINGS, Shop
from tests.pipeline.running import START_MS

GAP_MS = 1_800_000
WEIGHTS = {"view": 1.0, "add_to_cart": 3.0, "purchase": 5.0}
NAMES = feature_schema(SETTINGS.windows).names


class Act(NamedTuple):
    """One event; ``gap_s`` after the one before, and ``behind_s`` before that moment."""

    kind: str
    gap_s: int
    behind_s: int
    item: int
    price: float | None
    quantity: int | None

    @property
    def fields(self) -> dict[str, Any]:
        if self.kind == "search":
            return {"query": "shoes"}
        item = {"item_id": f"i{self.item}", "category": f"c{self.item % 3}", "price": self.price}
        return item | ({"rating": 3.0} if self.kind == "rating" else {"quantity": self.quantity})


acts = st.lists(
    st.builds(
        Act,
        kind=st.sampled_from(["view", "view", "search", "add_to_cart", "remove_from_cart", "purchase", "rating"]),
        gap_s=st.sampled_from([0, 1, 30, 59, 299, 300, 1799, 1800, 1801, 90_000]),
        behind_s=st.sampled_from([0, 0, 0, 20, 70, 400]),
        item=st.integers(0, 4),
        price=st.sampled_from([None, 5.0, 19.99, 80.0]),
        quantity=st.sampled_from([None, 1, 3]),
    ),
    min_size=1,
    max_size=25,
)


class Memory:
    """Everything that happened, with the plainest way to say what it amounts to.

    Attributes:
        seen: ``(event time, latest event time by then, act)``, in the order in which they came.
    """

    def __init__(self) -> None:
        self.seen: list[tuple[int, int, Act]] = []

    def add(self, at_ms: int, act: Act) -> None:
        self.seen.append((at_ms, max([at_ms, *(now for _, now, _ in self.seen)]), act))

    @property
    def now_ms(self) -> int:
        return self.seen[-1][1]

    def window(self, pane_ms: int, n_panes: int) -> dict[str, float]:
        last = self.now_ms // pane_ms
        held = [act for at, _, act in self.seen if last - n_panes < at // pane_ms <= last]
        kinds = [act.kind for act in held]
        return {
            "views": kinds.count("view"),
            "searches": kinds.count("search"),
            "carts": kinds.count("add_to_cart"),
            "purchases": kinds.count("purchase"),
            "spend": sum((act.price or 0.0) * (act.quantity or 1) for act in held if act.kind == "purchase"),
        }

    def session(self) -> dict[str, Any]:
        started, last = 0, self.seen[0][0]
        for place, (at, _, _) in enumerate(self.seen):
            if at - last > GAP_MS:
                started, last = place, at
            last = max(last, at)
        held = self.seen[started:]
        kinds = [act.kind for _, _, act in held]
        looked_at = [f"i{act.item}" for _, _, act in held if act.kind == "view"]
        return {
            "start_ms": held[0][0],
            "last_ms": last,
            "events": len(held),
            "views": kinds.count("view"),
            "searches": kinds.count("search"),
            "carts": kinds.count("add_to_cart"),
            "removals": kinds.count("remove_from_cart"),
            "purchases": kinds.count("purchase"),
            "impressions": 0,
            "clicks": 0,
            "items": by_last_look(looked_at),
            "last_kind": kinds[-1],
            "bought": list(dict.fromkeys(f"i{act.item}" for _, _, act in held if act.kind == "purchase")),
            "last_offset": len(self.seen) - 1,
            "ended": False,
        }

    def categories(self) -> dict[str, float]:
        sums: dict[str, float] = {}
        for weight, act in self._leanings():
            sums[f"c{act.item % 3}"] = sums.get(f"c{act.item % 3}", 0.0) + weight
        return sums

    def log_price(self) -> float | None:
        priced = [(weight, log(act.price)) for weight, act in self._leanings() if act.price]
        total = sum(weight for weight, _ in priced)
        return sum(weight * price for weight, price in priced) / total if priced else None

    def views(self) -> dict[str, int]:
        looked_at = [f"i{act.item}" for _, _, act in self.seen if act.kind == "view"]
        return {item: looked_at.count(item) for item in by_last_look(looked_at)}

    def cart(self) -> list[str]:
        cart: list[str] = []
        for _, _, act in self.seen:
            item = f"i{act.item}"
            if act.kind == "add_to_cart" and item not in cart:
                cart.append(item)
            elif act.kind in ("remove_from_cart", "purchase") and item in cart:
                cart.remove(item)
        return cart

    def last(self, kind: str) -> int:
        return max((now for _, now, act in self.seen if act.kind == kind), default=0)

    def _leanings(self) -> list[tuple[float, Act]]:
        return [
            (WEIGHTS[act.kind] * exp2((now - self.now_ms) / HALF_LIFE_MS), act)
            for _, now, act in self.seen
            if act.kind in WEIGHTS
        ]


def by_last_look(items: list[str]) -> list[str]:
    return list(reversed(dict.fromkeys(reversed(items))))


def living(life: list[Act]) -> Iterator[tuple[Shop, Memory]]:
    """Has a shopper act, and stops after each act; what waits for labels is forgotten before the last one."""
    shop, memory = Shop(), Memory()
    at_s = 0
    for act in life:
        at_s += act.gap_s
        if act is life[-1] and len(life) > 1:
            row = shop.row()
            row.moments = []
            shop.behaviour.table.rows[0][b"anna"] = shop.behaviour.engine.fold.encode_row(row)
            shop.behaviour.restart()
        shop.send(act.kind, at_s - act.behind_s, **act.fields)
        memory.add(START_MS + (at_s - act.behind_s) * 1000, act)
        yield shop, memory


def rendered(shop: Shop) -> dict[str, Any]:
    return render_user(b"anna", shop.behaviour.table.rows[0][b"anna"])


@settings(max_examples=60)
@given(acts)
def test_windows_are_the_sums_of_their_panes(life: list[Act]) -> None:
    for shop, memory in living(life):
        shown = rendered(shop)["windows"]
        assert list(shown) == [window.name for window in SETTINGS.windows]
        for window in SETTINGS.windows:
            assert shown[window.name] == pytest.approx(memory.window(window.pane_s * 1000, window.panes))


@settings(max_examples=60)
@given(acts)
def test_the_session_is_what_came_since_the_last_gap(life: list[Act]) -> None:
    for shop, memory in living(life):
        assert rendered(shop)["session"] == memory.session()


@settings(max_examples=60)
@given(acts)
def test_leanings_are_sums_of_decayed_weights(life: list[Act]) -> None:
    for shop, memory in living(life):
        row = shop.row()
        last_lean_ms = max((now for _, now, act in memory.seen if act.kind in WEIGHTS), default=memory.now_ms)
        fade = exp2((last_lean_ms - memory.now_ms) / HALF_LIFE_MS)
        weights = {name: weight * fade for name, weight in row.affinities.categories.items()}
        assert weights == pytest.approx(memory.categories())
        assert row.affinities.log_price == pytest.approx(memory.log_price())
        assert list(row.affinities.items.items()) == list(memory.views().items())
        assert row.affinities.cart == memory.cart()
        last_ms = (memory.now_ms, memory.last("add_to_cart"), memory.last("purchase"))
        assert (row.last_ms, row.cart_ms, row.purchase_ms) == last_ms


@settings(max_examples=60)
@given(acts, st.integers(0, 4), st.sampled_from([None, 30.0]))
def test_the_feature_vector_describes_the_shopper_at_the_event(life: list[Act], item: int, price: float | None) -> None:
    *_, (shop, memory) = living([*life, Act("view", 7, 0, item, price, None)])
    previous_ms = memory.seen[-2][1]
    looks = memory.views().get(f"i{item}", 0) - 1
    (moment,) = shop.row().moments
    vector = dict(zip(NAMES, np.frombuffer(moment.vector, np.float32).tolist(), strict=True))
    session, usual = memory.session(), memory.log_price()
    leanings = memory.categories()
    expected = {
        f"{name}_{window.name}": value
        for window in SETTINGS.windows
        for name, value in memory.window(window.pane_s * 1000, window.panes).items()
    }
    expected |= {
        "session_events": session["events"],
        "session_views": session["views"],
        "session_items": len(session["items"]),
        "session_duration_s": (memory.now_ms - session["start_ms"]) / 1000,
        "since_last_event_s": (memory.now_ms - previous_ms) / 1000,
        "since_last_cart_s": (memory.now_ms - memory.last("add_to_cart")) / 1000 if memory.last("add_to_cart") else 0.0,
        "no_cart_before": not memory.last("add_to_cart"),
        "since_last_purchase_s": (memory.now_ms - memory.last("purchase")) / 1000 if memory.last("purchase") else 0.0,
        "no_purchase_before": not memory.last("purchase"),
        "item_views_before": looks,
        "category_share": leanings[f"c{item % 3}"] / sum(leanings.values()),
        "price": price or 0.0,
        "price_missing": price is None,
        "price_against_usual": abs(log(price) - usual) if price and usual is not None else 0.0,
        "usual_price_missing": usual is None,
        "cart_not_empty": bool(memory.cart()),
        "first_event": False,
        "is_view": True,
        "is_search": False,
    }
    numbers = {name: float(value) for name, value in expected.items()}
    assert {name: vector[name] for name in numbers} == pytest.approx(numbers, rel=1e-5, abs=1e-5)


def test_a_rendered_row_names_its_features_and_what_is_open() -> None:
    shop = Shop()
    decision = shop.view(0, "i1", price=12.5)
    shown = rendered(shop)
    assert (shown["user_id"], shown["guard"]) == ("anna", 0)
    assert list(shown["windows"]["5m"]) == list(WINDOWED)
    assert shown["open_predictions"][0]["features"]["price"] == 12.5
    assert list(shown["open_predictions"][0]["features"]) == list(NAMES)
    assert shown["open_decisions"][0]["decision_id"] == decision.decision_id
    assert shown["session"]["views"] == 1
