"""Quality of all that was served: intervals that cover between users, sums that do not depend on how they are cut."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from streams.contract.arrays import Float64Array, Int64Array, pack_arrays, unpack_arrays
from streams.contract.metrics import Estimate
from streams.contract.records import N_GROUPS
from streams.core.models.measures import losses
from streams.core.models.quality import AmountEvaluation, Evaluation, deviances
from streams.core.models.served_quality import (
    WARM_UP_POSITIVES,
    ServedEvaluation,
    calibration_of,
    deviance_above_base,
    grouped_estimate,
    loss_above_base,
)
from streams.evaluation.clustered import above_base_estimate, ratio_estimate

N_DRAWS = 300
_USERS = 250


def mean_of(sums: Float64Array) -> Float64Array:
    mean: Float64Array = sums[..., 1] / sums[..., 0]
    return mean


def group_sums(groups: Int64Array, *terms: Float64Array) -> Float64Array:
    columns = (np.ones(len(groups)), *terms)
    return np.column_stack([np.bincount(groups, term, minlength=N_GROUPS) for term in columns])


class Draw:
    """Probabilities of 250 users, and labels that depend on the user: predictions for one user go right together.

    The number of predictions of a user varies, and the design effect of the mean loss is near ten.

    Attributes:
        served: Calibrated over all users, and wrong for each of them.
    """

    def __init__(self, seed: int) -> None:
        random = np.random.default_rng(seed)
        sizes = 1 + random.poisson(39, _USERS)
        self.users = np.repeat(np.arange(_USERS), sizes)
        own = random.beta(1.0, 3.0, _USERS)[self.users]
        self.served = np.full(len(own), 0.25)
        self.labels = (random.random(len(own)) < own).astype(np.float64)
        self.groups = random.permutation(np.arange(_USERS) % N_GROUPS)[self.users]


def covered(interval: Estimate | None, truth: float) -> bool:
    assert interval is not None
    return interval.low <= truth <= interval.high


def test_intervals_cover_where_users_differ_and_those_that_ignore_users_do_not() -> None:
    hits = dict.fromkeys(("grouped", "clustered", "ignoring users"), 0)
    effects = []
    for seed in range(N_DRAWS):
        draw = Draw(seed)
        n = len(draw.labels)
        by_group = group_sums(draw.groups, draw.labels, draw.served)
        hits["grouped"] += covered(grouped_estimate(by_group, calibration_of), 1.0)
        hits["clustered"] += covered(ratio_estimate(draw.served, draw.labels, draw.users), 1.0)
        alone = ratio_estimate(draw.served, draw.labels, np.arange(n))
        hits["ignoring users"] += covered(alone, 1.0)
        whole = ratio_estimate(draw.served, draw.labels, draw.users)
        assert whole is not None
        assert alone is not None
        effects.append(((whole.high - whole.low) / (alone.high - alone.low)) ** 2)
    assert 7.0 < np.mean(effects) < 13.0
    # The binomial probability of less than 90 % of 300 draws at a coverage of 95 % is 0.0003.
    assert hits["grouped"] >= 0.9 * N_DRAWS
    assert hits["clustered"] >= 0.9 * N_DRAWS
    assert hits["ignoring users"] < 0.6 * N_DRAWS


def test_the_interval_of_a_mean_of_equal_groups_is_students() -> None:
    values = np.random.default_rng(1).normal(3.0, 2.0, 24)
    sums = np.column_stack([np.full(24, 5.0), 5.0 * values])
    estimate = grouped_estimate(sums, mean_of)
    assert estimate is not None
    low, high = stats.t.interval(0.95, 23, values.mean(), stats.sem(values))
    assert estimate == pytest.approx((values.mean(), low, high), rel=1e-12)


def test_an_interval_scales_with_the_statistic_and_groups_without_predictions_do_not_count() -> None:
    sums = np.random.default_rng(2).random((20, 2)) + 1.0
    padded = np.concatenate([sums, np.zeros((44, 2))])
    assert grouped_estimate(padded, mean_of) == grouped_estimate(sums, mean_of)
    once, twice = grouped_estimate(sums, mean_of), grouped_estimate(sums, lambda each: 2.0 * mean_of(each))
    assert once is not None
    assert twice == pytest.approx([2.0 * bound for bound in once])


@pytest.mark.parametrize("n_groups", [0, 1, 7])
def test_few_groups_give_no_interval(n_groups: int) -> None:
    assert grouped_estimate(np.ones((n_groups, 2)), mean_of) is None
    assert grouped_estimate(np.ones((8, 2)), mean_of) == (1.0, 1.0, 1.0)


def test_what_is_undefined_without_some_group_has_no_interval() -> None:
    labels = np.zeros(10)
    labels[3] = 4.0
    sums = np.column_stack([np.full(10, 9.0), labels, np.ones(10), np.ones(10), np.ones(10)])
    assert grouped_estimate(sums, calibration_of) is None
    assert grouped_estimate(sums, loss_above_base) is None
    sums[4, 1] = 1.0
    assert grouped_estimate(sums, calibration_of) is not None
    assert grouped_estimate(sums, loss_above_base) is not None
    sums[:, 1] = sums[:, 0]
    assert grouped_estimate(sums, loss_above_base) is None


def test_ratios_of_users_have_the_interval_of_the_delta_method() -> None:
    random = np.random.default_rng(4)
    below = random.random(40) + 1.0
    above = 2.0 * below + random.normal(0.0, 0.3, 40)
    estimate = ratio_estimate(np.repeat(above / 3, 3), np.repeat(below / 3, 3), np.repeat(np.arange(40), 3))
    ratio = above.sum() / below.sum()
    error = np.std(above - ratio * below, ddof=1) / np.sqrt(40) / below.mean()
    assert estimate == pytest.approx((ratio, ratio - 1.959964 * error, ratio + 1.959964 * error), rel=1e-6)
    mean = ratio_estimate(above, np.ones(40), np.arange(40))
    half = 1.959964 * stats.sem(above)
    assert mean == pytest.approx((above.mean(), above.mean() - half, above.mean() + half), rel=1e-6)


def test_a_ratio_to_nothing_or_of_one_user_has_no_interval() -> None:
    assert ratio_estimate(np.ones(3), np.zeros(3), np.arange(3)) is None
    assert ratio_estimate(np.ones(3), np.ones(3), np.zeros(3, np.int64)) is None
    assert ratio_estimate(np.zeros(0), np.zeros(0), np.zeros(0, np.int64)) is None


@pytest.mark.parametrize("is_amount", [False, True])
def test_what_is_measured_while_serving_is_what_an_evaluation_of_the_same_predictions_says(*, is_amount: bool) -> None:
    draw = Draw(7)
    served, labels = draw.served.copy(), draw.labels
    served += np.random.default_rng(0).normal(0.0, 0.02, len(served))
    if is_amount:
        served, labels = 40.0 * served, 30.0 * labels * (1.0 + draw.groups / N_GROUPS)
    loss = deviances if is_amount else losses
    online = ServedEvaluation(is_amount=is_amount)
    from_prior = np.arange(len(labels)) % 7 == 0
    online.update(served, labels, draw.groups.astype(np.uint8), from_prior)
    quality = online.quality()

    of_model = ~from_prior
    served, labels, users = served[of_model], labels[of_model], draw.users[of_model]
    offline: Evaluation | AmountEvaluation = AmountEvaluation() if is_amount else Evaluation()
    offline.update(served, labels, np.ones(len(labels)))
    assert (quality.quality, quality.from_prior) == (offline.quality(), int(from_prior.sum()))

    later = np.cumsum(labels > 0.0) - (labels > 0.0) >= WARM_UP_POSITIVES
    served, labels, users = served[later], labels[later], users[later]
    base = loss(np.full(len(labels), labels.mean()), labels)
    agree(quality.loss_above_base, above_base_estimate(loss(served, labels), base, users))
    agree(quality.calibration, ratio_estimate(served, labels, users))


def agree(online: Estimate | None, offline: Estimate | None) -> None:
    """The same estimate, and intervals as wide, within what 64 groups of users allow."""
    assert online is not None
    assert offline is not None
    assert online.estimate == pytest.approx(offline.estimate, rel=1e-9, abs=1e-12)
    assert (online.high - online.low) / (offline.high - offline.low) == pytest.approx(1.0, abs=0.35)


def test_there_is_no_interval_before_there_was_something_to_learn_from() -> None:
    n = WARM_UP_POSITIVES
    groups = (np.arange(2 * n) // 2 % N_GROUPS).astype(np.uint8)
    evaluation = ServedEvaluation(is_amount=False)
    labels = np.arange(2 * n) % 2 == 1
    evaluation.update(np.full(2 * n, 0.5), labels.astype(np.float64), groups, np.zeros(2 * n, np.bool_))
    quality = evaluation.quality()
    assert (quality.loss_above_base, quality.calibration, quality.quality.examples) == (None, None, 2 * n)
    evaluation.update(np.full(2 * n, 0.5), labels.astype(np.float64), groups, np.zeros(2 * n, np.bool_))
    assert evaluation.quality().calibration == pytest.approx((1.0, 1.0, 1.0))


@given(st.lists(st.integers(0, 1500), max_size=6), st.booleans())
@settings(deadline=None, max_examples=25)
def test_neither_batches_nor_restarts_change_a_bit(inner: list[int], is_amount: bool) -> None:
    random = np.random.default_rng(5)
    served, labels = random.random(1500), (random.random(1500) < 0.6).astype(np.float64)
    groups, from_prior = random.integers(0, N_GROUPS, 1500).astype(np.uint8), random.random(1500) < 0.1
    whole, parts = ServedEvaluation(is_amount=is_amount), ServedEvaluation(is_amount=is_amount)
    whole.update(served, labels, groups, from_prior)
    for start, end in pairwise([0, *sorted(inner), 1500]):
        restored = ServedEvaluation(is_amount=is_amount)
        restored.restore(unpack_arrays(pack_arrays(parts.arrays())))
        part = slice(start, end)
        restored.update(served[part], labels[part], groups[part], from_prior[part])
        parts = restored
    assert pack_arrays(parts.arrays()) == pack_arrays(whole.arrays())
    assert parts.quality() == whole.quality()
    assert whole.quality().calibration is not None


def test_losses_above_the_base_are_of_the_mean_label_itself() -> None:
    draw = Draw(3)
    amounts = 10.0 * draw.labels * (1.0 + draw.groups / N_GROUPS)
    for loss, labels, statistic in (
        (losses, draw.labels, loss_above_base),
        (deviances, amounts, deviance_above_base),
    ):
        served = draw.served if loss is losses else 20.0 * draw.served
        sums = group_sums(draw.groups, labels, served, loss(served, labels), np.sqrt(labels)).sum(axis=0)
        base = loss(np.full(len(labels), labels.mean()), labels).mean()
        assert statistic(sums) == pytest.approx(loss(served, labels).mean() - base, rel=1e-9)
        mean_alone = group_sums(draw.groups, labels, served, np.full(len(labels), base), np.sqrt(labels)).sum(axis=0)
        assert statistic(mean_alone) == pytest.approx(0.0, abs=1e-9)
