"""The numbers of the uniform policy and of inverse gap weighting are those of their definitions."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from streams.core.policies import squarecb
from streams.core.policies.policy import Estimates, UniformPolicy
from streams.core.policies.squarecb import SquareCBPolicy

WIDTH = 20

scores = npst.arrays(np.float64, (3, WIDTH), elements=st.floats(-2.0, 2.0))
lengths = npst.arrays(np.int64, (3,), elements=st.integers(0, WIDTH))
uniforms = npst.arrays(np.float64, (3, 6), elements=st.floats(0.0, 1.0, exclude_max=True))
gammas = st.sampled_from([0.0, 1.0, 50.0, 1e4, 1e12])


def estimates(means: np.ndarray, examples: float = 100.0) -> Estimates:
    """Deviations go with the means, so that the highest estimate is not the surest."""
    return Estimates(means, 0.1 + 0.2 * np.abs(means), examples)


@given(lengths, uniforms)
def test_the_uniform_policy_draws_uniformly(n_items: np.ndarray, uniforms: np.ndarray) -> None:
    drawn = UniformPolicy(0.0).choose(estimates(np.zeros((3, WIDTH))), n_items, uniforms)
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


def test_the_chance_of_a_slot_is_over_the_preferred_items_only() -> None:
    preferred = np.array([[True, False, True, False]])
    draws = np.array([[0.9, 0.9, 0.1, 0.1]])
    drawn = SquareCBPolicy(20.0, 0.0).choose(estimates(np.zeros((1, 4)), 0.0), np.array([4]), draws, preferred)
    assert drawn.slates.tolist() == [[2, 0, 1, 3]]
    assert drawn.propensities[0] == pytest.approx([1 / 2, 1.0, 1 / 2, 1.0])
