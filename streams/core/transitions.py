"""The Q agent's transitions: from a decision that took effect to the next one of the session, or to the session's end.

A decision takes effect when its slate is seen, or at once when it is to show nothing. One whose slate was not seen
before the next decision changed nothing: the transition before it goes on through it, and what happens is credited to
the decision that was last shown, once.

A shopper's *walk* is the transition that is open, if any, and the decision that may yet take effect, if any. Within a
batch it may be longer, until its decisions are made.
"""

from typing import NamedTuple

from streams.core.policies.q_agent import NOTHING
from streams.core.row import Transition


class Step(NamedTuple):
    """A finished transition.

    Attributes:
        offset: Of the event that finished it.
        end: The decision that it leads to; ``None`` at the end of the session.
    """

    offset: int
    start: Transition
    end: Transition | None


def pay(walk: list[Transition], reward: float) -> None:
    """Credits what happened to the latest decision; one that never takes effect hands it on."""
    if walk:
        walk[-1].reward += reward


def settle(walk: list[Transition]) -> list[Step]:
    """Shortens a walk whose decisions are made, in place; returns the transitions that ended by showing nothing."""
    steps: list[Step] = []
    settled: list[Transition] = []
    for decision in walk:
        if settled and not _is_effective(settled[-1]):
            _hand_on(settled)
        if settled and _is_effective(decision):
            steps.append(Step(decision.offset, settled.pop(), decision))
        settled.append(decision)
    walk[:] = settled
    return steps


def show(walk: list[Transition], offset: int, decided_at: int) -> Step | None:
    """Lets the decision made at offset ``decided_at`` take effect: its slate was seen at ``offset``.

    Args:
        walk: Settled; changed in place.

    Returns:
        The transition that ends with that, if one was open.
    """
    latest = walk[-1] if walk else None
    if latest is None or latest.offset != decided_at or _is_effective(latest):
        return None
    latest.shown = True
    before = walk[:-1]
    for open_ in before:
        open_.reward += latest.reward
    latest.reward = 0.0
    walk[:] = [latest]
    return Step(offset, before[0], latest) if before else None


def end(walk: list[Transition], offset: int) -> list[Step]:
    """Ends a walk whose decisions are made, in place, with the session; returns what it comes to."""
    steps = settle(walk)
    if walk and not _is_effective(walk[-1]):
        _hand_on(walk)
    if walk:
        steps.append(Step(offset, walk.pop(), None))
    return steps


def _is_effective(decision: Transition) -> bool:
    return decision.shown or decision.action == NOTHING


def _hand_on(walk: list[Transition]) -> None:
    """Takes out the latest decision; what happened since belongs to the one before it, where there is one."""
    unseen = walk.pop()
    pay(walk, unseen.reward)
