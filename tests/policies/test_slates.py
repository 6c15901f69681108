"""Slates have nothing twice, and their propensities are exact: they sum to one and are what is observed."""

from itertools import permutations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from streams.core.policies import squarecb
from streams.core.policies.greedy import EpsilonGreedyPolicy
from streams.core.policies.linucb import LinUCBPolicy
from streams.core.policies.policy import Estimates, Policy
from streams.core.policies.slates import Slates, draw_slates, items_that_are
from streams.core.policies.squarecb import SquareCBPolicy
from streams.core.policies.thompson import ThompsonPolicy
from streams.core.policies.uniform import UniformPolicy

WIDTH = 20
SIGMAS = 5.0

scores = npst.arrays(np.float64, (3, WIDTH), elements=st.floats(-2.0, 2.0))
lengths = npst.arrays(np.int64, (3,), elements=st.integers(0, WIDTH))
uniforms = npst.arrays(np.float64, (3, 6), elements=st.floats(0.0, 1.0, exclude_max=True))
policies = st.sampled_from(
    [
        UniformPolicy(0.0),
        EpsilonGreedyPolicy(0.0, 0.0),
        EpsilonGreedyPolicy(0.2, 0.01),
        LinUCBPolicy(0.5, 0.01),
        SquareCBPolicy(20.0, 0.0),
        SquareCBPolicy(3.0, 0.05),
        ThompsonPolicy(0.3, 0.0),
        ThompsonPolicy(1.0, 0.01),
    ]
)
gammas = st.sampled_from([0.0, 1.0, 50.0, 1e4, 1e12])


def check_slates(drawn: Slates, n_items: np.ndarray) -> None:
    for slate, propensities, n in zip(drawn.slates, drawn.propensities, n_items, strict=True):
        filled = min(int(n), len(slate))
        assert (slate[filled:] == -1).all()
        assert np.isnan(propensities[filled:]).all()
        assert len(set(slate[:filled].tolist())) == filled
        assert ((slate[:filled] >= 0) & (slate[:filled] < n)).all()
        assert ((propensities[:filled] > 0.0) & (propensities[:filled] <= 1.0)).all()


def estimates(means: np.ndarray, examples: float = 100.0) -> Estimates:
    """Deviations go with the means, so that the highest estimate is not the surest."""
    return Estimates(means, 0.1 + 0.2 * np.abs(means), examples)


@given(policies, scores, lengths, uniforms)
def test_every_policy_fills_slates_without_repeats(
    policy: Policy, scores: np.ndarray, n_items: np.ndarray, uniforms: np.ndarray
) -> None:
    check_slates(policy.choose(estimates(scores), n_items, uniforms), n_items)


@given(policies, scores, npst.arrays(np.bool_, (3, WIDTH)))
def test_chances_sum_to_one_over_what_is_eligible_and_have_the_floor(
    policy: Policy, scores: np.ndarray, eligible: np.ndarray
) -> None:
    chances = policy.chances(estimates(scores), eligible)
    for chance, there in zip(chances, eligible, strict=True):
        assert (chance[~there] == 0.0).all()
        if there.any():
            assert chance.sum() == pytest.approx(1.0, abs=1e-12)
            assert chance[there].min() >= policy.floor / there.sum() - 1e-15


@given(lengths, uniforms)
def test_the_control_draws_uniformly(n_items: np.ndarray, uniforms: np.ndarray) -> None:
    drawn = UniformPolicy(0.0).choose(estimates(np.zeros((3, WIDTH))), n_items, uniforms)
    for propensities, n in zip(drawn.propensities, n_items.tolist(), strict=True):
        filled = min(n, len(propensities))
        assert propensities[:filled].tolist() == [1.0 / (n - slot) for slot in range(filled)]


@given(scores, lengths, st.sampled_from([0.0, 0.01]), st.floats(0.0, 1e9), uniforms, st.data())
def test_a_few_slates_of_squarecb_are_those_of_a_batch_to_the_bit(
    scores: np.ndarray, n_items: np.ndarray, floor: float, examples: float, uniforms: np.ndarray, data: st.DataObject
) -> None:
    preferred = data.draw(st.none() | npst.arrays(np.bool_, scores.shape))
    policy, there = SquareCBPolicy(20.0, floor), items_that_are(n_items, WIDTH)
    estimated = estimates(scores, examples)
    few = policy.choose(estimated, n_items, uniforms, preferred)
    wanted = there if preferred is None else preferred
    many = draw_slates(there, wanted, lambda eligible: policy.chances(estimated, eligible), uniforms)
    assert few.slates.tolist() == many.slates.tolist()
    assert few.propensities.tobytes() == many.propensities.tobytes()


@given(scores, npst.arrays(np.bool_, (3, WIDTH)), gammas)
def test_weights_sum_to_one_and_have_a_floor(scores: np.ndarray, eligible: np.ndarray, gamma: float) -> None:
    weights = squarecb.inverse_gap_weighting(scores, eligible, gamma)
    for weight, score, there in zip(weights, scores, eligible, strict=True):
        assert (weight[~there] == 0.0).all()
        if there.any():
            assert weight.sum() == pytest.approx(1.0, abs=1e-12)
            floor = 1.0 / (there.sum() + gamma * np.ptp(score[there]))
            assert weight[there].min() >= floor * (1.0 - 1e-9)
            assert weight[there].max() == pytest.approx(weight[np.where(there, score, -np.inf).argmax()])


def test_weights_are_those_of_the_paper() -> None:
    weights = squarecb.inverse_gap_weighting(np.array([[0.3, 0.5, 0.1]]), np.ones((1, 3), np.bool_), gamma=10.0)
    assert weights[0] == pytest.approx([1 / 5, 1 - 1 / 5 - 1 / 7, 1 / 7])


@given(scores)
def test_gamma_zero_is_uniform_and_a_huge_gamma_is_greedy(scores: np.ndarray) -> None:
    everything = np.ones_like(scores, np.bool_)
    assert squarecb.inverse_gap_weighting(scores, everything, 0.0) == pytest.approx(np.full_like(scores, 1 / WIDTH))
    scores = np.round(scores, 2) + np.arange(WIDTH) * 1e-4
    greedy = squarecb.inverse_gap_weighting(scores, everything, 1e12)
    assert (greedy.argmax(axis=1) == scores.argmax(axis=1)).all()
    assert greedy.max(axis=1) == pytest.approx(np.ones(len(scores)), abs=1e-6)


def test_gamma_grows_with_the_root_of_what_was_learned() -> None:
    assert squarecb.learning_gamma(20.0, 0) == 0.0
    assert squarecb.learning_gamma(20.0, 400) == 400.0


@given(policies, scores, uniforms, st.data())
def test_preferred_items_come_first_and_the_others_when_they_are_used_up(
    policy: Policy, scores: np.ndarray, uniforms: np.ndarray, data: st.DataObject
) -> None:
    preferred = data.draw(npst.arrays(np.bool_, scores.shape))
    drawn = policy.choose(estimates(scores), np.full(3, WIDTH), uniforms, preferred)
    for slate, wanted in zip(drawn.slates, preferred, strict=True):
        n_first = min(int(wanted.sum()), len(slate))
        assert wanted[slate[:n_first]].all()
        assert not wanted[slate[n_first:]].any()


def test_the_chance_of_a_slot_is_over_the_preferred_items_only() -> None:
    preferred = np.array([[True, False, True, False]])
    draws = np.array([[0.9, 0.9, 0.1, 0.1]])
    drawn = SquareCBPolicy(20.0, 0.0).choose(estimates(np.zeros((1, 4)), 0.0), np.array([4]), draws, preferred)
    assert drawn.slates.tolist() == [[2, 0, 1, 3]]
    assert drawn.propensities[0] == pytest.approx([1 / 2, 1.0, 1 / 2, 1.0])


@pytest.mark.parametrize(
    "policy",
    [
        UniformPolicy(0.0),
        EpsilonGreedyPolicy(0.3, 0.01),
        LinUCBPolicy(0.5, 0.2),
        SquareCBPolicy(0.0, 0.0),
        SquareCBPolicy(0.8, 0.05),
        ThompsonPolicy(0.8, 0.02),
    ],
    ids=lambda policy: type(policy).__name__,
)
def test_whole_slates_are_drawn_as_often_as_their_propensities_say(policy: Policy) -> None:
    n, n_items, n_slots = 60_000, 4, 2
    uniforms = np.random.default_rng(7).random((n, n_slots))
    estimated = estimates(np.tile([0.2, 0.5, 0.4, 0.0], (n, 1)))
    drawn = policy.choose(estimated, np.full(n, n_items), uniforms)
    total = 0.0
    for slate in permutations(range(n_items), n_slots):
        same = (drawn.slates == slate).all(axis=1)
        probability = float(drawn.propensities[same][0].prod())
        assert (drawn.propensities[same] == drawn.propensities[same][0]).all()
        deviation = np.sqrt(probability * (1.0 - probability) / n)
        assert abs(same.mean() - probability) < SIGMAS * deviation
        total += probability
    assert total == pytest.approx(1.0)


@pytest.mark.parametrize("extreme", [0.0, 1.0 - 2.0**-53])
@pytest.mark.parametrize("policy", [UniformPolicy(0.0), SquareCBPolicy(3.0, 0.01), ThompsonPolicy(0.3, 0.0)])
def test_the_ends_of_the_uniforms_draw_items_that_are_there(policy: Policy, extreme: float) -> None:
    estimated = estimates(np.random.default_rng(3).normal(size=(500, WIDTH)))
    n_items = np.random.default_rng(4).integers(0, WIDTH + 1, 500)
    check_slates(policy.choose(estimated, n_items, np.full((500, WIDTH), extreme)), n_items)
