"""Estimators are those of the `obp` library to the last digit, and each is right where it says it is."""

import json
from math import inf
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from streams.core.policies.slates import CategoryLimit, draw_slates
from streams.core.policies.squarecb import inverse_gap_weighting
from streams.evaluation.offpolicy import estimators, slates
from streams.evaluation.offpolicy.estimators import Choices
from streams.evaluation.offpolicy.expectations import by_action, shared
from streams.evaluation.offpolicy.intervals import likelihood_interval, value_comparison
from streams.evaluation.offpolicy.judgement import Estimated, Evaluated, Group, Refused, Rules, judge
from streams.evaluation.offpolicy.slates import SlateLog
from streams.evaluation.offpolicy.sums import Float64Array, RewardRange, Sums, Terms, weighted_reward_terms

OBP: dict[str, Any] = json.loads((Path(__file__).parent / "obp_values.json").read_text())
CHOICES = Choices(*(np.array(OBP["choices"][name]) for name in Choices._fields))
EXPECTED = np.array(OBP["choices"]["expected"])
SLATES = SlateLog(*(np.array(OBP["slates"][name]) for name in SlateLog._fields))


def best_only() -> Choices:
    """The same log, evaluated for the policy that always takes the target's most probable action."""
    always = np.eye(CHOICES.target.shape[1])[CHOICES.target.argmax(axis=1)]
    return CHOICES._replace(target=always)


@pytest.mark.parametrize(
    ("name", "sums"),
    [
        ("ips", estimators.inverse_propensity(CHOICES)),
        ("snips", estimators.self_normalised(CHOICES)),
        ("dm", estimators.direct_method(CHOICES, EXPECTED)),
        ("dr", estimators.doubly_robust(CHOICES, EXPECTED)),
        ("replay", estimators.replay(best_only())),
    ],
)
def test_an_estimate_of_single_choices_is_that_of_obp(name: str, sums: Sums) -> None:
    assert sums.value == pytest.approx(OBP["choice_values"][name], abs=1e-15)


@pytest.mark.parametrize("name", ["full_slate", "reward_interaction", "independent_positions"])
def test_an_estimate_of_slates_is_that_of_obp(name: str) -> None:
    assert getattr(slates, name)(SLATES).value == pytest.approx(OBP["slate_values"][name], abs=1e-15)


def test_every_estimate_of_the_logging_policy_is_what_was_logged() -> None:
    mine = CHOICES._replace(target=np.eye(4)[CHOICES.actions] * CHOICES.propensities[:, None])
    mean = CHOICES.rewards.mean()
    assert estimators.inverse_propensity(mine).value == pytest.approx(mean)
    assert estimators.self_normalised(mine).value == pytest.approx(mean)
    same = SLATES._replace(target=SLATES.propensities)
    for estimator in (slates.full_slate, slates.reward_interaction, slates.independent_positions):
        assert estimator(same).value == pytest.approx(SLATES.rewards.sum(axis=1).mean())


def test_a_cap_takes_away_what_its_bias_says() -> None:
    for cap in (0.5, 1.5, 4.0):
        capped, whole = estimators.inverse_propensity(CHOICES, cap).value, estimators.inverse_propensity(CHOICES).value
        assert capped - whole == pytest.approx(estimators.cap_bias(CHOICES, cap))
        capped, whole = slates.reward_interaction(SLATES, cap).value, slates.reward_interaction(SLATES).value
        assert capped - whole == pytest.approx(slates.cap_bias(SLATES, cap))
    assert estimators.cap_bias(CHOICES, inf) == slates.cap_bias(SLATES, inf) == 0.0


def test_doubly_robust_is_right_if_the_model_is_and_the_propensities_are_not() -> None:
    random = np.random.default_rng(4)
    n, truth = 4_000, np.array([0.1, 0.5, 0.9])
    actions = random.integers(0, 3, n)
    rewards = truth[actions] + random.normal(0.0, 0.1, n)
    target = np.tile([0.2, 0.2, 0.6], (n, 1))
    choices = Choices(actions, np.full(n, 0.8), rewards, target)
    expected = np.tile(truth, (n, 1))
    value = float(target[0] @ truth)
    assert estimators.doubly_robust(choices, expected).value == pytest.approx(value, abs=0.01)
    assert estimators.inverse_propensity(choices).value < 0.6 * value


def test_a_reward_model_never_learns_from_the_user_it_is_asked_about() -> None:
    random = np.random.default_rng(5)
    users = np.repeat(np.arange(40), 5)
    actions, contexts = random.integers(0, 3, 200), random.normal(size=(200, 2))
    rewards = contexts[:, 0] + 1.0 * actions
    expected = by_action(contexts, actions, rewards, users, 3)
    assert np.abs(expected[np.arange(200), actions] - rewards).mean() < 0.2
    changed = np.where(users == 7, 1e6, rewards)
    own = users == 7
    assert np.array_equal(by_action(contexts, actions, changed, users, 3)[own], expected[own])
    features = random.normal(size=(200, 4, 3))
    shown = features[np.arange(200), actions] @ np.array([1.0, 2.0, 0.0])
    of_all = shared(features, actions, shown, users)
    assert np.abs(of_all - features @ [1.0, 2.0, 0.0]).mean() < 0.1
    assert np.array_equal(shared(features, actions, np.where(own, 1e6, shown), users)[own], of_all[own])


@pytest.mark.parametrize("most", [0, 1, 2])
def test_probabilities_of_slates_are_those_that_they_were_drawn_with(most: int) -> None:
    random = np.random.default_rng(6)
    scores = random.normal(size=(300, 8))
    there = np.arange(8) < random.integers(2, 9, 300)[:, None]

    def probabilities(eligible: Any) -> Any:
        return inverse_gap_weighting(scores, eligible, 5.0)

    # Every third decision had no rule, and every second item has no category.
    n_items = there.sum(axis=1)
    names = [[None if item % 2 else "even" for item in range(n)] for n in n_items.tolist()]
    limit = CategoryLimit.of_names(names, [most if row % 3 else 0 for row in range(300)], 8)
    drawn = draw_slates(there, there, probabilities, random.random((300, 4)), limit)
    assert ((drawn.slates >= 0).sum(axis=1) == np.minimum(n_items, 4))[::3].all()
    found = slates.of_slates(drawn.slates, there, probabilities, limit)
    assert np.array_equal(found[drawn.slates >= 0], drawn.propensities[drawn.slates >= 0])
    assert (found[drawn.slates < 0] == 1.0).all()


@given(st.lists(st.just(0.0) | st.floats(1e-300, 50.0), min_size=1, max_size=30), st.floats(0.1, 10.0))
@example([3.1e-162], 1.0)
def test_the_effective_size_is_at_most_the_number_and_knows_no_scale(weights: list[float], scale: float) -> None:
    ones = np.ones(len(weights))
    one = Sums(ones, ones, np.array(weights)).effective_size
    assert one <= len(weights) * (1 + 1e-9)
    assert Sums(ones, ones, scale * np.array(weights)).effective_size == pytest.approx(one)
    assert Sums(ones, ones, ones).effective_size == pytest.approx(len(weights))


def terms_of(weights: Float64Array, rewards: Float64Array) -> Terms:
    span = RewardRange(float(rewards.min()), float(rewards.max()))
    gains, losses, nothing = weights * (rewards - span.low), weights * (span.high - rewards), np.zeros(len(weights))
    return weighted_reward_terms(gains, losses, weights[:, None], nothing + 1.0, nothing, span)


def test_intervals_hold_the_truth_as_often_as_they_say_when_users_differ() -> None:
    """Means of clustered, skewed rewards; an interval by decisions instead of users is wrong in every fifth case."""
    truth, covered, by_decision = 1.0, 0, 0
    for seed in range(100):
        random = np.random.default_rng(seed)
        users = np.repeat(np.arange(100), 10)
        rewards = random.gamma(1.0, 1.0, 100)[users] * random.gamma(2.0, 0.5, 1000)
        terms = terms_of(np.ones(1000), rewards)
        low, high = likelihood_interval(value_comparison(terms, users), users)
        covered += low <= truth <= high
        each = np.arange(1000)
        low, high = likelihood_interval(value_comparison(terms, each), each)
        by_decision += low <= truth <= high
    assert covered >= 90
    assert by_decision < 85


def test_an_estimate_on_too_few_decisions_is_refused_and_says_why() -> None:
    rewards, ones = np.tile([0.0, 1.0], 25), np.ones(50)
    few = np.where(np.arange(50) == 0, 1000.0, 1.0)
    groups = [
        Group({"many": Sums(rewards, ones, ones)}, terms_of(ones, rewards)),
        Group({"few": Sums(few * rewards, ones, few)}, terms_of(few / few.mean(), rewards)),
    ]
    judged = judge(Evaluated("policy", groups, "", {}), np.arange(50), Rules(20.0))
    assert isinstance(judged["many"], Estimated)
    assert judged["few"] == Refused("the effective sample size is 1.1, below 20")
