"""Where the truth is known, estimates of slates hit it and their intervals hold it; the naive one fails."""

from functools import cache

import numpy as np
import pytest

from benchmarks.offpolicy import Estimate, estimate, simulate, true_value

SEEDS = 12
RULES = pytest.mark.parametrize("max_per_category", [0, 1])


@cache
def found(max_per_category: int) -> list[dict[str, Estimate]]:
    return [estimate(seed, 20_000, max_per_category) for seed in range(SEEDS)]


@cache
def truth(max_per_category: int) -> float:
    return true_value(300_000, max_per_category)[0]


def errors(name: str, max_per_category: int) -> np.ndarray:
    return np.array([each[name].value / truth(max_per_category) - 1.0 for each in found(max_per_category)])


def covered(name: str, max_per_category: int) -> int:
    return sum(each[name].low <= truth(max_per_category) <= each[name].high for each in found(max_per_category))


# Of 12, where 100 seeds of the benchmark have 91 % without the rule, and 40 have 90 % with it.
@pytest.mark.parametrize(("max_per_category", "least"), [(0, 10), (1, 9)])
def test_reward_interaction_hits_the_truth_and_its_intervals_hold_it(max_per_category: int, least: int) -> None:
    missed = errors("reward_interaction", max_per_category)
    assert np.abs(missed).max() <= 0.10
    assert abs(missed.mean()) <= 0.02
    assert covered("reward_interaction", max_per_category) >= least


@RULES
def test_the_naive_ratio_of_conditional_propensities_misses_it(max_per_category: int) -> None:
    assert errors("naive", max_per_category).mean() > 0.05
    assert covered("naive", max_per_category) == 0


def test_the_rule_changes_the_value_and_leaves_some_slates_short() -> None:
    assert abs(truth(1) / truth(0) - 1.0) > 0.05
    assert 0.1 < (simulate(0, 20_000, max_per_category=1).slates[:, -1] < 0).mean() < 0.2
