"""Where the truth is known, estimates of slates hit it and their intervals hold it; the naive one fails."""

from functools import cache

import numpy as np

from benchmarks.offpolicy import Estimate, estimate, true_value

SEEDS = 12


@cache
def found() -> list[dict[str, Estimate]]:
    return [estimate(seed, 20_000, 200) for seed in range(SEEDS)]


@cache
def truth() -> float:
    return true_value(300_000)[0]


def covered(name: str) -> int:
    return sum(each[name].low <= truth() <= each[name].high for each in found())


def test_reward_interaction_hits_the_truth_and_its_intervals_hold_it() -> None:
    errors = [each["reward_interaction"].value / truth() - 1.0 for each in found()]
    assert np.abs(errors).max() <= 0.10
    assert abs(np.mean(errors)) <= 0.02
    assert covered("reward_interaction") >= 10


def test_the_naive_ratio_of_conditional_propensities_misses_it() -> None:
    errors = [each["naive"].value / truth() - 1.0 for each in found()]
    assert np.mean(errors) > 0.05
    assert covered("naive") == 0
