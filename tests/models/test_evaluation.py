from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streams.contract.arrays import pack_arrays, unpack_arrays
from streams.core.models.logistic import log_odds, probabilities
from streams.core.models.quality import Evaluation


def served(n: int, base_rate: float, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Calibrated probabilities around a base rate, and labels drawn from them."""
    random = np.random.default_rng(seed)
    given_ = probabilities(random.normal(log_odds(base_rate), 1.2, n))
    return given_, (random.random(n) < given_).astype(np.float64)


def exact_auc(given_: np.ndarray, labels: np.ndarray) -> float:
    ranks = np.empty(len(given_))
    ranks[np.argsort(given_, kind="stable")] = np.arange(1, len(given_) + 1)
    n_positives = labels.sum()
    return float(
        (ranks[labels > 0].sum() - n_positives * (n_positives + 1) / 2) / (n_positives * (len(labels) - n_positives))
    )


def evaluated(given_: np.ndarray, labels: np.ndarray, weights: np.ndarray | None = None) -> Evaluation:
    evaluation = Evaluation()
    evaluation.update(given_, labels, np.ones(len(labels)) if weights is None else weights)
    return evaluation


@pytest.mark.parametrize("base_rate", [0.5, 0.05, 0.0005])
@pytest.mark.parametrize("divisor", [1.0, 10.0])
def test_auc_is_exact_to_two_thousandths_at_any_base_rate(base_rate: float, divisor: float) -> None:
    given_, labels = served(200_000, base_rate)
    quality = evaluated(given_ / divisor, labels).quality()
    assert quality.auc == pytest.approx(exact_auc(given_, labels), abs=0.002)


def test_log_loss_base_log_loss_and_calibration_are_what_they_say() -> None:
    given_, labels = served(5000, 0.1)
    weights = np.random.default_rng(1).choice([1.0, 2.5], 5000)
    quality = evaluated(given_, labels, weights).quality()
    losses = -np.log(np.where(labels > 0, given_, 1 - given_))
    rate = float(np.average(labels, weights=weights))
    assert quality.log_loss == pytest.approx(np.average(losses, weights=weights), rel=1e-12)
    assert quality.base_log_loss == pytest.approx(-rate * np.log(rate) - (1 - rate) * np.log(1 - rate), rel=1e-12)
    assert quality.calibration == pytest.approx((given_ * weights).sum() / (labels * weights).sum(), rel=1e-12)
    assert (quality.examples, quality.positives) == (5000, int(labels.sum()))


def test_the_threshold_has_the_best_f1_and_the_others_are_at_it() -> None:
    given_, labels = served(4000, 0.2)
    quality = evaluated(given_, labels).quality()
    assert quality.threshold is not None
    alarm = given_ >= quality.threshold
    hits = (alarm & (labels > 0)).sum()
    assert quality.precision == pytest.approx(hits / alarm.sum())
    assert quality.recall == pytest.approx(hits / labels.sum())
    assert quality.accuracy == pytest.approx((alarm == (labels > 0)).mean())
    assert quality.f1 == pytest.approx(2 * hits / (alarm.sum() + labels.sum()))
    best = max(2 * labels[given_ >= t].sum() / ((given_ >= t).sum() + labels.sum()) for t in given_[::5])
    assert quality.f1 == pytest.approx(best, abs=0.005)


@given(st.lists(st.integers(0, 200), max_size=8))
@settings(deadline=None)
def test_neither_batches_nor_restarts_change_a_bit(inner: list[int]) -> None:
    random = np.random.default_rng(2)
    given_, labels = random.choice([0.1, 0.2, 0.7], 200), random.integers(0, 2, 200).astype(np.float64)
    weights = random.random(200) + 0.3
    whole, parts = evaluated(given_, labels, weights), Evaluation()
    for start, end in pairwise([0, *sorted(inner), 200]):
        restored = Evaluation()
        restored.restore(unpack_arrays(pack_arrays(parts.arrays())))
        restored.update(given_[start:end], labels[start:end], weights[start:end])
        parts = restored
    assert pack_arrays(parts.arrays()) == pack_arrays(whole.arrays())


@given(st.permutations(range(40)))
@settings(deadline=None)
def test_the_order_of_the_examples_changes_no_count(order: list[int]) -> None:
    given_, labels = served(40, 0.3)
    weights = np.full(40, 2.0)
    straight = evaluated(given_, labels, weights).arrays()
    shuffled = evaluated(given_[order], labels[order], weights).arrays()
    for name in ("positives", "negatives", "counts"):
        assert (straight[name] == shuffled[name]).all()


def test_a_member_that_did_not_exist_is_left_out() -> None:
    given_, labels = served(300, 0.2)
    missing = np.arange(300) % 3 == 0
    with_holes = np.where(missing, np.nan, given_)
    assert evaluated(with_holes, labels).quality() == evaluated(given_[~missing], labels[~missing]).quality()


def test_where_nothing_can_be_said_nothing_is_said() -> None:
    nothing = Evaluation().quality()
    assert (nothing.examples, nothing.auc, nothing.log_loss, nothing.f1) == (0, None, None, None)
    negatives = evaluated(np.array([0.1, 0.2]), np.zeros(2)).quality()
    assert (negatives.auc, negatives.calibration, negatives.f1, negatives.base_log_loss) == (None, None, None, 0.0)
    positives = evaluated(np.array([0.1, 0.2]), np.ones(2)).quality()
    assert (positives.auc, positives.recall, positives.precision) == (None, 1.0, 1.0)


def test_certain_probabilities_cost_much_but_not_everything() -> None:
    quality = evaluated(np.array([0.0, 1.0]), np.array([1.0, 0.0])).quality()
    assert quality.log_loss is not None
    assert 30.0 < quality.log_loss < 40.0
    assert quality.auc == 0.0


def test_reliability_sets_what_was_served_beside_what_came_of_it() -> None:
    draw = np.random.default_rng(3)
    given_ = draw.beta(1.0, 6.0, 5000)
    labels = (draw.random(5000) < given_**1.5).astype(np.float64)
    evaluation = Evaluation()
    evaluation.update(given_, labels, np.ones(5000))
    bins = evaluation.reliability()
    order = np.argsort(given_)
    assert len(bins) == 10
    assert sum(each.examples for each in bins) == 5000
    assert sum(each.rate * each.examples for each in bins) == pytest.approx(labels.sum())
    for each, tenth in zip(bins, np.array_split(order, 10), strict=True):
        assert each.probability == pytest.approx(given_[tenth].mean(), rel=0.05)
        assert each.rate == pytest.approx(labels[tenth].mean(), abs=0.03)
    assert Evaluation().reliability() == []
