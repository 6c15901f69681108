"""Tabular Q agent: chooses a candidate source by the state of the session, or to show nothing.

References:
    Watkins and Dayan (1992), "Q-learning", Machine Learning 8.
"""

from bisect import bisect_right
from typing import Final, NamedTuple

import numpy as np

from streams.contract.arrays import Float64Array, Int64Array
from streams.contract.records import NO_SOURCE
from streams.core.features.session import Session
from streams.core.retrieval.shortlist import SOURCE_NAMES

NOTHING: Final = len(SOURCE_NAMES)
"""Action after those of the sources: show nothing. It is always available."""
N_ACTIONS: Final = NOTHING + 1
_VIEWS: Final = (3, 5, 9)
_CLICKS: Final = (1, 2)
N_STATES: Final = (len(_VIEWS) + 1) * 2 * (len(_CLICKS) + 1) * 2
_BITS: Final = 1 << np.arange(N_ACTIONS)


def session_state(session: Session, cart_not_empty: bool) -> int:
    """Returns the number of a session's state: views, cart, clicks on recommendations, whether something was bought."""
    state = bisect_right(_VIEWS, session.views)
    state = state * 2 + cart_not_empty
    state = state * (len(_CLICKS) + 1) + bisect_right(_CLICKS, session.clicks)
    return state * 2 + (session.purchases > 0)


def action_masks(sources: Int64Array) -> Int64Array:
    """Returns the available actions as bits: the sources that have a candidate, and to show nothing.

    Args:
        sources: Source of each decision's candidates, ``(n, n_items)``, :data:`NO_SOURCE` for padding.

    Returns:
        ``(n,)``.

    >>> action_masks(np.array([[2, 0, 2, NO_SOURCE]])) == 1 << 0 | 1 << 2 | 1 << NOTHING
    array([ True])
    """
    masks: Int64Array = np.bitwise_or.reduce(1 << np.where(sources == NO_SOURCE, NOTHING, sources), axis=1)
    return masks | 1 << NOTHING


class ChosenSources(NamedTuple):
    """Candidate sources, or :data:`NOTHING`, and the probabilities of these choices, ``(n,)`` each."""

    sources: Int64Array
    probabilities: Float64Array


def choose_sources(
    values: Float64Array, masks: Int64Array, epsilon: float, explores: Float64Array, picks: Float64Array
) -> ChosenSources:
    """Chooses epsilon-greedily among the available actions; the greedy action is the lowest of equally good ones.

    Args:
        values: Action values in the state of each decision, ``(n, N_ACTIONS)``.
        masks: See :func:`action_masks`, ``(n,)``.
        explores: Uniforms that decide whether to explore, ``(n,)``.
        picks: Uniforms that pick an action when exploring, ``(n,)``.
    """
    available = (masks[:, None] & _BITS) != 0
    n_available = available.sum(axis=1)
    greedy = np.where(available, values, -np.inf).argmax(axis=1)
    # A uniform picks the nth available action, counted from the lowest.
    nth = np.minimum((picks * n_available).astype(np.int64), n_available - 1)
    picked = (available.cumsum(axis=1) > nth[:, None]).argmax(axis=1)
    sources = np.where(explores < epsilon, picked, greedy)
    return ChosenSources(sources, epsilon / n_available + np.where(sources == greedy, 1.0 - epsilon, 0.0))


def learn(
    table: Float64Array,
    visits: Int64Array,
    state: int,
    action: int,
    reward: float,
    next_state: int,
    next_mask: int,
    gamma: float,
    learning_rate: float,
) -> None:
    """Learns one step, in place; only actions of ``next_mask`` count as next actions.

    The step size is one over the visits, but at least ``learning_rate``.

    Args:
        table: Values, ``(N_STATES, N_ACTIONS)``.
        next_state: -1 for a terminal step.
    """
    visits[state, action] += 1
    future = 0.0
    if next_state >= 0:
        values = table[next_state].tolist()
        future = max(value for action, value in enumerate(values) if next_mask >> action & 1)
    step = max(learning_rate, 1.0 / float(visits[state, action]))
    table[state, action] += step * (reward + gamma * future - table[state, action])
