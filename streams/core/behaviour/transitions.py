"""The Q agent's transitions: from a decision that took effect to the next one of the session, or to the session's end.

A decision takes effect when its slate is seen, or at once if it shows nothing. A decision whose slate was not seen
before the next decision has no effect: the transition before it continues, and rewards are credited once, to the
decision that was shown last.

A shopper's *open transitions* are the transition that has taken effect, if any, and the decision that may still take
effect, if any. Within a batch there may be more, until its decisions are made.
"""

from typing import NamedTuple

from streams.core.behaviour.row import Transition
from streams.core.policies.q_agent import NOTHING


class Step(NamedTuple):
    """A finished transition.

    Attributes:
        offset: Source offset of the event that finished it.
        end: Next decision; ``None`` at the end of the session.
    """

    offset: int
    start: Transition
    end: Transition | None


class EndedSession(NamedTuple):
    """Transitions that were open when their session ended; some of their decisions may still be pending."""

    offset: int
    open_transitions: list[Transition]


def credit(open_transitions: list[Transition], reward: float) -> None:
    """Credits a reward to the latest decision; if that never takes effect, the one before gets it."""
    if open_transitions:
        open_transitions[-1].reward += reward


def resolve(open_transitions: list[Transition]) -> list[Step]:
    """Resolves decisions that have been made, in place; returns the transitions that a decision for nothing ended."""
    steps: list[Step] = []
    resolved: list[Transition] = []
    for decision in open_transitions:
        if resolved and not _is_effective(resolved[-1]):
            _pass_back(resolved)
        if resolved and _is_effective(decision):
            steps.append(Step(decision.offset, resolved.pop(), decision))
        resolved.append(decision)
    open_transitions[:] = resolved
    return steps


def show(open_transitions: list[Transition], offset: int, decided_at: int) -> Step | None:
    """Makes the decision at offset ``decided_at`` effective: its slate was seen at ``offset``.

    Args:
        open_transitions: Resolved; changed in place.

    Returns:
        The transition that this ends, if one was open.
    """
    latest = open_transitions[-1] if open_transitions else None
    if latest is None or latest.offset != decided_at or _is_effective(latest):
        return None
    latest.shown = True
    before = open_transitions[:-1]
    for open_ in before:
        open_.reward += latest.reward
    latest.reward = 0.0
    open_transitions[:] = [latest]
    return Step(offset, before[0], latest) if before else None


def end(open_transitions: list[Transition], offset: int) -> list[Step]:
    """Ends the transitions of a session whose decisions have been made, in place; returns the finished ones."""
    steps = resolve(open_transitions)
    if open_transitions and not _is_effective(open_transitions[-1]):
        _pass_back(open_transitions)
    if open_transitions:
        steps.append(Step(offset, open_transitions.pop(), None))
    return steps


def _is_effective(decision: Transition) -> bool:
    return decision.shown or decision.action == NOTHING


def _pass_back(open_transitions: list[Transition]) -> None:
    """Removes the latest decision and credits its reward to the one before it, if there is one."""
    unseen = open_transitions.pop()
    credit(open_transitions, unseen.reward)
