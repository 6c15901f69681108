"""The Q agent finds the best sources, never chooses one that has no candidate, and knows its probabilities."""

from itertools import product

import numpy as np
import pytest

from streams.core.features.session import Session
from streams.core.policies.q_agent import (
    N_ACTIONS,
    N_STATES,
    NOTHING,
    action_masks,
    choose_sources,
    learn,
    session_state,
)


def test_states_are_numbered_densely_from_zero() -> None:
    seen = {
        session_state(Session(views=views, searches=searches, clicks=clicks, impressions=shown, purchases=bought), cart)
        for views, searches, clicks, shown, bought in product(range(12), (0, 1), range(4), (0, 5), (0, 1))
        for cart in (False, True)
    }
    assert seen == set(range(N_STATES))


@pytest.mark.parametrize("mask", range(1, 1 << N_ACTIONS))
def test_kinds_are_chosen_as_often_as_their_probabilities_say(mask: int) -> None:
    n, epsilon = 20_000, 0.3
    values = np.tile([1.0, 3.0, 3.0, 2.0, 0.5, 2.5], (n, 1))
    explores, picks = np.random.default_rng(mask).random((2, n))
    chosen = choose_sources(values, np.full(n, mask), epsilon, explores, picks)
    available = [source for source in range(N_ACTIONS) if mask >> source & 1]
    total = 0.0
    for source in range(N_ACTIONS):
        same = chosen.sources == source
        if source not in available:
            assert not same.any()
            continue
        probability = float(chosen.probabilities[same][0])
        assert (chosen.probabilities[same] == probability).all()
        assert abs(same.mean() - probability) < 5.0 * np.sqrt(probability * (1.0 - probability) / n) + 1e-12
        total += probability
    assert total == pytest.approx(1.0)
    greedy = max(available, key=lambda source: (values[0, source], -source))
    assert chosen.probabilities[chosen.sources == greedy][0] == pytest.approx(1.0 - epsilon + epsilon / len(available))


def test_without_candidates_nothing_is_shown_for_sure() -> None:
    for explore in (0.1, 0.9):
        chosen = choose_sources(
            np.ones((1, N_ACTIONS)), action_masks(np.zeros((1, 0), np.int64)), 0.5, np.array([explore]), np.array([0.9])
        )
        assert chosen.sources.tolist() == [NOTHING]
        assert chosen.probabilities.tolist() == [1.0]


def test_values_become_those_of_a_known_decision_process() -> None:
    """Two states; action 1 in state 0 leads to state 1 for nothing, where action 0 pays 1 and ends; the rest ends."""
    table, visits = np.zeros((2, N_ACTIONS)), np.zeros((2, N_ACTIONS), np.int64)
    random = np.random.default_rng(5)
    for _ in range(4_000):
        state, action = (int(number) for number in random.integers(0, 2, 2))
        if (state, action) == (0, 1):
            learn(table, visits, 0, 1, 0.0, 1, 0b11, 0.9, 0.05)
        else:
            reward = {(0, 0): 0.5, (1, 0): float(random.random() < 0.7), (1, 1): 0.0}[state, action]
            learn(table, visits, state, action, reward, -1, 0, 0.9, 0.05)
    spread = np.sqrt(0.05 / (2 - 0.05) * 0.7 * 0.3)
    assert abs(table[1, 0] - 0.7) < 5 * spread
    assert abs(table[0, 1] - 0.9 * 0.7) < 5 * spread
    assert table[0, 0] == pytest.approx(0.5)
    assert not table[:, 2:].any()
    assert table[1, 1] == 0.0
    assert visits.sum() == 4_000


def test_a_kind_that_is_not_available_next_is_no_reason_for_hope() -> None:
    table, visits = np.array([[0.0] * N_ACTIONS, [2.0, 9.0, 1.0, 3.0, 0.0, 0.0]]), np.zeros((2, N_ACTIONS), np.int64)
    learn(table, visits, 0, 0, 1.0, 1, 0b1101, 0.5, 0.1)
    assert table[0, 0] == 1.0 + 0.5 * 3.0
    learn(table, visits, 0, 1, 1.0, -1, 0, 0.5, 0.1)
    assert table[0, 1] == 1.0


def test_early_visits_are_averaged_and_later_ones_weigh_alike() -> None:
    table, visits = np.zeros((1, N_ACTIONS)), np.zeros((1, N_ACTIONS), np.int64)
    for reward in (4.0, 0.0):
        learn(table, visits, 0, 0, reward, -1, 0, 0.9, 0.1)
    assert table[0, 0] == 2.0
    visits[0, 0] = 500
    learn(table, visits, 0, 0, 12.0, -1, 0, 0.9, 0.1)
    assert table[0, 0] == pytest.approx(3.0)
