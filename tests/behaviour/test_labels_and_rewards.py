"""What came of a prediction and of a decision, in scenes made by hand. Times are seconds, the watermark 100 behind."""

import numpy as np
import pytest

from streams.contract.topics import DECISIONS, PREDICTIONS, RECOMMENDATIONS
from streams.core.behaviour.row import MAX_DECISIONS
from tests.behaviour.small_shop import Shop

END_S = 100_000


# Targets that are labelled by what a shopper does of their own accord


@pytest.mark.parametrize(
    ("bought_at_s", "label"), [(0, 0.0), (0.001, 1.0), (999.999, 1.0), (1000, 1.0), (1000.001, 0.0)]
)
def test_a_purchase_counts_within_the_horizon(bought_at_s: float, label: float) -> None:
    shop = Shop()
    shop.view(0, "i1")
    shop.send("purchase", bought_at_s, item_id="i1")
    shop.tick(END_S)
    assert shop.labels("purchase")[0] == label


def test_a_purchase_does_not_label_a_prediction_made_at_it() -> None:
    shop = Shop()
    shop.send("purchase", 0, item_id="i1")
    shop.tick(END_S)
    assert shop.labels("purchase") == [0.0]


def test_what_happened_before_a_prediction_does_not_label_it_however_late_it_comes() -> None:
    shop = Shop()
    shop.view(50, "i1")
    shop.send("purchase", 20, item_id="i1")
    shop.tick(END_S)
    assert shop.labels("purchase") == [0.0, 0.0]


def test_a_purchase_that_comes_late_counts_until_the_watermark_passes_the_horizon() -> None:
    for seen_s, label in ((1099, 1.0), (1100, 0.0)):
        shop = Shop()
        shop.view(0, "i1")
        shop.view(seen_s, "i2", user_id="ben")
        shop.send("purchase", 990, item_id="i1")
        shop.tick(END_S)
        assert next(example.label for example in shop.examples("purchase")) == label


def test_another_shoppers_purchase_labels_nothing() -> None:
    shop = Shop()
    shop.view(0, "i1")
    shop.send("purchase", 10, item_id="i1", user_id="ben")
    shop.tick(END_S)
    anna = shop.examples("purchase")[0]
    assert anna.label == 0.0


def test_every_served_prediction_waits_for_its_own_label_and_is_measured_once() -> None:
    shop = Shop()
    for at_s in (0, 10, 20):
        shop.view(at_s, "i1")
    shop.send("purchase", 1005, item_id="i1")
    shop.view(3000, "i1")
    shop.tick(END_S)
    found = [(outcome.timestamp_ms % 10_000_000, outcome.label) for outcome in shop.outcomes("purchase")]
    assert found == [(0, 0.0), (10_000, 1.0), (20_000, 1.0), (1_005_000, 0.0), (3_000_000, 0.0)]
    assert [(example.timestamp_ms % 10_000_000, example.label) for example in shop.examples("purchase")] == found
    assert len(shop.predictions()) == len(found)


def test_a_label_stays_what_it_is_until_the_horizon_and_is_then_measured() -> None:
    shop = Shop()
    shop.view(0, "i1")
    for at_s in (10, 20):
        shop.send("purchase", at_s, item_id="i1")
    assert (shop.outcomes("purchase"), shop.examples("purchase")) == ([], [])
    shop.tick(1100)
    assert [outcome.label for outcome in shop.outcomes("purchase")] == [1.0]


def test_a_click_is_predicted_at_views_only() -> None:
    shop = Shop()
    shop.send("search", 0, query="shoes")
    shop.view(1, "i1")
    assert ["click" in prediction.probabilities for prediction in shop.predictions()] == [False, True]


def test_an_example_weighs_one_over_its_sampling_rate() -> None:
    shop = Shop()
    for at_s in range(0, 24_000, 1200):
        shop.view(at_s, "i1")
    shop.tick(END_S)
    assert len(shop.examples("purchase")) == 20
    assert {example.weight for example in shop.examples("purchase")} == {1.0}
    assert 4 < len(shop.examples("cart")) < 16
    assert {example.weight for example in shop.examples("cart")} == {2.0}
    assert len(shop.outcomes("cart")) == 20


# Decisions, impressions, clicks


def test_a_click_counts_only_on_a_slot_that_was_seen() -> None:
    shop = Shop()
    decision = shop.view(0, "i1")
    shop.click(1, decision.decision_id, decision.items[1].item_id, 1)
    shop.impression(2, decision.decision_id, item_id=decision.items[0].item_id, position=0)
    shop.click(3, decision.decision_id, decision.items[1].item_id, 1)
    shop.click(4, decision.decision_id, decision.items[0].item_id, 0)
    shop.tick(END_S)
    assert shop.count("unjoinable") == 2
    assert shop.labels("bandit") == [1.0]
    assert shop.row().exposures == {"random": [1, 1]}


def test_a_slot_is_seen_and_clicked_once() -> None:
    shop = Shop()
    decision = shop.view(0, "i1")
    for at_s in (1, 2):
        shop.impression(at_s, decision.decision_id)
        shop.click(at_s + 0.5, decision.decision_id, decision.items[0].item_id, 0)
    assert shop.row().exposures == {"random": [len(decision.items), 1]}
    assert shop.row().session.clicks == 1
    shop.tick(END_S)
    assert shop.labels("bandit") == [1.0, 0.0, 0.0, 0.0, 0.0]


def test_a_click_must_name_the_item_of_its_slot() -> None:
    shop = Shop()
    decision = shop.view(0, "i1")
    shop.impression(1, decision.decision_id)
    shop.click(2, decision.decision_id, decision.items[0].item_id, 1)
    shop.click(2, decision.decision_id, decision.items[0].item_id, 50)
    assert shop.count("unjoinable") == 2


@pytest.mark.parametrize(("clicked_after_s", "label"), [(300, 1.0), (300.001, 0.0), (390, 0.0)])
def test_a_click_counts_within_a_window_that_begins_at_the_impression(clicked_after_s: float, label: float) -> None:
    shop = Shop()
    decision = shop.view(0, "i1")
    shop.impression(200, decision.decision_id)
    shop.click(200 + clicked_after_s, decision.decision_id, decision.items[0].item_id, 0)
    shop.tick(END_S)
    assert shop.labels("bandit")[0] == label
    assert shop.labels("click") == [label]
    assert shop.row().exposures["random"][1] == label
    assert shop.count("late_rewards.click") == 1 - label
    assert shop.count("unjoinable") == 0


@pytest.mark.parametrize(("shown_at_s", "examples"), [(600, 5), (600.001, 0), (690, 0)])
def test_an_impression_counts_within_its_own_window(shown_at_s: float, examples: int) -> None:
    shop = Shop()
    shop.impression(shown_at_s, shop.view(0, "i1").decision_id)
    shop.tick(END_S)
    assert len(shop.examples("bandit")) == examples
    assert shop.count("decisions_unshown") == shop.count("late_impressions") == (examples == 0)


def test_a_decision_that_was_never_shown_is_no_zero() -> None:
    shop = Shop()
    shop.view(0, "i1")
    shop.tick(END_S)
    assert shop.labels("purchase") == [0.0]
    assert shop.examples("bandit") == []
    assert shop.examples("click") == []
    assert shop.count("decisions_unshown") == 1


def test_a_decision_that_was_shown_and_not_clicked_is_a_zero() -> None:
    shop = Shop()
    shop.impression(1, shop.view(0, "i1").decision_id)
    shop.tick(END_S)
    assert shop.labels("bandit") == [0.0] * 5
    assert shop.labels("click") == [0.0]


@pytest.mark.parametrize("wrong", ["clickstream-0-0.000000000000", "clickstream-0-0", "x"])
def test_feedback_to_anything_but_the_decision_is_unjoinable(wrong: str) -> None:
    shop = Shop()
    item = shop.view(0, "i1").items[0].item_id
    shop.impression(1, wrong)
    shop.click(2, wrong, item, 0)
    shop.tick(END_S)
    assert shop.count("unjoinable") == 2
    assert shop.examples("bandit") == []
    assert shop.row().exposures == {}


def test_another_shoppers_feedback_is_unjoinable() -> None:
    shop = Shop()
    shop.impression(1, shop.view(0, "i1").decision_id, user_id="ben")
    assert shop.count("unjoinable") == 1


def test_too_many_open_decisions_close_the_oldest_with_the_reward_it_has() -> None:
    shop = Shop()
    decision = shop.view(0, "i1")
    shop.impression(1, decision.decision_id)
    shop.click(2, decision.decision_id, decision.items[2].item_id, 2)
    for number in range(MAX_DECISIONS):
        shop.view(3 + number, "i2")
    assert shop.count("decisions_displaced") == 1
    assert shop.labels("bandit") == [0.0, 0.0, 1.0, 0.0, 0.0]
    shop.click(20, decision.decision_id, decision.items[0].item_id, 0)
    assert shop.count("late_rewards.click") == 1
    shop.view(30, "i3")
    assert shop.count("decisions_displaced") == 2
    assert shop.count("decisions_unshown") == 1
    assert len(shop.row().decisions) == MAX_DECISIONS


def test_the_random_control_is_told_to_the_learner_and_others_are_not() -> None:
    for policy, is_control in (("random", 1.0), ("ranked", 0.0), ("bandit", 0.0)):
        shop = Shop(policy)
        shop.impression(1, shop.view(0, "i1").decision_id)
        shop.tick(END_S)
        vectors = [np.frombuffer(example.vector, np.float32).tolist() for example in shop.examples("bandit")]
        assert [vector[-1] for vector in vectors] == [is_control] * 5
        assert [vector[-2] for vector in vectors] == [0.0, 1.0, 2.0, 3.0, 4.0]


# Time


def test_ticks_mature_everything() -> None:
    shop = Shop("q")
    for number, user_id in enumerate(("anna", "ben", "cleo")):
        decision = shop.view(number, "i1", user_id=user_id)
        if number:
            shop.impression(number + 10, decision.decision_id, user_id=user_id)
    shop.tick(END_S)
    for user_id in ("anna", "ben", "cleo"):
        row = shop.row(user_id)
        assert (row.prediction_points, row.decisions, row.open_transitions, row.deadline_ms) == ([], [], [], 0)
    assert len(shop.examples("purchase")) == 3
    assert len(shop.examples("q")) == 2
    assert len(shop.examples("click")) == 2


def test_a_label_is_final_only_when_the_watermark_reaches_the_horizon() -> None:
    shop = Shop()
    shop.view(0, "i1")
    shop.tick(1099.999)
    assert shop.examples("purchase") == []
    shop.tick(1100)
    assert shop.labels("purchase") == [0.0]


def test_a_late_event_is_remembered_and_predicts_and_decides_nothing() -> None:
    shop = Shop()
    shop.tick(1000)
    shop.send("view", 899.999, item_id="i1")
    assert shop.count("late") == 1
    assert shop.row().session.views == 1
    assert shop.values(PREDICTIONS) == shop.values(RECOMMENDATIONS) == shop.values(DECISIONS) == []
    shop.view(900, "i1")
    assert shop.count("late") == 1
    assert len(shop.values(PREDICTIONS)) == 1


def test_every_output_names_the_event_it_was_made_from() -> None:
    shop = Shop()
    shop.tick(0)
    decision = shop.view(0, "i1")
    (prediction,) = shop.predictions()
    assert prediction.event_ref == decision.event_ref == "clickstream-0-1"
    assert decision.decision_id.startswith("clickstream-0-1.")
    assert shop.recommendations()[0] == decision
