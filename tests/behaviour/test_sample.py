"""The sample that is learned from: drawn by the event alone, of the declared share, weighted to stand for all."""

from random import Random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.contract.events import Event
from streams.contract.settings import Decisions, Target
from streams.core.behaviour.labels import Labels
from streams.core.behaviour.row import MAX_PREDICTION_POINTS, PredictionPoint, UserRow
from tests.pipeline.shop_log import SETTINGS, START_MS, shopped

RATES = (0.05, 0.3, 0.6, 1.0)
LABELS = Labels(
    [
        *(Target(name=f"at {rate}", label="purchase", horizon_s=60, sampling_rate=rate, prior=0.1) for rate in RATES),
        Target(name="end", rule="churn", horizon_s=60, sampling_rate=0.3, prior=0.1),
    ],
    Decisions().at,
)
_END = len(RATES)


def sampled(partition: int, offset: int, row: UserRow | None = None, *, now_ms: int = START_MS, user: str = "u") -> int:
    """The targets that learn from a prediction, as bits."""
    view = Event(event_id="e", timestamp_ms=now_ms, kind="view", user_id=user, item_id="i")
    opening = LABELS.apply(row or UserRow(), partition, offset, now_ms, view, opens=True)
    return bits(opening.point)


def bits(point: PredictionPoint | None) -> int:
    assert point is not None
    return point.sample.targets if point.sample is not None else 0


def test_the_share_that_is_sampled_is_the_rate_and_of_two_partitions_independent() -> None:
    n = 20_000
    masks = np.array([[sampled(partition, offset) for offset in range(n)] for partition in (0, 1)])
    for number, rate in enumerate(RATES):
        in_sample = masks >> number & 1 == 1
        for share, expected in ((in_sample.mean(axis=1), rate), ((in_sample[0] & in_sample[1]).mean(), rate**2)):
            assert share == pytest.approx(expected, abs=5.0 * np.sqrt(expected * (1.0 - expected) / n) + 1e-12)
    # The next event is drawn on its own.
    pairs = (masks[0, 1:] & masks[0, :-1]) >> 1 & 1
    assert pairs.mean() == pytest.approx(0.3**2, abs=0.015)


def test_a_sample_of_a_larger_rate_contains_that_of_a_smaller() -> None:
    for offset in range(3000):
        mask = sampled(0, offset)
        assert [mask >> number & 1 for number in range(len(RATES))] == sorted(
            mask >> number & 1 for number in range(len(RATES))
        )


def test_the_end_of_a_session_is_drawn_apart_from_its_last_event() -> None:
    n = 5000
    at_event = np.array([sampled(0, offset) >> 1 & 1 for offset in range(n)])
    ends = [LABELS.open_session_end(UserRow(), 0, offset, START_MS).point for offset in range(n)]
    at_end = np.array([bits(point) >> _END & 1 for point in ends])
    assert at_end.mean() == pytest.approx(0.3, abs=0.04)
    assert (at_event & at_end).mean() == pytest.approx(0.09, abs=0.025)


@given(
    partition=st.integers(0, 50),
    offset=st.integers(0, 10**12),
    n_open=st.integers(0, MAX_PREDICTION_POINTS - 1),
    now_ms=st.integers(0, 10**13),
    user=st.text(max_size=5),
)
def test_neither_what_is_open_nor_the_shopper_nor_the_time_changes_the_sample(
    partition: int, offset: int, n_open: int, now_ms: int, user: str
) -> None:
    row = UserRow(prediction_points=[PredictionPoint(number, 0, 1) for number in range(n_open)])
    assert sampled(partition, offset, row, now_ms=now_ms, user=user) == sampled(partition, offset)


@pytest.mark.parametrize("target", SETTINGS.targets, ids=lambda target: target.name)
def test_weighted_sums_over_the_sample_estimate_sums_over_all_that_was_served(target: Target) -> None:
    outcomes = shopped().outcomes(target.name)
    batches = [batch.where(batch.final) for batch in shopped().example_batches(target.name)]
    weights = np.concatenate([batch.weights for batch in batches])
    labels = np.concatenate([batch.labels for batch in batches])
    assert set(weights) == {1.0 / target.sampling_rate}
    assert len(weights) < len(outcomes)
    all_labels = np.array([outcome.label for outcome in outcomes])
    all_served = np.array([outcome.served for outcome in outcomes])
    by_position = {(each.partition, each.position): each.served for each in outcomes}
    in_sample = [
        by_position[batch.partition, position]
        for batch in batches
        for position in zip(batch.offsets.tolist(), batch.indices.tolist(), strict=True)
    ]
    for sampled_values, values in (
        (np.ones(len(labels)), np.ones(len(outcomes))),
        (labels, all_labels),
        (np.array(in_sample), all_served),
    ):
        error = np.sqrt((1.0 - target.sampling_rate) / target.sampling_rate * (values**2).sum())
        assert (weights * sampled_values).sum() == pytest.approx(values.sum(), abs=4.0 * error)


@pytest.mark.parametrize("target", SETTINGS.targets, ids=lambda target: target.name)
def test_every_final_example_is_an_outcome_with_the_same_label(target: Target) -> None:
    outcomes = {(each.partition, each.position): each for each in shopped().outcomes(target.name)}
    n_checked = 0
    for batch in shopped().example_batches(target.name):
        final = batch.where(batch.final)
        for offset, index, label, at_ms, scores in zip(
            final.offsets.tolist(),
            final.indices.tolist(),
            final.labels.tolist(),
            final.timestamps_ms.tolist(),
            final.probabilities,
            strict=True,
        ):
            outcome = outcomes[batch.partition, (offset, index)]
            assert (outcome.label, outcome.timestamp_ms) == (label, at_ms)
            assert outcome.served == np.float32(scores[0])
            n_checked += 1
    assert n_checked > 10


def test_what_learns_early_is_the_same_sample_and_is_measured_once_more_when_final() -> None:
    target = Target(name="it", label="purchase", horizon_s=60, sampling_rate=0.4, prior=0.1, labels="correct")
    corrects, random = Labels([target], Decisions().at), Random(1)
    n_learned = 0
    for offset in range(300):
        row = UserRow()
        view = Event(event_id="e", timestamp_ms=START_MS, kind="view", user_id="u", item_id="i")
        opening = corrects.apply(row, 0, offset, START_MS, view, opens=True)
        bought = random.random() < 0.5
        corrections = []
        if bought:
            purchase = Event(event_id="f", timestamp_ms=START_MS + 1000, kind="purchase", user_id="u", item_id="i")
            corrections = list(corrects.apply(row, 0, offset + 1000, START_MS + 1000, purchase, opens=False).learned)
        (final,) = corrects.mature(row, START_MS + 60_000)
        learned = [*opening.learned, *corrections]
        assert [label.value for label in learned] == ([0.0, 1.0][: 1 + bought] if bits(opening.point) else [])
        assert (final.value, final.sample is not None) == (float(bought), bool(learned))
        n_learned += bool(learned)
    assert 80 < n_learned < 160
