"""Every served prediction is measured once, by the label that the clickstream gives it, or counted as left out."""

from collections import Counter
from collections.abc import Iterable, Sequence
from operator import itemgetter
from typing import Any, NamedTuple
from unittest.mock import patch

import msgspec
import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from streams.contract.events import Event, decode_event
from streams.contract.metrics import AmountModels, LearnerMetrics, ProbabilityModels, decode_metrics
from streams.contract.records import Prediction, decode_examples
from streams.contract.settings import Kafka, Settings
from streams.contract.topics import EXAMPLES, METRICS
from streams.core.behaviour import labels
from streams.core.behaviour.examples import group_of
from streams.core.behaviour.row import MAX_PREDICTION_POINTS
from streams.evaluation.outcomes import outcomes_of
from streams.evaluation.served import measure_predictions
from streams.testing import Outcome, Pipeline
from tests.behaviour.small_shop import Shop
from tests.pipeline.shop_log import SETTINGS as LOOP_SETTINGS
from tests.pipeline.shop_log import shop, shopped

ONE_PARTITION = msgspec.structs.replace(LOOP_SETTINGS, kafka=Kafka(partitions=1))
TARGETS = tuple(target.name for target in ONE_PARTITION.targets)
USERS = ("anna", "ben", "cleo")
END_S = 1_000_000

Measured = Counter[tuple[int, int, float, float]]
"""Group of the user, time of the prediction, served number, label."""


class Act(NamedTuple):
    """Something that a shopper does ``gap_s`` after the act before it; feedback is to the latest decision."""

    gap_s: float
    user: str
    kind: str
    item: int
    fields: dict[str, Any]


LIVES = st.lists(
    st.builds(
        Act,
        gap_s=st.sampled_from([0, 0, 0, 0.5, 7, 100, 239, 240, 241, 300, 600, 601, 1200, 1801, 7200, 9000]),
        user=st.sampled_from(("anna", "anna", "anna", *USERS)),
        kind=st.sampled_from(
            ["view", "view", "view", "search", "add_to_cart", "purchase", "rating", "impression", "impression", "click"]
        ),
        item=st.integers(0, 3),
        fields=st.sampled_from([{}, {"price": 7.25}, {"category": "c1"}, {"category": "c2", "price": 30.0}]),
    ),
    min_size=1,
    max_size=40,
)


def live(life: Iterable[Act]) -> Shop:
    """Folds a life, with models that have learned, until everything is final."""
    shop = Shop("bandit", ONE_PARTITION, shopped().begun_with)
    at_s = 0.0
    for act in life:
        at_s += act.gap_s
        if act.kind in ("impression", "click"):
            own = [each for each in shop.recommendations() if each.user_id == act.user and each.items]
            if not own:
                continue
            fields: dict[str, Any] = {"decision_id": own[-1].decision_id}
            if act.kind == "click":
                fields |= {"item_id": own[-1].items[0].item_id, "position": 0}
            shop.send(act.kind, at_s, user_id=act.user, **fields)
            continue
        fields = {"item_id": f"item-{act.item}"} | act.fields
        if act.kind == "search":
            fields = {"query": "shoes"}
        if act.kind == "rating":
            fields |= {"rating": 1.5 * act.item}
        shop.send(act.kind, at_s, user_id=act.user, **fields)
    for end_s in (END_S, 2 * END_S):
        shop.tick(end_s)
    return shop


def count(pipeline: Pipeline, name: str) -> int:
    return sum(row.counts.get(name, 0) for row in pipeline.behaviour.partition_rows())


def log_of(pipeline: Pipeline) -> dict[int, list[Any]]:
    return {number: [decode_event(record.value) for record in records] for number, records in pipeline.log.items()}


def as_float32(number: float) -> float:
    return float(np.float32(number))


def measured(outcomes: Sequence[Outcome]) -> Measured:
    return Counter((each.group, each.timestamp_ms, each.served, each.label) for each in outcomes)


def expected(pipeline: Pipeline, target: str) -> tuple[Measured, int]:
    """What the clickstream says of each prediction, and how many have no label by it."""
    own = outcomes_of(log_of(pipeline), pipeline.predictions(), pipeline.settings).get(target)
    if own is None:
        return Counter(), 0
    users = list(dict.fromkeys(event.user_id for event in log_of(pipeline)[0] if event.kind not in ("tick",)))
    columns = zip(own.users.tolist(), own.times_ms.tolist(), own.served.tolist(), own.labels.tolist(), strict=True)
    found = [
        (group_of(users[user].encode()), at_ms, as_float32(served), label) for user, at_ms, served, label in columns
    ]
    with_label = Counter(each for each in found if each[-1] == each[-1])
    return with_label, len(found) - sum(with_label.values())


@given(LIVES)
@example([Act(0, "anna", "view", 0, {}), Act(0, "anna", "purchase", 0, {"price": 7.25})])
@settings(max_examples=60, deadline=None)
def test_every_served_prediction_is_measured_once_by_the_label_that_the_log_gives_it(life: list[Act]) -> None:
    shop = live(life)
    assert not any(shop.row(user).prediction_points for user in {act.user for act in life} & rows(shop))
    n_unlabelled = 0
    for target in TARGETS:
        found, (by_log, unlabelled) = measured(shop.outcomes(target)), expected(shop, target)
        assert not count(shop, f"predictions_dropped.{target}")
        if target == "click" and count(shop, "decisions_displaced"):
            # A displaced decision takes no more feedback, so a label of it may be 0 and a late impression missing.
            assert sum(found.values()) <= sum(by_log.values())
            continue
        assert found == by_log
        n_unlabelled += unlabelled if target != "click" else 0
        assert target != "click" or unlabelled == count(shop, "decisions_unshown")
    assert n_unlabelled == count(shop, "unlabelled")


def rows(shop: Shop) -> set[str]:
    return {key.decode() for _, key in shop.behaviour.rows()}


@given(LIVES, st.integers(1, 4))
@settings(max_examples=25, deadline=None)
def test_a_full_row_serves_on_and_what_it_does_not_measure_is_counted(life: list[Act], bound: int) -> None:
    unbounded = live(life)
    with patch.object(labels, "MAX_PREDICTION_POINTS", bound):
        shop = live(life)
    assert served(shop.predictions()) == served(unbounded.predictions())
    for target in TARGETS:
        whole, kept = measured(unbounded.outcomes(target)), measured(shop.outcomes(target))
        if target == "click" and count(shop, "decisions_displaced"):
            continue
        assert kept <= whole
        lost = sum(whole.values()) - sum(kept.values())
        dropped = count(shop, f"predictions_dropped.{target}")
        if target in ("click", "next_category", "rating"):
            assert lost <= dropped
        else:
            assert lost == dropped


def served(predictions: Iterable[Prediction]) -> Any:
    return sorted(((each.event_ref, each.probabilities, each.amounts) for each in predictions), key=itemgetter(0))


def test_a_row_holds_so_many_points_and_has_room_again_when_labels_are_final() -> None:
    shop = Shop()
    for number in range(MAX_PREDICTION_POINTS + 6):
        shop.view(number, f"i{number % 12}")
    assert len(shop.row().prediction_points) == MAX_PREDICTION_POINTS
    assert len(shop.predictions()) == MAX_PREDICTION_POINTS + 6
    dropped = {target.name: count(shop, f"predictions_dropped.{target.name}") for target in shop.settings.targets}
    assert dropped == {"purchase": 6, "cart": 6, "click": 6}
    shop.tick(3000)
    assert shop.row().prediction_points == []
    assert len(shop.outcomes("purchase")) == len(shop.outcomes("cart")) == MAX_PREDICTION_POINTS
    shop.view(3001, "i1")
    assert len(shop.row().prediction_points) == 1


def test_no_prediction_of_a_shop_with_late_double_and_wrong_events_is_measured_twice_or_lost() -> None:
    pipeline = shopped()
    unlabelled = 0
    learned = [decode_examples(value) for value in pipeline.topics.values(EXAMPLES)]
    shown = {decision_id for batch in learned for decision_id in batch.decision_ids}
    asked_for = {each.decision_id for each in pipeline.recommendations() if each.event_id.startswith("d")}
    for target in TARGETS:
        made = [each for each in pipeline.predictions() if target in each.probabilities or target in each.amounts]
        found = pipeline.outcomes(target)
        left = len(made) - len(found) - count(pipeline, f"predictions_dropped.{target}")
        if target == "click":
            # At an event that only asks for a decision, nothing is predicted.
            assert left == count(pipeline, "decisions_unshown") - len(asked_for - shown)
        elif target in ("next_category", "rating"):
            unlabelled += left
        else:
            assert left == 0
        numbers = Counter((group_of(each.user_id.encode()), number_of(each, target)) for each in made)
        assert Counter((each.group, each.served) for each in found) <= numbers
        assert len({(each.partition, each.position) for each in found}) == len(found) > 20
    assert unlabelled == count(pipeline, "unlabelled")


def number_of(prediction: Prediction, target: str) -> float:
    return as_float32((prediction.probabilities | prediction.amounts)[target])


# A closed loop: the first predictions are from the prior, the later ones from what was learned on the way


def closed_loop(chosen: Settings = LOOP_SETTINGS) -> Pipeline:
    pipeline, numbers = Pipeline(chosen), iter(range(10_000))

    def learn() -> None:
        if next(numbers) % 100 == 99:
            pipeline.learn(50)
            pipeline.refresh()

    shop(pipeline, 400, learn, seed=5)
    pipeline.learn(50)
    return pipeline


def test_what_the_prior_served_is_counted_and_in_no_measure_of_a_model() -> None:
    pipeline = closed_loop()
    for target in pipeline.settings.targets:
        name = target.name
        made = [each for each in pipeline.predictions() if name in each.probabilities or name in each.amounts]
        from_prior = {(each.user_id, each.timestamp_ms) for each in made if not each.model_versions[name]}
        found = pipeline.outcomes(name)
        n_prior = sum(each.from_prior for each in found)
        assert 0 < n_prior < len(found)
        assert n_prior <= len(from_prior)
        assert {each.served for each in found if each.from_prior} == {as_float32(target.prior)}
        versions = Counter((group_of(each.user_id.encode()), number_of(each, name)) for each in made)
        of_models = Counter(
            (group_of(each.user_id.encode()), number_of(each, name)) for each in made if each.model_versions[name]
        )
        assert Counter((each.group, each.served) for each in found if not each.from_prior) <= of_models <= versions

        quality = quality_of(pipeline, name)
        assert (quality.served.from_prior, quality.served.quality.examples) == (n_prior, len(found) - n_prior)
        learned = [batch for batch in pipeline.example_batches(name) if batch.size]
        for column, model in enumerate(target.models):
            of_model = [batch.probabilities[batch.final, column] for batch in learned]
            assert quality.models[model].examples == sum(int(np.isfinite(given_).sum()) for given_ in of_model)
        times = {each.timestamp_ms for each in found if each.from_prior}
        others = {each.timestamp_ms for each in found if not each.from_prior}
        for batch in learned:
            for at_ms, scores in zip(batch.timestamps_ms.tolist(), batch.probabilities, strict=True):
                if len(target.models) == 1 and at_ms in times ^ others:
                    assert np.isnan(scores[0]) == (at_ms in times)


def quality_of(pipeline: Pipeline, learner: str) -> ProbabilityModels | AmountModels:
    """What the learner said last of itself."""
    records = [decode_metrics(value) for value in pipeline.topics.values(METRICS)]
    own = [each for each in records if isinstance(each, LearnerMetrics) and each.learner == learner]
    assert isinstance(own[-1].quality, ProbabilityModels | AmountModels)
    return own[-1].quality


def test_what_learning_reports_of_the_served_is_what_the_log_says_of_them() -> None:
    pipeline = Pipeline(ONE_PARTITION, shopped().begun_with)
    random = np.random.default_rng(3)
    at_ms, kinds = 1_700_000_000_000, ("view", "view", "view", "add_to_cart", "purchase", "search")
    for number in range(700):
        at_ms += int(random.exponential(60_000))
        kind: Any = kinds[random.integers(len(kinds))]
        pipeline.publish(
            Event(
                event_id=f"e{number}",
                timestamp_ms=at_ms,
                kind=kind,
                user_id=f"user-{random.integers(15)}",
                item_id=None if kind == "search" else f"item-{random.integers(9)}",
                category=None if kind == "search" else f"category-{random.integers(3)}",
                price=None if kind == "search" else 9.75,
                query="shoes" if kind == "search" else None,
            )
        )
    for nth in (1, 2):
        pipeline.tick(at_ms + nth * 1_000 * END_S)
    pipeline.run(50)
    by_log = measure_predictions(ONE_PARTITION, log_of(pipeline), pipeline.predictions())
    for target in ("purchase", "cart", "churn", "next_category"):
        online = quality_of(pipeline, target).served.quality
        figures = by_log[target]
        assert figures["censored"] == 0
        assert (online.examples, online.positives) == (figures["examples"], figures["positives"])
        for name in ("log_loss", "calibration", "base_log_loss"):
            assert getattr(online, name) == pytest.approx(figures[name], rel=1e-6), name
        assert getattr(online, "auc", 0.0) == pytest.approx(figures["auc"], abs=0.02)
    spend = quality_of(pipeline, "spend").served.quality
    assert spend.examples == by_log["spend"]["examples"]
    assert spend.calibration == pytest.approx(by_log["spend"]["calibration"], rel=1e-6)
    assert msgspec.structs.asdict(spend)["mae"] == pytest.approx(by_log["spend"]["mae"], rel=1e-6)
