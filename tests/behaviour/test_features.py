"""Each feature has the value that its name says, and no two of them can be confused."""

from collections.abc import Sequence
from itertools import combinations, pairwise
from typing import NamedTuple

import numpy as np
import pytest
from numpy.typing import NDArray

from streams.contract.arrays import unpack_arrays
from streams.contract.records import decode_parameters
from streams.core.behaviour.row import OpenDecision
from streams.core.features.feature import Feature
from streams.core.features.schema import feature_names, feature_schema, shopper_features
from streams.core.features.vector import feature_vector
from streams.core.policies.slate_features import SLOT_PACKING
from streams.testing import GlobalTables
from tests.behaviour.plain_shopper import Act, PlainShopper
from tests.behaviour.small_shop import ITEMS, SETTINGS, Shop
from tests.pipeline.shop_log import START_MS, shopped

INDICATORS = {
    "first_event",
    "no_cart_before",
    "no_purchase_before",
    "price_missing",
    "usual_price_missing",
    "is_view",
    "is_search",
    "is_cart",
    "cart_not_empty",
    "hour_sin",
    "hour_cos",
    "no_slate",
}
FEATURES = shopper_features(SETTINGS.windows)


class Story(NamedTuple):
    """The vectors after each act of a life, ``(n_acts, n_features)``, and by name what plain Python makes of it."""

    vectors: NDArray[np.float64]
    expected: dict[str, NDArray[np.float64]]


@pytest.fixture(scope="module")
def story() -> Story:
    """Some sessions of every kind of event, with recommendations seen and clicked."""
    models = [value for value in shopped().begun_with.models if decode_parameters(value).learner == "bandit"]
    random, shop, plain = np.random.default_rng(4), Shop(global_tables=GlobalTables(ITEMS, models)), PlainShopper()
    theta = unpack_arrays(decode_parameters(models[-1]).arrays)["theta"]
    kinds = ["view", "view", "view", "search", "add_to_cart", "remove_from_cart", "purchase"]
    at_s, vectors, expected = 0, [], []
    for number in range(80):
        at_s += int(random.choice([5, 30, 59, 300, 400, 1801]))
        kind = kinds[random.integers(len(kinds))] if number > 3 else "view"
        price = [None, 5.0, 19.99, 80.0][random.integers(4)] if number > 1 else None
        act = Act(kind, 0, 0, int(random.integers(5)), price, int(random.integers(1, 4)))
        if kind == "view":
            decision = shop.view(at_s, **act.fields)
        else:
            shop.send(kind, at_s, **act.fields)
        plain.add(START_MS + at_s * 1000, act)
        row = shop.row()
        assert row.last_event is not None
        vectors.append(feature_vector(row, row.last_event))
        expected.append(plain.features(slate_score(row.decisions[-1], theta) if kind == "view" else None))
        if kind == "view" and number % 3 == 0:
            shop.impression(at_s, decision.decision_id)
            plain.answer(len(decision.items), 0)
            if number % 2 == 0:
                shop.click(at_s, decision.decision_id, decision.items[0].item_id, 0)
                plain.answer(0, 1)
    return Story(
        np.array(vectors, np.float64), {name: np.array([each[name] for each in expected]) for name in expected[0]}
    )


def slate_score(decision: OpenDecision, theta: NDArray[np.float64]) -> float:
    """What the items of a slate are expected to earn, summed; the last two columns are no features."""
    return sum(float(slot[:-2] @ theta) for slot in SLOT_PACKING.unpack(decision.features))


def check(features: Sequence[Feature], vectors: NDArray[np.float64], story: Story) -> None:
    """Fails unless each column is the feature that it is called, a number or an indicator as it should be."""
    assert {feature.name for feature in features} == set(story.expected)
    for column, feature in enumerate(features):
        assert np.allclose(vectors[:, column], story.expected[feature.name], rtol=1e-6, atol=1e-6), feature.name
        assert feature.is_scaled == (feature.name not in INDICATORS), feature.name


def test_every_feature_is_what_its_name_says(story: Story) -> None:
    check(FEATURES, story.vectors, story)


def test_any_two_values_that_are_swapped_are_found(story: Story) -> None:
    for one, other in combinations(range(len(FEATURES)), 2):
        swapped = story.vectors.copy()
        swapped[:, [one, other]] = story.vectors[:, [other, one]]
        with pytest.raises(AssertionError):
            check(FEATURES, swapped, story)


@pytest.mark.parametrize("field", ["name", "type"])
def test_any_neighbours_whose_names_or_types_are_swapped_are_found(story: Story, field: str) -> None:
    for place, (one, other) in enumerate(pairwise(FEATURES)):
        if getattr(one, field) == getattr(other, field):
            continue
        swapped = [
            *FEATURES[:place],
            one._replace(**{field: getattr(other, field)}),
            other._replace(**{field: getattr(one, field)}),
            *FEATURES[place + 2 :],
        ]
        with pytest.raises(AssertionError):
            check(swapped, story.vectors, story)


def test_the_schema_is_the_tables(story: Story) -> None:
    schema = feature_schema(SETTINGS.windows)
    assert schema.names == tuple(feature.name for feature in FEATURES)
    assert schema.names == feature_names(window.name for window in SETTINGS.windows)
    assert schema.scaled == tuple(feature.is_scaled for feature in FEATURES)
    assert len(set(schema.names)) == len({feature.words for feature in FEATURES}) == story.vectors.shape[1]
