"""What was served on a recording, by labels that the recording itself gives: in scenes made by hand."""

from math import log
from typing import Any

import numpy as np
import pytest

from streams.contract.events import Event
from streams.contract.records import Prediction
from streams.contract.settings import Decisions, Settings, Target, Time
from streams.core.models.served_quality import WARM_UP_POSITIVES
from streams.evaluation.outcomes import Outcomes, outcomes_of
from streams.evaluation.served import measure_predictions

GAP_S = 100
SETTINGS = Settings(
    time=Time(session_gap_s=float(GAP_S)),
    targets=(
        Target(name="purchase", label="purchase", horizon_s=10, sampling_rate=1.0, prior=0.2),
        Target(name="click", label="click", horizon_s=20, sampling_rate=0.5, prior=0.2),
        Target(name="churn", rule="churn", horizon_s=1000, sampling_rate=1.0, prior=0.5),
        Target(name="next_category", rule="next_category", horizon_s=10, sampling_rate=1.0, prior=0.5),
        Target(name="rating", rule="rating", horizon_s=10, sampling_rate=1.0, prior=0.5),
        Target(name="spend", rule="spend", horizon_s=10, sampling_rate=1.0, prior=2.0, models=("hurdle",)),
    ),
    decisions=Decisions(impression_window_s=60),
)
REF = "clickstream-0-{}"


class Recording:
    """A partition of the clickstream, and what was predicted at its events; times are in seconds."""

    def __init__(self) -> None:
        self.events: list[Event] = []
        self.predictions: list[Prediction] = []

    def add(self, kind: Any, at_s: float, user: str = "ann", **fields: Any) -> str:
        """Adds an event; returns its reference."""
        ref = REF.format(len(self.events))
        event = Event(event_id=ref, timestamp_ms=round(at_s * 1000), kind=kind, user_id=user, **fields)
        self.events.append(event)
        return ref

    def predict(self, target: str, served: float, version: int = 1, ref: str = "", at_s: float | None = None) -> None:
        """Adds a prediction at the last event, or at the one named."""
        ref = ref or REF.format(len(self.events) - 1)
        event = self.events[int(ref.removesuffix("-end").rpartition("-")[2])]
        at_ms = event.timestamp_ms if at_s is None else round(at_s * 1000)
        number = {target: served}
        probabilities, amounts = ({}, number) if target == "spend" else (number, {})
        self.predictions.append(
            Prediction(ref, event.user_id or "", at_ms, probabilities, {}, {target: version}, amounts)
        )

    def outcomes(self, target: str) -> Outcomes:
        return outcomes_of({0: self.events}, self.predictions, SETTINGS)[target]

    def measured(self) -> dict[str, Any]:
        return measure_predictions(SETTINGS, {0: self.events}, self.predictions)


@pytest.mark.parametrize(("bought_at_s", "label"), [(0, 0.0), (0.001, 1.0), (10, 1.0), (10.001, 0.0)])
def test_a_label_is_what_comes_after_the_prediction_within_the_horizon(bought_at_s: float, label: float) -> None:
    recording = Recording()
    recording.add("view", 0)
    recording.predict("purchase", 0.3)
    recording.add("purchase", 5, "ben")
    recording.add("purchase", bought_at_s)
    assert recording.outcomes("purchase").labels.tolist() == [label]


def test_amounts_are_summed_and_a_purchase_without_a_price_adds_nothing() -> None:
    recording = Recording()
    recording.add("view", 0)
    recording.predict("spend", 3.0)
    bought: list[tuple[int, dict[str, Any]]] = [
        (1, {"price": 2.5, "quantity": 2}),
        (2, {}),
        (9, {"price": 1.0}),
        (11, {"price": 50.0}),
    ]
    for at_s, fields in bought:
        recording.add("purchase", at_s, item_id="i", **fields)
    assert recording.outcomes("spend").labels.tolist() == [6.0]


def test_the_first_answer_decides_and_without_one_there_is_no_label() -> None:
    recording = Recording()
    recording.add("view", 0, category="shoes")
    recording.predict("next_category", 0.6)
    recording.predict("rating", 0.6)
    recording.add("view", 1)
    recording.add("view", 2, category="shoes")
    recording.add("view", 3, category="hats")
    assert recording.outcomes("next_category").labels.tolist() == [1.0]
    assert np.isnan(recording.outcomes("rating").labels).all()
    recording.predict("next_category", 0.6)
    recording.add("tick", 99, "")
    measured = recording.measured()
    assert "rating" not in measured
    assert (measured["next_category"]["examples"], measured["next_category"]["unlabelled"]) == (1, 1)


@pytest.mark.parametrize(("back_at_s", "label"), [(1100, 0.0), (1101, 1.0)])
def test_the_horizon_of_churn_begins_at_the_end_of_the_session(back_at_s: float, label: float) -> None:
    recording = Recording()
    ref = recording.add("view", 0)
    recording.predict("churn", 0.4, ref=f"{ref}-end", at_s=GAP_S)
    recording.add("search", back_at_s, query="q")
    outcomes = recording.outcomes("churn")
    assert (outcomes.labels.tolist(), outcomes.first.tolist(), outcomes.new.tolist()) == ([label], [False], [True])


@pytest.mark.parametrize(
    ("shown_at_s", "clicked_at_s", "label"),
    [(60, 80, 1.0), (60, 80.001, 0.0), (60, None, 0.0), (60.001, 61, None), (None, 5, None)],
)
def test_the_horizon_of_a_click_begins_at_the_impression(
    shown_at_s: float | None, clicked_at_s: float | None, label: float | None
) -> None:
    recording = Recording()
    decision_id = recording.add("view", 0) + ".abc"
    recording.predict("click", 0.3)
    recording.add("impression", 1, "ben", decision_id=decision_id)
    if shown_at_s is not None:
        recording.add("impression", shown_at_s, decision_id=decision_id)
    if clicked_at_s is not None:
        recording.add("click", clicked_at_s, decision_id=decision_id, item_id="i", position=0)
    (found,) = recording.outcomes("click").labels.tolist()
    assert found == label if label is not None else np.isnan(found)


def test_first_events_of_a_session_new_shoppers_and_the_time_since_the_last_event_are_told_apart() -> None:
    recording = Recording()
    for at_s, user in ((0, "ann"), (5, "ben"), (100, "ann"), (201, "ann"), (202, "ann")):
        recording.add("view", at_s, user)
        recording.predict("purchase", 0.3)
    outcomes = recording.outcomes("purchase")
    assert outcomes.users.tolist() == [0, 1, 0, 0, 0]
    assert outcomes.first.tolist() == [True, True, False, True, False]
    assert outcomes.new.tolist() == [True, True, True, False, False]
    assert outcomes.since_s.tolist() == [np.inf, np.inf, 100.0, 101.0, 1.0]


def test_what_the_recording_does_not_cover_and_what_the_prior_served_are_counted_apart() -> None:
    recording = Recording()
    acts = ((0, 0.2, 0), (1, None, 0), (5, 0.2, 0), (20, 0.4, 1), (38, 0.5, 2), (39, None, 0), (45, 0.9, 2))
    for at_s, served, version in acts:
        if served is None:
            recording.add("purchase", at_s)
            continue
        recording.add("view", at_s)
        recording.predict("purchase", served, version)
    recording.add("tick", 50, "")
    measured = recording.measured()["purchase"]
    counts = ("censored", "served_from_prior", "unlabelled", "examples", "positives", "rate", "later")
    assert [measured[name] for name in counts] == [1, 2, 0, 2, 1, 0.5, {}]
    assert (measured["auc"], measured["recency_auc"]) == (1.0, 0.0)
    assert measured["calibration"] == pytest.approx(0.9)
    assert measured["log_loss"] == pytest.approx(-(log(0.6) + log(0.5)) / 2)
    assert measured["base_log_loss"] == pytest.approx(log(2.0))
    # Two labels, one of them positive, were final by the third prediction, three by the fourth; the prior is one more.
    assert measured["running_log_loss"] == pytest.approx(-(log(1 - 1.2 / 3) + log(1.2 / 4)) / 2)


def test_amounts_have_figures_of_their_own_and_one_class_alone_has_none_of_its_ranking() -> None:
    recording = Recording()
    for at_s, served in ((0, 2.0), (5, 3.0), (30, 1.0)):
        if at_s == 30:
            recording.add("purchase", 6, item_id="i", price=8.0)
        recording.add("view", at_s)
        recording.predict("spend", served)
        recording.predict("purchase", 0.3, version=int(at_s == 30))
    recording.add("tick", 99, "")
    measured = recording.measured()
    spend, purchase = measured["spend"], measured["purchase"]
    assert (spend["examples"], spend["positives"], spend["served_from_prior"]) == (3, 2, 0)
    assert spend["mean"] == pytest.approx(16.0 / 3)
    assert spend["mae"] == pytest.approx((6.0 + 5.0 + 1.0) / 3)
    assert (purchase["examples"], purchase["served_from_prior"], purchase["log_loss"]) == (1, 2, -log(0.7))
    undefined = ("auc", "recency_auc", "calibration", "base_log_loss")
    assert all(purchase[name] is None for name in undefined)
    nothing = Recording()
    nothing.add("view", 0)
    nothing.predict("purchase", 0.3, version=0)
    nothing.add("tick", 99, "")
    figures = nothing.measured()["purchase"]
    assert (figures["examples"], figures["log_loss"], figures["running_log_loss"]) == (0, None, None)


def test_intervals_begin_after_the_first_positives_and_split_by_session_and_shopper() -> None:
    recording, n = Recording(), WARM_UP_POSITIVES + 60
    for number in range(n):
        user = f"u{number % 20}"
        at_s = 50.0 * number
        recording.add("view", at_s, user)
        recording.predict("purchase", 0.5)
        recording.add("purchase", at_s + 1, user, item_id="i")
        recording.add("view", at_s + 20, user)
        recording.predict("purchase", 0.5)
    recording.add("tick", 10**6, "")
    later = recording.measured()["purchase"]["later"]
    # The label-0 prediction between the 500th positive and the next is the first that counts.
    assert (later["positives"], later["examples"]) == (60, 121)
    # Each first event of a session is a positive that was given one half, and each other event a negative.
    assert later["calibration_first"] == pytest.approx((0.5, 0.5, 0.5))
    assert later["calibration_other"] is None
    assert later["calibration_new"] is None
    assert later["calibration_returning"] == later["calibration"]
    assert later["calibration"].estimate == pytest.approx(121 * 0.5 / 60)
    rate = 60 / 121
    entropy = -rate * log(rate) - (1 - rate) * log(1 - rate)
    assert later["loss_above_base"].estimate == pytest.approx(log(2.0) - entropy)
