"""Funnel world: immediate clicks and sales come from different candidate sources, so that planning ahead pays.

A visit goes from cold over interested to a full cart. ``related`` items raise interest and get few clicks; ``popular``
items get most clicks and seldom raise interest; ``trending`` items fill the cart of an interested visitor; a reminder
of the ``cart`` sells its content. Showing nothing has no reward. The best value is computed by value iteration.
"""

from collections.abc import Callable, Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from streams.core.policies import q_agent
from streams.core.retrieval.shortlist import SOURCE_NAMES

Float64Array = NDArray[np.float64]

N_STATES: Final = 3
"""Cold, interested, cart full."""
_COLD, _INTERESTED, _FULL = range(N_STATES)
_ENDS: Final = 0.15
"""Probability that a visit ends after a decision."""
_SOLD: Final = 5.0


def _funnel() -> tuple[Float64Array, Float64Array]:
    """Returns transition probabilities, ``(N_STATES, N_ACTIONS, N_STATES)``, and mean rewards by state and action."""
    moves = np.tile(np.eye(N_STATES)[:, None, :], (1, q_agent.N_ACTIONS, 1))
    paid = np.zeros((N_STATES, q_agent.N_ACTIONS))
    related, trending, cart, bought, popular = range(len(SOURCE_NAMES))
    paid[:, related], paid[:, trending], paid[:, bought], paid[:, popular] = 0.1, 0.05, 0.15, 0.3
    moves[_COLD, related] = [0.5, 0.5, 0.0]
    moves[_COLD, popular] = [0.9, 0.1, 0.0]
    moves[_INTERESTED, popular] = [0.1, 0.8, 0.1]
    moves[_INTERESTED, trending] = [0.1, 0.5, 0.4]
    paid[_FULL, cart] = 0.6 * _SOLD
    moves[_FULL, cart] = [0.6, 0.0, 0.4]
    return moves, paid


MOVES, PAID = _funnel()


def best_rate() -> float:
    """Returns the best policy's mean reward of a decision, over visits that all begin cold."""
    values = np.zeros(N_STATES)
    for _ in range(1000):
        values = (PAID + (1.0 - _ENDS) * (MOVES @ values)).max(axis=1)
    # The mean length of a visit is 1 / _ENDS decisions, independent of the policy.
    return float(values[_COLD]) * _ENDS


def run_q(
    seeds: Sequence[int],
    n_decisions: int,
    gamma: float,
    epsilon: float,
    learning_rate: float,
    advance: Callable[[int], None],
) -> Float64Array:
    """Runs the Q agent of production; returns its expected rewards, ``(n_worlds, n_decisions)``."""
    tables = np.zeros((len(seeds), q_agent.N_STATES, q_agent.N_ACTIONS))
    visits = np.zeros(tables.shape, np.int64)
    places = np.arange(len(seeds))
    masks = np.full(len(seeds), (1 << q_agent.N_ACTIONS) - 1)

    def choose(state: NDArray[np.int64], draws: Float64Array) -> NDArray[np.int64]:
        return q_agent.choose_sources(tables[places, state], masks, epsilon, draws[0], draws[1]).sources

    def learn(
        state: NDArray[np.int64], action: NDArray[np.int64], rewards: Float64Array, following: NDArray[np.int64]
    ) -> None:
        steps = zip(state.tolist(), action.tolist(), rewards.tolist(), following.tolist(), strict=True)
        for place, (start, chosen, reward, end) in enumerate(steps):
            table, mask = tables[place], int(masks[place])
            q_agent.learn(table, visits[place], start, chosen, reward, end, mask, gamma, learning_rate)

    return _play(seeds, n_decisions, choose, learn, advance)


def run_fixed(seeds: Sequence[int], n_decisions: int, action: int, advance: Callable[[int], None]) -> Float64Array:
    """Runs a policy that always takes one action; returns its expected rewards, ``(n_worlds, n_decisions)``."""
    always = np.full(len(seeds), action)
    return _play(seeds, n_decisions, lambda state, draws: always, lambda *step: None, advance)


def _play(
    seeds: Sequence[int],
    n_decisions: int,
    choose: Callable[[NDArray[np.int64], Float64Array], NDArray[np.int64]],
    learn: Callable[[NDArray[np.int64], NDArray[np.int64], Float64Array, NDArray[np.int64]], None],
    advance: Callable[[int], None],
) -> Float64Array:
    draws = np.stack([np.random.default_rng([seed, 4]).random((n_decisions, 5)) for seed in seeds], axis=2)
    state = np.full(len(seeds), _COLD)
    earned = np.empty((len(seeds), n_decisions))
    upto = MOVES.cumsum(axis=2)
    for number in range(n_decisions):
        explores, picks, luck, moves, ends = draws[number]
        action = choose(state, np.stack([explores, picks]))
        mean = PAID[state, action]
        earned[:, number] = mean
        size = np.where(mean > 1.0, _SOLD, 1.0)
        rewards = np.where(luck < mean / size, size, 0.0)
        following = (upto[state, action] <= moves[:, None]).sum(axis=1)
        ended = ends < _ENDS
        learn(state, action, rewards, np.where(ended, -1, following))
        state = np.where(ended, _COLD, np.minimum(following, N_STATES - 1))
        if number % 500 == 499:
            advance(500 * len(seeds))
    return earned
