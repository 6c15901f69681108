"""Slates have nothing twice, and their propensities are exact: they sum to one and are what is observed."""

from itertools import permutations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from streams.core.policies import squarecb, uniform
from streams.core.policies.slates import Slates

WIDTH = 20
SIGMAS = 5.0

scores = npst.arrays(np.float64, (3, WIDTH), elements=st.floats(-2.0, 2.0))
lengths = npst.arrays(np.int64, (3,), elements=st.integers(0, WIDTH))
uniforms = npst.arrays(np.float64, (3, 6), elements=st.floats(0.0, 1.0, exclude_max=True))
gammas = st.sampled_from([0.0, 1.0, 50.0, 1e4, 1e12])


def check_slates(drawn: Slates, n_items: np.ndarray) -> None:
    for slate, propensities, n in zip(drawn.slates, drawn.propensities, n_items, strict=True):
        filled = min(int(n), len(slate))
        assert (slate[filled:] == -1).all()
        assert np.isnan(propensities[filled:]).all()
        assert len(set(slate[:filled].tolist())) == filled
        assert ((slate[:filled] >= 0) & (slate[:filled] < n)).all()
        assert ((propensities[:filled] > 0.0) & (propensities[:filled] <= 1.0)).all()


@given(scores, lengths, gammas, uniforms)
def test_squarecb_fills_slates_without_repeats(
    scores: np.ndarray, n_items: np.ndarray, gamma: float, uniforms: np.ndarray
) -> None:
    check_slates(squarecb.choose(scores, n_items, gamma, uniforms), n_items)


@given(lengths, uniforms)
def test_the_control_fills_slates_without_repeats_and_uniformly(n_items: np.ndarray, uniforms: np.ndarray) -> None:
    drawn = uniform.choose(n_items, uniforms, WIDTH)
    check_slates(drawn, n_items)
    for propensities, n in zip(drawn.propensities, n_items.tolist(), strict=True):
        filled = min(n, len(propensities))
        assert propensities[:filled].tolist() == [1.0 / (n - slot) for slot in range(filled)]


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


@given(scores, gammas, uniforms, st.data())
def test_preferred_items_come_first_and_the_others_when_they_are_used_up(
    scores: np.ndarray, gamma: float, uniforms: np.ndarray, data: st.DataObject
) -> None:
    preferred = data.draw(npst.arrays(np.bool_, scores.shape))
    drawn = squarecb.choose(scores, np.full(3, WIDTH), gamma, uniforms, preferred)
    for slate, wanted in zip(drawn.slates, preferred, strict=True):
        n_first = min(int(wanted.sum()), len(slate))
        assert wanted[slate[:n_first]].all()
        assert not wanted[slate[n_first:]].any()


def test_the_chance_of_a_slot_is_over_the_preferred_items_only() -> None:
    preferred = np.array([[True, False, True, False]])
    drawn = squarecb.choose(np.zeros((1, 4)), np.array([4]), 0.0, np.array([[0.9, 0.9, 0.1, 0.1]]), preferred)
    assert drawn.slates.tolist() == [[2, 0, 1, 3]]
    assert drawn.propensities[0] == pytest.approx([1 / 2, 1.0, 1 / 2, 1.0])


@pytest.mark.parametrize("gamma", [None, 0.0, 8.0])
def test_whole_slates_are_drawn_as_often_as_their_propensities_say(gamma: float | None) -> None:
    n, n_items, n_slots = 60_000, 4, 2
    uniforms = np.random.default_rng(7).random((n, n_slots))
    estimates = np.tile([0.2, 0.5, 0.4, 0.0], (n, 1))
    lengths = np.full(n, n_items)
    drawn = (
        uniform.choose(lengths, uniforms, n_items)
        if gamma is None
        else squarecb.choose(estimates, lengths, gamma, uniforms)
    )
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
def test_the_ends_of_the_uniforms_draw_items_that_are_there(extreme: float) -> None:
    estimates = np.random.default_rng(3).normal(size=(500, WIDTH))
    n_items = np.random.default_rng(4).integers(0, WIDTH + 1, 500)
    ends = np.full((500, WIDTH), extreme)
    check_slates(squarecb.choose(estimates, n_items, 30.0, ends), n_items)
    check_slates(uniform.choose(n_items, ends, WIDTH), n_items)
