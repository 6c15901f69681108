"""Each kind of policy does what its paper says; Thompson sampling is tested against draws from the posterior."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst
from scipy.special import ndtr

from streams.contract.settings.policies import (
    EpsilonGreedy,
    Greedy,
    LinUCB,
    Policy,
    Ranked,
    SquareCB,
    Thompson,
    Uniform,
)
from streams.core.policies.policy import Estimates
from streams.core.policies.registry import new_policy
from streams.core.policies.squarecb import SquareCBPolicy
from streams.core.policies.thompson import normal_cdf, probabilities_of_being_highest

WIDTH = 20
SIGMAS = 5.0
MEANS = np.array([[0.3, 0.5, 0.1, 0.5, 0.9]])
DEVIATIONS = np.array([[0.1, 0.2, 0.9, 0.0, 0.1]])
ELIGIBLE = np.array([[True, True, True, True, False]])


def probabilities(configuration: Policy, examples: float = 0.0) -> list[float]:
    found: list[float] = (
        new_policy(configuration).probabilities(Estimates(MEANS, DEVIATIONS, examples), ELIGIBLE)[0].tolist()
    )
    return found


@pytest.mark.parametrize(
    ("configuration", "expected"),
    [
        (Uniform(), [0.25, 0.25, 0.25, 0.25]),
        (Ranked(floor=0.0), [1.0, 0.0, 0.0, 0.0]),
        (Ranked(floor=0.2), [0.85, 0.05, 0.05, 0.05]),
        (Greedy(floor=0.0), [0.0, 1.0, 0.0, 0.0]),
        (Greedy(floor=0.2), [0.05, 0.85, 0.05, 0.05]),
        (EpsilonGreedy(epsilon=0.4, floor=0.0), [0.1, 0.7, 0.1, 0.1]),
        (LinUCB(alpha=0.0, floor=0.0), [0.0, 1.0, 0.0, 0.0]),
        (LinUCB(alpha=1.0, floor=0.0), [0.0, 0.0, 1.0, 0.0]),
        (LinUCB(alpha=0.4, floor=0.0), [0.0, 1.0, 0.0, 0.0]),
        (Thompson(scale=0.0, floor=0.0), [0.0, 0.5, 0.0, 0.5]),
    ],
)
def test_chances_are_those_of_the_definition(configuration: Policy, expected: list[float]) -> None:
    assert probabilities(configuration) == pytest.approx([*expected, 0.0])


def test_squarecb_weighs_inverse_gaps_by_what_was_learned() -> None:
    gamma = 2.0 * 10.0
    weights = [1.0 / (4.0 + gamma * gap) for gap in (0.2, 0.4, 0.0)]
    assert probabilities(SquareCB(exploration=2.0, floor=0.0), 100.0) == pytest.approx(
        [weights[0], 1.0 - sum(weights), weights[1], weights[2], 0.0]
    )


def test_the_table_of_the_normal_distribution_is_exact_to_half_a_millionth() -> None:
    z = np.concatenate([np.linspace(-12.0, 12.0, 100_001), [-1e300, 1e300]])
    assert normal_cdf(z) == pytest.approx(ndtr(z), abs=5e-7)
    assert (np.diff(normal_cdf(z[:-2])) >= 0.0).all()


@pytest.mark.parametrize("spread", [1.0, 10.0])
def test_thompson_sampling_is_as_often_the_highest_as_draws_from_the_posterior_are(spread: float) -> None:
    random = np.random.default_rng(5)
    means = random.normal(0.1, 0.05, (1, WIDTH))
    deviations = 0.1 * spread ** -random.random((1, WIDTH))
    eligible = random.random((1, WIDTH)) < 0.8
    computed = probabilities_of_being_highest(means, deviations, eligible)[0]
    n = 400_000
    draws = np.where(eligible, random.normal(means, deviations, (n, WIDTH)), -np.inf)
    observed = np.bincount(draws.argmax(axis=1), minlength=WIDTH) / n
    assert (np.abs(observed - computed) < SIGMAS * np.sqrt(computed * (1.0 - computed) / n) + 1e-4).all()


@given(
    npst.arrays(np.float64, (2, WIDTH), elements=st.floats(-2.0, 2.0)),
    npst.arrays(np.float64, (2, WIDTH), elements=st.floats(0.0, 2.0)),
    npst.arrays(np.bool_, (2, WIDTH)),
)
def test_probabilities_of_being_highest_sum_to_one(
    means: np.ndarray, deviations: np.ndarray, eligible: np.ndarray
) -> None:
    computed = probabilities_of_being_highest(means, deviations, eligible)
    assert np.isfinite(computed).all()
    assert (computed >= 0.0).all()
    assert (computed[~eligible] == 0.0).all()
    assert computed.sum(axis=1) == pytest.approx(eligible.any(axis=1).astype(float))


def test_of_two_normal_rewards_the_chance_is_that_of_their_difference() -> None:
    computed = probabilities_of_being_highest(np.array([[0.3, 0.2]]), np.array([[0.3, 0.4]]), np.ones((1, 2), np.bool_))
    assert computed[0, 0] == pytest.approx(0.5792597, abs=1e-4)  # Phi(0.1 / 0.5)


def test_a_policy_that_knows_nothing_but_its_gamma_is_greedy_when_sure() -> None:
    sure = SquareCBPolicy(20.0, 0.0).probabilities(Estimates(MEANS, DEVIATIONS, 1e16), ELIGIBLE)
    assert sure[0, [0, 2]] == pytest.approx([0.0, 0.0], abs=1e-6)
