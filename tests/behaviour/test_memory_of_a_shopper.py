"""What the row remembers of a shopper is what a plain loop over all their events says."""

from collections.abc import Iterator
from math import exp2
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streams.core.behaviour.row_view import user_view
from streams.core.features.affinities import HALF_LIFE_MS
from streams.core.features.schema import feature_schema
from streams.core.features.windows import WINDOWED
from tests.behaviour.plain_shopper import WEIGHTS, Act, PlainShopper
from tests.behaviour.small_shop import SETTINGS, Shop
from tests.pipeline.shop_log import START_MS

NAMES = feature_schema(SETTINGS.windows).names


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


def living(life: list[Act]) -> Iterator[tuple[Shop, PlainShopper]]:
    """Has a shopper act, and stops after each act; what waits for labels is forgotten before the last one."""
    shop, memory = Shop(), PlainShopper()
    at_s = 0
    for act in life:
        at_s += act.gap_s
        if act is life[-1] and len(life) > 1:
            row = shop.row()
            row.prediction_points = []
            shop.behaviour.table.rows[0][b"anna"] = shop.behaviour.fold.encode_row(row)
            shop.behaviour.restart()
        shop.send(act.kind, at_s - act.behind_s, **act.fields)
        memory.add(START_MS + (at_s - act.behind_s) * 1000, act)
        yield shop, memory


def rendered(shop: Shop) -> dict[str, Any]:
    return user_view(b"anna", shop.behaviour.table.rows[0][b"anna"])


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
    (point,) = shop.row().prediction_points
    assert point.sample is not None
    vector = dict(zip(NAMES, np.frombuffer(point.sample.vector, np.float32).tolist(), strict=True))
    assert vector == pytest.approx(memory.features(slate_score=0.0), rel=1e-5, abs=1e-5)


def test_a_rendered_row_names_its_features_and_what_is_open() -> None:
    shop = Shop()
    decision = shop.view(0, "i1", price=12.5)
    shown = rendered(shop)
    assert (shown["user_id"], shown["applied_offset"]) == ("anna", 0)
    assert list(shown["windows"]["5m"]) == [each.name for each in WINDOWED]
    assert shown["open_predictions"][0]["features"]["price"] == 12.5
    assert list(shown["open_predictions"][0]["features"]) == list(NAMES)
    assert shown["open_predictions"][0]["served"] == pytest.approx([0.05, 0.1, 0.2])
    assert shown["open_decisions"][0]["decision_id"] == decision.decision_id
    assert shown["session"]["views"] == 1
