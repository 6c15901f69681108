"""The tabular Q agent: which kind of recommendation to make in which state of a session, or none at all.

References:
    Watkins and Dayan (1992), "Q-learning", Machine Learning 8.
"""

from bisect import bisect_right
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from streams.core.features.session import Session
from streams.core.retrieval.shortlist import KINDS

NOTHING: Final = len(KINDS)
"""The action after the kinds: to show nothing. It is always available."""
N_ACTIONS: Final = NOTHING + 1
NO_KIND: Final = -1
"""What policies that choose no kind have chosen."""
_VIEWS: Final = (3, 5, 9)
_CLICKS: Final = (1, 2)
N_STATES: Final = (len(_VIEWS) + 1) * 2 * (len(_CLICKS) + 1) * 2
_BITS: Final = 1 << np.arange(N_ACTIONS)

Table = NDArray[np.float64]
"""Values, ``(N_STATES, N_ACTIONS)``."""


def session_state(session: Session, cart_not_empty: bool) -> int:
    """Numbers the state of a session: views, cart, clicks on recommendations, whether something was bought."""
    state = bisect_right(_VIEWS, session.views)
    state = state * 2 + cart_not_empty
    state = state * (len(_CLICKS) + 1) + bisect_right(_CLICKS, session.clicks)
    return state * 2 + (session.purchases > 0)


def action_masks(kinds: NDArray[np.int64]) -> NDArray[np.int64]:
    """Returns the actions that may be chosen as bits: the kinds that have a candidate, and to show nothing.

    Args:
        kinds: Of each decision's candidates, ``(n, n_items)``, :data:`NO_KIND` for none.

    Returns:
        ``(n,)``.

    >>> action_masks(np.array([[2, 0, 2, NO_KIND]])) == 1 << 0 | 1 << 2 | 1 << NOTHING
    array([ True])
    """
    masks: NDArray[np.int64] = np.bitwise_or.reduce(1 << np.where(kinds == NO_KIND, NOTHING, kinds), axis=1)
    return masks | 1 << NOTHING


class ChosenKinds(NamedTuple):
    """Kinds, or :data:`NOTHING`, and the probabilities of these choices, ``(n,)`` each."""

    kinds: NDArray[np.int64]
    probabilities: NDArray[np.float64]


def choose_kinds(
    values: NDArray[np.float64],
    masks: NDArray[np.int64],
    epsilon: float,
    explores: NDArray[np.float64],
    picks: NDArray[np.float64],
) -> ChosenKinds:
    """Chooses epsilon-greedily among the actions that are available; the lowest of equally good ones is the greedy one.

    Args:
        values: Of the state of each decision, ``(n, N_ACTIONS)``.
        masks: See :func:`action_masks`, ``(n,)``.
        explores: Uniforms that say whether to explore, ``(n,)``.
        picks: Uniforms that pick among the actions when exploring, ``(n,)``.
    """
    open_kinds = (masks[:, None] & _BITS) != 0
    n_open = open_kinds.sum(axis=1)
    greedy = np.where(open_kinds, values, -np.inf).argmax(axis=1)
    # The pick-th open action, counted from the lowest.
    nth = np.minimum((picks * n_open).astype(np.int64), n_open - 1)
    picked = (open_kinds.cumsum(axis=1) > nth[:, None]).argmax(axis=1)
    kinds = np.where(explores < epsilon, picked, greedy)
    return ChosenKinds(kinds, epsilon / n_open + np.where(kinds == greedy, 1.0 - epsilon, 0.0))


def learn(
    table: Table,
    visits: NDArray[np.int64],
    state: int,
    action: int,
    reward: float,
    next_state: int,
    next_mask: int,
    gamma: float,
    learning_rate: float,
) -> None:
    """Learns one step in place; a terminal one has ``next_state`` -1, and an action that was masked is no option.

    The step size falls as one over the visits until it reaches ``learning_rate``.
    """
    visits[state, action] += 1
    future = 0.0
    if next_state >= 0:
        values = table[next_state].tolist()
        future = max(value for action, value in enumerate(values) if next_mask >> action & 1)
    step = max(learning_rate, 1.0 / float(visits[state, action]))
    table[state, action] += step * (reward + gamma * future - table[state, action])
