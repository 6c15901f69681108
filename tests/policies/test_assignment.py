"""Who is on which policy, what a decision is drawn from, and what it is called, depend on nothing but their names."""

from hashlib import shake_128

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.core.behaviour.decider import decision_id
from streams.core.experiments.assignment import assign
from streams.core.sampling import draw

SHARES = {"random": 0.2, "bandit": 0.5, "q": 0.3}
N = 20_000


def test_shares_of_shoppers_are_those_declared() -> None:
    assigned = [assign(f"user-{user}", SHARES, "salt") for user in range(N)]
    for policy, share in SHARES.items():
        assert abs(assigned.count(policy) / N - share) < 5 * np.sqrt(share * (1 - share) / N)


def test_another_salt_is_an_independent_draw() -> None:
    both = [assign(f"user-{user}", SHARES, "a") == assign(f"user-{user}", SHARES, "b") for user in range(N)]
    agreeing = sum(share**2 for share in SHARES.values())
    assert abs(np.mean(both) - agreeing) < 5 * np.sqrt(agreeing * (1 - agreeing) / N)


@given(st.text(), st.text(max_size=200))
def test_the_order_of_shares_does_not_matter_and_nobody_is_on_an_empty_share(user_id: str, salt: str) -> None:
    policy = assign(user_id, SHARES | {"retired": 0.0}, salt)
    assert policy == assign(user_id, dict(reversed(SHARES.items())), salt)
    assert policy != "retired"


@given(st.integers(0, 100), st.integers(0, 100), st.integers(1, 100))
def test_nobody_changes_hands_but_from_a_policy_that_lost_or_to_one_that_gained(
    before: int, after: int, control: int
) -> None:
    users = [f"user-{user}" for user in range(200)]
    old = {"random": control / 200, "q": before / 200, "bandit": 1.0 - (control + before) / 200}
    new = {"random": control / 200, "q": after / 200, "bandit": 1.0 - (control + after) / 200}
    for user in users:
        here, there = assign(user, old, "salt"), assign(user, new, "salt")
        assert here == there or new[here] < old[here] or new[there] > old[there]


def test_a_change_of_shares_moves_hardly_more_shoppers_than_it_must() -> None:
    new = {"random": 0.2, "bandit": 0.4, "q": 0.4}
    moved = np.mean([assign(f"user-{user}", SHARES, "") != assign(f"user-{user}", new, "") for user in range(N)])
    assert 0.1 - 5 * np.sqrt(0.1 / N) < moved < 0.15


def test_uniforms_are_uniform_and_independent() -> None:
    numbers = draw([f"clickstream-0-{offset}" for offset in range(N)], 1, 4)
    assert ((numbers >= 0.0) & (numbers < 1.0)).all()
    assert np.abs(numbers.mean(axis=0) - 0.5).max() < 5 * np.sqrt(1 / 12 / N)
    assert np.abs(numbers.var(axis=0) - 1 / 12).max() < 5 * np.sqrt(1 / 180 / N)
    correlations = np.corrcoef(np.vstack([numbers[1:].T, numbers[:-1].T]))
    assert np.abs(correlations - np.eye(8)).max() < 5 / np.sqrt(N)


def test_another_event_or_seed_draws_otherwise() -> None:
    refs = ["clickstream-0-1", "clickstream-1-1"]
    assert draw(refs, 0, 7).tolist() == draw(refs, 0, 7).tolist()
    assert len({tuple(numbers) for seed in (0, 1) for numbers in draw(refs, seed, 2).tolist()}) == 4


def test_uniforms_are_the_first_53_bits_of_each_word_of_the_events_digest() -> None:
    refs = [f"clickstream-0-{offset}" for offset in range(9)]
    for ref, numbers in zip(refs, draw(refs, 7, 4).tolist(), strict=True):
        digest = shake_128(f"7\0{ref}".encode()).digest(32)
        words = [int.from_bytes(digest[begin : begin + 8], "little") for begin in range(0, 32, 8)]
        assert numbers == [(word >> 11) / 2**53 for word in words]


NAMED = ("clickstream-0-1", "bandit", ["a", "b"], [0.5, 0.25], {"bandit": 3, "q": 0})


@pytest.mark.parametrize(
    "other",
    [
        ("clickstream-0-2", "bandit", ["a", "b"], [0.5, 0.25], {"bandit": 3, "q": 0}),
        ("clickstream-0-1", "random", ["a", "b"], [0.5, 0.25], {"bandit": 3, "q": 0}),
        ("clickstream-0-1", "bandit", ["b", "a"], [0.5, 0.25], {"bandit": 3, "q": 0}),
        ("clickstream-0-1", "bandit", ["ab"], [0.5, 0.25], {"bandit": 3, "q": 0}),
        ("clickstream-0-1", "bandit", ["a", "b"], [0.5, 0.25 + 2**-54], {"bandit": 3, "q": 0}),
        ("clickstream-0-1", "bandit", ["a", "b"], [0.5, 0.25], {"bandit": 4, "q": 0}),
        ("clickstream-0-1", "bandit", ["a", "b"], [0.5, 0.25], {"bandit": 3, "q": 1}),
    ],
)
def test_another_decision_has_another_name(other: tuple[str, str, list[str], list[float], dict[str, int]]) -> None:
    assert decision_id(*other) != decision_id(*NAMED)


def test_a_decision_is_named_after_its_event() -> None:
    name = decision_id(*NAMED)
    ref, _, digest = name.rpartition(".")
    assert ref == "clickstream-0-1"
    assert 8 <= len(digest) <= 12
    assert int(digest, 16) >= 0
    assert name == decision_id("clickstream-0-1", "bandit", ["a", "b"], [0.5, 0.25], {"q": 0, "bandit": 3})
