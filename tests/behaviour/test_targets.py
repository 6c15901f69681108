"""How the label of each rule comes about, in scenes made by hand. Times are seconds, the watermark 100 behind."""

from typing import Any

import msgspec
import numpy as np
import pytest

from streams.contract.records import Prediction
from streams.contract.settings import Target
from streams.core.behaviour.row import MAX_PREDICTION_POINTS
from tests.behaviour.small_shop import SETTINGS, Shop

DAY_S = 86_400
GAP_S = 1800
END_S = 10 * DAY_S


def shop_with(**declared: Any) -> Shop:
    """A shop whose only target is called ``it``."""
    target = Target(name="it", **{"horizon_s": 1000, "sampling_rate": 1.0, "prior": 0.2} | declared)
    return Shop(settings=msgspec.structs.replace(SETTINGS, targets=(target,)))


def predictions(shop: Shop) -> list[Prediction]:
    return shop.predictions()


def offsets(shop: Shop) -> list[str]:
    return [value.event_ref.removeprefix("clickstream-0-") for value in predictions(shop) if value.probabilities]


# Churn: one example for each end of a session


@pytest.mark.parametrize(("back_at_s", "label"), [(GAP_S + 1, 0.0), (GAP_S + DAY_S, 0.0), (GAP_S + DAY_S + 1, 1.0)])
def test_who_is_not_back_within_the_horizon_after_the_end_of_a_session_has_churned(
    back_at_s: float, label: float
) -> None:
    shop = shop_with(rule="churn", horizon_s=DAY_S)
    shop.view(-50, "i1")
    shop.view(0, "i2")
    shop.send("search", back_at_s, query="shoes")
    shop.tick(END_S)
    assert shop.labels("it") == [label, 1.0]
    assert [example.timestamp_ms % 10_000_000 for example in shop.examples("it")] == [
        GAP_S * 1000,
        round(back_at_s + GAP_S) * 1000 % 10_000_000,
    ]


def test_feedback_to_what_was_shown_is_no_return_but_a_rating_is() -> None:
    for kind, fields, label in (
        ("impression", {"decision_id": "unknown"}, 1.0),
        ("rating", {"item_id": "i1", "rating": 1.0}, 0.0),
    ):
        shop = shop_with(rule="churn", horizon_s=DAY_S)
        shop.view(0, "i1")
        shop.send(kind, 3 * GAP_S, **fields)
        shop.tick(END_S)
        assert shop.labels("it")[0] == label


def test_churn_is_predicted_when_a_session_has_ended_and_only_then() -> None:
    shop = shop_with(rule="churn", horizon_s=DAY_S)
    for at_s in (0, 60):
        shop.view(at_s, "i1")
    assert offsets(shop) == []
    shop.view(GAP_S + 60 + 99.999, "i1", user_id="ben")
    assert offsets(shop) == []
    shop.view(GAP_S + 60 + 100, "i1", user_id="ben")
    assert offsets(shop) == ["1-end"]
    ended = next(value for value in predictions(shop) if value.event_ref.endswith("-end"))
    assert (ended.user_id, ended.probabilities) == ("anna", {"it": 0.2})
    assert ended.timestamp_ms % 10_000_000 == (GAP_S + 60) * 1000


def test_who_returns_before_time_has_passed_ends_the_session_before_what_they_do_counts() -> None:
    shop = shop_with(rule="churn", horizon_s=DAY_S)
    shop.view(0, "i1")
    shop.send("purchase", GAP_S + 1, item_id="i1")
    assert offsets(shop) == ["0-end"]
    shop.tick(END_S)
    assert offsets(shop) == ["0-end", "1-end"]
    first, second = shop.examples("it")
    assert (first.label, second.label) == (0.0, 1.0)
    assert first.vector != second.vector


def test_every_end_of_a_session_is_an_example_while_earlier_ones_still_wait_until_there_are_too_many() -> None:
    shop = shop_with(rule="churn", horizon_s=7 * DAY_S)
    n_sessions = MAX_PREDICTION_POINTS + 3
    for number in range(n_sessions):
        shop.view(number * 2 * GAP_S, "i1")
    shop.tick(n_sessions * 2 * GAP_S)
    assert shop.labels("it") == []
    shop.tick(2 * END_S)
    assert shop.labels("it") == [0.0] * MAX_PREDICTION_POINTS
    assert len(shop.outcomes("it")) == MAX_PREDICTION_POINTS
    assert shop.count("predictions_dropped.it") == n_sessions - MAX_PREDICTION_POINTS
    assert len(offsets(shop)) == n_sessions


def test_a_session_ends_once_even_where_something_late_belongs_to_it() -> None:
    shop = shop_with(rule="churn", horizon_s=DAY_S)
    shop.view(0, "i1")
    shop.view(GAP_S + 500, "i1", user_id="ben")
    shop.send("search", 1000, query="late")
    shop.tick(4 * GAP_S)
    shop.view(5 * GAP_S, "i2")
    assert offsets(shop) == ["0-end", "1-end"]
    shop.tick(END_S)
    assert [value.user_id for value in predictions(shop) if value.probabilities] == ["anna", "ben", "anna"]
    assert len(shop.examples("it")) == 3


def test_both_outcomes_of_churn_arrive_at_the_horizon() -> None:
    shop = shop_with(rule="churn", horizon_s=DAY_S)
    shop.view(0, "i1")
    shop.view(5, "i1", user_id="ben")
    shop.view(2 * GAP_S, "i1", user_id="ben")
    shop.tick(GAP_S + DAY_S + 99)
    assert shop.labels("it") == []
    shop.tick(GAP_S + DAY_S + 105)
    assert shop.labels("it") == [1.0, 0.0]


def test_ends_of_sessions_are_sampled_by_their_last_event() -> None:
    shop = shop_with(rule="churn", horizon_s=600, sampling_rate=0.5)
    for number in range(40):
        shop.view(number * 2 * GAP_S, "i1")
    shop.tick(END_S)
    assert 10 < len(shop.examples("it")) < 30
    assert {example.weight for example in shop.examples("it")} == {2.0}
    assert len(offsets(shop)) == len(shop.outcomes("it")) == 40


# The next category


@pytest.mark.parametrize(
    ("acts", "label"),
    [
        ([(10, "shoes")], 1.0),
        ([(10, "hats")], 0.0),
        ([(10, "hats"), (20, "shoes")], 0.0),
        ([(10, None), (20, "shoes")], 1.0),
        ([(1000, "shoes")], 1.0),
        ([(1000.001, "shoes")], None),
        ([], None),
    ],
)
def test_the_next_view_stays_in_the_category_or_leaves_it(acts: list[tuple[float, str]], label: float | None) -> None:
    shop = shop_with(rule="next_category")
    shop.view(0, "i1", category="shoes")
    for at_s, category in acts:
        shop.view(at_s, "i2", category=category)
    shop.tick(END_S)
    first = [example.label for example in shop.examples("it") if example.timestamp_ms % 10_000_000 == 0]
    assert first == ([] if label is None else [label])
    assert shop.count("unlabelled") > 0 or label is not None


def test_the_next_category_is_predicted_at_views_of_items_that_have_one() -> None:
    shop = shop_with(rule="next_category")
    shop.view(0, "i1", category="shoes")
    shop.view(1, "i1")
    shop.send("search", 2, query="shoes")
    assert [list(value.probabilities) for value in predictions(shop)] == [["it"], [], []]


# Ratings


@pytest.mark.parametrize(
    ("ratings", "label"), [([4.0], 1.0), ([3.9], 0.0), ([1.0, 5.0], 0.0), ([5.0, 1.0], 1.0), ([], None)]
)
def test_the_next_rating_is_good_or_not_and_without_one_there_is_no_example(
    ratings: list[float], label: float | None
) -> None:
    shop = shop_with(rule="rating")
    shop.view(0, "i1")
    for at_s, rating in enumerate(ratings, 10):
        shop.send("rating", at_s, item_id="i1", rating=rating)
    shop.tick(END_S)
    assert shop.labels("it") == ([] if label is None else [label])


def test_what_counts_as_a_good_rating_is_declared() -> None:
    shop = shop_with(rule="rating", at_least=2.5)
    shop.view(0, "i1")
    shop.send("rating", 10, item_id="i1", rating=2.5)
    shop.tick(END_S)
    assert shop.labels("it") == [1.0]


# Spend


@pytest.mark.parametrize(
    ("bought", "label"),
    [
        ([(10, {"price": 12.5})], 12.5),
        ([(10, {"price": 12.5, "quantity": 3}), (900, {"price": 0.5})], 38.0),
        ([(1000, {"price": 7.0}), (1000.001, {"price": 9.0})], 7.0),
        ([(10, {})], 0.0),
        ([(10, {"price": 0.0})], 0.0),
        ([], 0.0),
    ],
)
def test_what_is_spent_within_the_horizon_is_summed_and_a_purchase_without_a_price_adds_nothing(
    bought: list[tuple[float, dict[str, Any]]], label: float
) -> None:
    shop = shop_with(rule="spend", models=("hurdle",))
    shop.view(0, "i1", price=99.0)
    for at_s, fields in bought:
        shop.send("purchase", at_s, item_id="i1", **fields)
    shop.send("add_to_cart", 1200, item_id="i1", price=5.0)
    shop.tick(END_S)
    assert shop.labels("it")[0] == label


def test_an_expected_amount_is_published_as_one_and_kept_with_its_example() -> None:
    shop = shop_with(rule="spend", models=("hurdle",), prior=20.0, sampling_rate=1.0)
    shop.view(0, "i1", price=99.0)
    shop.tick(END_S)
    (value,) = predictions(shop)
    assert (value.probabilities, value.amounts, value.model_versions) == ({}, {"it": 20.0}, {"it": 0})
    assert [(outcome.served, outcome.from_prior) for outcome in shop.outcomes("it")] == [(20.0, True)]
    (example,) = shop.examples("it")
    assert list(example.probabilities) == ["hurdle"]
    assert np.isnan(example.probabilities["hurdle"])
