"""Lift over the control: an interval clustered by user, and bounds that no amount of looking makes false too often."""

from collections.abc import Sequence
from functools import cache
from math import exp, log, sqrt
from typing import NamedTuple

import numpy as np
import pytest

from streams.contract.fold import PartitionRow
from streams.core.lift import LEVEL, MIN_USERS, anytime_half_width, fixed_half_width, lifts, log_ratio
from streams.core.summary import summarise
from streams.core.tallies import count_exposure

RUNS, LOOKS, USERS = 200, 60, 400


def sums(users: Sequence[tuple[int, int]]) -> list[int]:
    tallies: dict[str, list[int]] = {}
    for n, c in users:
        count_exposure(tallies, "x", [0, 0], n, c)
    return tallies["policy.x"]


def drawn(seed: int, rate: float, n_users: int = 200) -> list[tuple[int, int]]:
    random = np.random.default_rng(seed)
    slots = 5 * random.poisson(4, n_users) + 5
    clicks = random.binomial(slots, random.beta(20 * rate, 20 * (1 - rate), n_users))
    return list(zip(slots.tolist(), clicks.tolist(), strict=True))


def test_the_ratio_and_its_variance_are_those_of_the_users_residuals() -> None:
    treated, control = drawn(1, 0.15), drawn(2, 0.12)
    found = log_ratio(sums(treated), sums(control))
    assert found is not None
    rates, variance = [], 0.0
    for users in (treated, control):
        n, c = (np.array(column, float) for column in zip(*users, strict=True))
        rates.append(c.sum() / n.sum())
        residuals = c - rates[-1] * n
        variance += residuals.var(ddof=1) * len(users) / c.sum() ** 2
    assert found.estimate == pytest.approx(log(rates[0] / rates[1]))
    assert found.variance == pytest.approx(variance)


def test_the_interval_is_wider_than_if_slots_were_independent() -> None:
    treated, control = drawn(1, 0.15), drawn(2, 0.12)
    found = log_ratio(sums(treated), sums(control))
    naive = sum(1 / sum(c for _, c in users) - 1 / sum(n for n, _ in users) for users in (treated, control))
    assert found is not None
    assert found.variance > 1.5 * naive


def test_a_bound_for_any_time_is_wider_than_an_interval_for_one_and_both_narrow() -> None:
    for level in (0.05, 0.01):
        widths = [(fixed_half_width(1 / i, level), anytime_half_width(1 / i, level)) for i in (10, 100, 1000, 1e5)]
        assert all(fixed < anytime for fixed, anytime in widths)
        assert widths == sorted(widths, reverse=True)
    assert fixed_half_width(0.01, 0.05) == pytest.approx(1.959964 * 0.1)


def test_every_further_policy_widens_the_bounds_of_all() -> None:
    control, treated = sums(drawn(1, 0.12)), sums(drawn(2, 0.15))
    one = lifts({"control": control, "a": treated}, "control")["a"]
    three = lifts({"control": control, "a": treated, "b": treated, "c": treated}, "control")["a"]
    assert one["lift"] == three["lift"]
    for bounds in ("lift_ci95", "lift_anytime95"):
        assert three[bounds][0] < one[bounds][0] < one["lift"] < one[bounds][1] < three[bounds][1]


def test_too_little_is_no_lift_and_the_control_has_none() -> None:
    control, few = sums(drawn(1, 0.12)), sums(drawn(2, 0.15, MIN_USERS - 1))
    assert lifts({"control": control, "a": few, "b": [0] * 6}, "control") == {
        "a": {"lift": None, "lift_ci95": None, "lift_anytime95": None}
    }
    assert lifts({"a": control}, "control")["a"]["lift"] is None


def test_the_summary_compares_every_policy_with_the_control() -> None:
    tallies = {"policy.control": sums(drawn(1, 0.12)), "policy.bandit": sums(drawn(2, 0.15))}
    policies = summarise([PartitionRow(tallies=tallies)])["policies"]
    assert policies["bandit"]["lift"] == pytest.approx(policies["bandit"]["ctr"] / policies["control"]["ctr"] - 1)
    assert "lift" not in policies["control"]


class Watched(NamedTuple):
    """What watching many experiments at every look came to; shares of the experiments."""

    outside_anytime: float
    outside_fixed: float
    found: float


@cache
def watched(lift: float, n_policies: int) -> Watched:
    """Watches experiments whose shoppers differ, come over time, and come again; every policy has the same lift."""
    outside = np.zeros((RUNS, 3), bool)
    for run in range(RUNS):
        random = np.random.default_rng([run, n_policies])
        shape = 1 + n_policies, USERS
        rates = random.beta(2.4, 17.6, shape)
        rates[1:] = np.minimum(rates[1:] * (1.0 + lift), 1.0)
        starts, eagerness = random.integers(0, LOOKS, shape), random.gamma(1.0, 1.0, shape)
        n, c = np.zeros(shape), np.zeros(shape)
        for look in range(LOOKS):
            more = 5 * random.poisson(0.5 * eagerness) * (starts <= look)
            n, c = n + more, c + random.binomial(more, rates)
            columns = [(n > 0).sum(1), n.sum(1), c.sum(1), (n * n).sum(1), (n * c).sum(1), (c * c).sum(1)]
            tallies = dict(zip(("control", "a", "b", "c"), np.array(columns, float).T.tolist(), strict=False))
            for compared in lifts(tallies, "control").values():
                for place, bounds in enumerate((compared["lift_anytime95"], compared["lift_ci95"])):
                    outside[run, place] |= bounds is not None and not bounds[0] <= lift <= bounds[1]
        outside[run, 2] = all(bounds["lift_anytime95"][0] > 0.0 for bounds in lifts(tallies, "control").values())
    return Watched(*outside.mean(axis=0).tolist())


@pytest.mark.parametrize("n_policies", [1, 3])
def test_an_aa_experiment_that_is_watched_all_the_time_alarms_no_more_often_than_the_level(n_policies: int) -> None:
    """The interval for one look, watched in the same way, alarms several times as often: the test can fail."""
    seen = watched(0.0, n_policies)
    tolerance = 3.0 * sqrt(LEVEL * (1.0 - LEVEL) / RUNS)
    assert seen.outside_anytime <= LEVEL
    assert seen.outside_fixed > LEVEL + tolerance


def test_a_lift_that_there_is_is_covered_all_the_time_and_found() -> None:
    seen = watched(0.4, 1)
    assert seen.outside_anytime <= LEVEL
    assert seen.found > 0.8
    assert exp(anytime_half_width(0.01, LEVEL)) - 1.0 < 0.4
