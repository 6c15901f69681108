"""Journal of a simulation: all events and slates of a random sample of its users, bounded in size."""

from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple

from producers.simulator.event_queue import Session
from producers.simulator.plan import Step

MOST_EVENTS: Final = 8000

Slots = Sequence[tuple[int, int]]
"""Slot and index of each item of a slate that the shop has."""


class Entry(NamedTuple):
    """One event of a user.

    Attributes:
        session: Number of the session.
        is_buying: Whether the session is for buying; no event says so.
    """

    session: int
    is_buying: bool
    step: Step


class History(NamedTuple):
    """Events of one user in the order in which they were published, and slates by their decision."""

    entries: list[Entry]
    slates: dict[str, Slots]


class Journal:
    """Keeps the users with the lowest indices; some are dropped whenever there are too many events.

    A user's properties do not depend on the index, so that the users that are left are a random sample.

    Args:
        most_events: Limit of the events that are kept.
    """

    def __init__(self, n_users: int, most_events: int = MOST_EVENTS) -> None:
        self._kept_users = n_users
        self._most_events = most_events
        self._n_events = 0
        self._histories: dict[int, History] = {}

    def add(self, session: Session, step: Step) -> None:
        """Adds an event."""
        if session.user >= self._kept_users:
            return
        history = self._histories.setdefault(session.user, History([], {}))
        history.entries.append(Entry(session.number, session.is_buying, step))
        self._n_events += 1
        while self._n_events > self._most_events and self._kept_users > 1:
            self._kept_users -= max(1, self._kept_users // 10)
            for user in [user for user in self._histories if user >= self._kept_users]:
                self._n_events -= len(self._histories.pop(user).entries)

    def show(self, user: int, decision_id: str, slots: Slots) -> None:
        """Adds a slate, whose impression is a later event."""
        if user in self._histories:
            self._histories[user].slates[decision_id] = slots

    def histories(self) -> Iterator[tuple[int, History]]:
        """Yields each user that was kept and has events, in the order of their indices."""
        yield from sorted(self._histories.items())
