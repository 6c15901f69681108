"""Intervals hold the truth as often as they say, and are what the literature defines."""

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import minimize
from scipy.stats import binom

from benchmarks.offpolicy_coverage import bootstrap_t, draw_log, median_width, new_world
from streams.evaluation.offpolicy import estimators
from streams.evaluation.offpolicy.betting import betting_interval
from streams.evaluation.offpolicy.empirical_likelihood import Moments, lower_bound, upper_bound
from streams.evaluation.offpolicy.intervals import (
    difference_comparison,
    likelihood_interval,
    simultaneous_critical,
    value_comparison,
    weight_interval,
)
from streams.evaluation.offpolicy.pareto import pareto_shape
from streams.evaluation.offpolicy.sums import Float64Array, RewardRange, Terms

LOGS = 200


def log_ratio(moments: Moments, value: float | None) -> float:
    """Minus the log likelihood ratio of a value over all distributions on the users, or of the constraints alone."""
    n = len(moments.numerators)
    rows = [np.ones(n), *moments.excess.T]
    goals = [1.0, *np.zeros(moments.excess.shape[1])]
    if value is not None:
        rows.append(moments.numerators - value * moments.denominators)
        goals.append(0.0)
    equations = {"type": "eq", "fun": lambda q: np.array(rows) @ q - goals, "jac": lambda q: np.array(rows)}
    found = minimize(
        lambda q: -np.log(n * q).sum(),
        np.full(n, 1.0 / n),
        jac=lambda q: -1.0 / q,
        bounds=[(1e-9, 1.0)] * n,
        constraints=equations,
        options={"ftol": 1e-12, "maxiter": 500},
    )
    return float(found.fun)


@pytest.mark.parametrize("constraints", [0, 1, 2])
@pytest.mark.parametrize("bound", [lower_bound, upper_bound])
def test_a_bound_has_the_likelihood_ratio_of_the_threshold(
    bound: Callable[[Moments, float], float], constraints: int
) -> None:
    random = np.random.default_rng(constraints)
    excess = random.normal(size=(20, constraints))
    moments = Moments(random.gamma(1.0, 1.0, 20) + excess.sum(axis=1), random.uniform(1.0, 3.0, 20), excess)
    value = bound(moments, 3.0)
    assert 2.0 * (log_ratio(moments, value) - log_ratio(moments, None)) == pytest.approx(3.0, abs=0.01)


def fewest(coverage: float) -> int:
    """Fewest of the intervals that hold; with other seeds, right intervals fail once in 4,000 runs."""
    return int(binom.ppf(2.5e-4, LOGS, coverage))


@pytest.mark.parametrize(("rate", "coverage"), [(0.01, 0.985), (0.1, 0.955)])
def test_intervals_hold_the_value_where_the_floor_is_low(rate: float, coverage: float) -> None:
    """Without the decision that is added to a log, 182 of 200 intervals hold the value at 1 % of clicks."""
    world = new_world(0.02, rate, seed=5)
    intervals, robust, bootstrapped = [], [], []
    for seed in range(LOGS):
        log = draw_log(world, seed)
        intervals.append(likelihood_interval(value_comparison(log.terms(), log.users), log.users))
        robust.append(likelihood_interval(value_comparison(log.robust_terms(), log.users), log.users))
        if seed < 20:
            bootstrapped.append(bootstrap_t(estimators.self_normalised(log.choices), log.users, 100, seed))
    for each in (intervals, robust):
        assert sum(low <= world.value <= high for low, high in each) >= fewest(coverage)
    assert median_width(intervals[:20]) <= 1.5 * median_width(bootstrapped)


def test_bets_hold_the_value_and_so_do_99_of_100_intervals_of_the_mean_weight() -> None:
    world = new_world(0.05, 0.1, seed=6)
    held = right = 0
    for seed in range(LOGS):
        log = draw_log(world, seed)
        low, high = betting_interval(log.terms(), log.users)
        held += low <= world.value <= high
        low, high = weight_interval(log.terms(), log.users)
        right += low <= 1.0 <= high
    assert held >= fewest(0.95)
    assert right >= fewest(0.99)


def tilted(table: Float64Array, tilt: Float64Array) -> Float64Array:
    """Probabilities times a factor for each arm, brought to a sum of 1."""
    return np.asarray(table * tilt / (table * tilt).sum(axis=1, keepdims=True), np.float64)


def log_terms(seed: int, tilts: list[Float64Array]) -> tuple[list[Terms], np.ndarray]:
    log = draw_log(new_world(0.2, 0.1, seed=3), seed)
    choices = [log.choices._replace(target=tilted(log.choices.target, tilt)) for tilt in tilts]
    logged = np.ones(log.choices.target.shape, bool)
    return [estimators.weighted_terms(each, logged, RewardRange(0.0, 1.0)) for each in choices], log.users


def test_a_paired_difference_is_narrower_than_two_intervals_and_wider_for_several_policies() -> None:
    tilts = [np.ones(5), np.array([1.0, 1.2, 1.0, 1.0, 1.0]), np.array([1.0, 1.0, 1.4, 1.0, 1.0])]
    (own, near, other), users = log_terms(0, tilts)
    low, high = likelihood_interval(value_comparison(own, users), users)
    paired = difference_comparison(own, near, users)
    paired_low, paired_high = likelihood_interval(paired, users)
    assert paired_high - paired_low < 0.5 * (high - low)
    critical = simultaneous_critical([paired, difference_comparison(own, other, users)], users, 10_000, 0)
    # Of two independent ones 1.14, of two that are the same 1.
    assert 1.0 < critical < 1.16
    wide_low, wide_high = likelihood_interval(paired, users, critical)
    assert wide_low < paired_low < paired_high < wide_high


def test_paired_differences_hold_the_truth() -> None:
    world, tilt = new_world(0.02, 0.1, seed=18), np.array([1.0, 0.3, 1.0, 2.0, 1.0])
    truth = world.value - float((tilted(world.evaluated, tilt) * world.clicks).sum(axis=1).mean())
    held = 0
    for seed in range(LOGS):
        log = draw_log(world, seed)
        other = log._replace(choices=log.choices._replace(target=tilted(log.choices.target, tilt)))
        low, high = likelihood_interval(difference_comparison(log.terms(), other.terms(), log.users), log.users)
        held += low <= truth <= high
    assert held >= fewest(0.96)


def test_the_difference_of_a_policy_from_itself_is_nothing() -> None:
    (own, same), users = log_terms(1, [np.ones(5), np.ones(5)])
    assert likelihood_interval(difference_comparison(own, same, users), users) == pytest.approx([0.0, 0.0], abs=1e-9)


@given(st.floats(0.1, 5.0), st.floats(-3.0, 3.0))
def test_an_interval_follows_the_unit_of_the_reward(scale: float, shift: float) -> None:
    log = draw_log(new_world(0.2, 0.1, seed=2, effective_size=60), 4)
    low, high = likelihood_interval(value_comparison(log.terms(), log.users), log.users)
    moved = log.choices._replace(rewards=scale * log.choices.rewards + shift)
    terms = estimators.weighted_terms(moved, np.ones(moved.target.shape, bool), RewardRange(shift, scale + shift))
    found = likelihood_interval(value_comparison(terms, log.users), log.users)
    assert found == pytest.approx([scale * low + shift, scale * high + shift], abs=1e-4 * scale)
    assert shift - 1e-9 <= found[0] <= found[1] <= scale + shift + 1e-9


@given(st.integers(0, 1000), st.sampled_from([0.002, 0.01, 0.98]))
def test_a_bound_is_never_beyond_what_rewards_can_be(seed: int, rate: float) -> None:
    """Even if hardly a click, or nearly every one, is in the log."""
    log = draw_log(new_world(0.05, 0.01, seed=4, effective_size=100), seed)
    rewards = (np.random.default_rng(seed).random(len(log.users)) < rate).astype(np.float64)
    terms = log._replace(choices=log.choices._replace(rewards=rewards)).terms()
    low, high = likelihood_interval(value_comparison(terms, log.users), log.users)
    assert 0.0 <= low < high <= 1.0


@pytest.mark.parametrize("shape", [0.2, 0.5, 1.0])
def test_the_shape_of_a_tail_is_found(shape: float) -> None:
    random = np.random.default_rng(3)
    found = [pareto_shape(random.pareto(1.0 / shape, 10_000) + 1.0) for _ in range(20)]
    assert np.mean([each for each in found if each is not None]) == pytest.approx(shape, abs=0.1)


def test_weights_whose_largest_recurs_have_no_tail() -> None:
    random = np.random.default_rng(3)
    assert pareto_shape(np.minimum(random.pareto(1.0, 10_000), 50.0)) is None
    assert pareto_shape(np.ones(100)) is None
