"""Lift over a control: an interval clustered by user, and bounds that no amount of looking makes false too often."""

from collections.abc import Sequence
from functools import cache
from math import exp, log, sqrt
from typing import NamedTuple

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.contract.fold import PartitionRow
from streams.contract.metrics import Interval, Lift
from streams.contract.settings.policies import CONTROLS
from streams.core.behaviour.tallies import count_exposure, partition_metrics, summarise
from streams.core.experiments.lift import LEVEL, MIN_USERS, anytime_half_width, fixed_half_width, lifts, log_ratio

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
    one = lifts({"random": control, "a": treated}, ["random"])["a"]["random"]
    three = lifts({"random": control, "a": treated, "b": treated, "c": treated}, ["random"])["a"]["random"]
    assert one is not None
    assert three is not None
    assert one.estimate == three.estimate
    for wide, narrow in ((three.ci95, one.ci95), (three.anytime95, one.anytime95)):
        assert wide[0] < narrow[0] < one.estimate < narrow[1] < wide[1]


def test_a_further_control_changes_no_bounds() -> None:
    exposures = {name: sums(drawn(n, 0.12 + n / 100)) for n, name in enumerate(("a", "b", "random", "ranked"))}
    together = lifts(exposures, ["random", "ranked"])
    assert lifts(exposures | {"ranked": [0] * 6}, ["random", "ranked"]) == {
        policy: {"random": over["random"]} for policy, over in together.items()
    }


def test_too_little_is_no_lift_and_a_control_has_none() -> None:
    control, few = sums(drawn(1, 0.12)), sums(drawn(2, 0.15, MIN_USERS - 1))
    nobody = [0] * 6
    exposures = {"random": control, "ranked": few, "popular": nobody, "a": few, "b": nobody}
    assert lifts(exposures, list(CONTROLS)) == {"a": {"random": None, "ranked": None}}
    assert lifts({"a": control}, ["random"]) == {"a": {}}


def test_the_summary_compares_every_policy_with_every_control() -> None:
    rates = {"random": 0.12, "ranked": 0.14, "popular": 0.08, "bandit": 0.15}
    tallies = {f"policy.{name}": sums(drawn(n, rate)) for n, (name, rate) in enumerate(rates.items())}
    policies = summarise([partition_metrics(PartitionRow(tallies=tallies), lag=0)]).policies
    bandit = policies["bandit"]
    assert list(bandit.lift) == list(CONTROLS)
    for name, lift in bandit.lift.items():
        control = policies[name]
        assert control.lift == {}
        assert lift is not None
        assert lift.estimate == pytest.approx(
            bandit.clicks / bandit.impressions * control.impressions / control.clicks - 1
        )


@pytest.mark.parametrize(
    ("bounds", "verdict"),
    [
        ((0.01, 0.5), "better"),
        ((-0.5, -0.01), "worse"),
        ((-0.1, 0.5), "not distinguishable"),
        ((0.0, 0.5), "not distinguishable"),
    ],
)
def test_the_verdict_is_that_of_the_bounds_for_any_time(bounds: Interval, verdict: str) -> None:
    assert Lift(0.2, (0.1, 0.3), bounds).verdict == verdict


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
            tallies = dict(zip(("random", "a", "b", "c"), np.array(columns, float).T.tolist(), strict=False))
            found = [over.get("random") for over in lifts(tallies, ["random"]).values()]
            for compared in filter(None, found):
                for place, bounds in enumerate((compared.anytime95, compared.ci95)):
                    outside[run, place] |= not bounds[0] <= lift <= bounds[1]
        outside[run, 2] = all(compared and compared.anytime95[0] > 0.0 for compared in found)
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


counts = st.one_of(st.integers(0, 100), st.integers(0, (1 << 63) - 1))


@given(st.dictionaries(st.sampled_from(["random", "popular", "bandit", "q"]), st.tuples(*[counts] * 6)))
def test_no_sums_on_metrics_end_who_adds_them_up(exposures: dict[str, tuple[int, int, int, int, int, int]]) -> None:
    partition = msgspec.structs.replace(partition_metrics(PartitionRow(), 0), exposures=exposures)
    assert set(summarise([partition, partition]).policies) == set(exposures)
