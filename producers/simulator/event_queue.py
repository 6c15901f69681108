"""Queue of the simulation: sessions by the event time of their next step, and shoppers who wait for a decision."""

import heapq
from collections.abc import Iterator
from dataclasses import dataclass
from math import inf
from typing import Final

from producers.simulator.plan import Plan, Step

_FIRST_FREE_ORDER: Final = 1000


class Session:
    """One open session: its remaining steps, and the items viewed so far.

    Attributes:
        number: Unique among the sessions of a simulation.
        seen: Items viewed so far.
    """

    __slots__ = ("_next_order", "_steps", "is_buying", "number", "seen", "user")

    def __init__(self, plan: Plan) -> None:
        self.number = plan.number
        self.user = plan.user
        self.is_buying = plan.is_buying
        self.seen: set[int] = set()
        # In reverse, since a list pops its last element cheaply; steps after a recommendation are sorted in.
        self._steps = plan.steps[::-1]
        self._next_order = _FIRST_FREE_ORDER

    @property
    def next_ms(self) -> int | None:
        """Event time of the next step, or ``None`` if there is none."""
        return self._steps[-1].timestamp_ms if self._steps else None

    def take(self) -> Step:
        """Removes and returns the next step."""
        step = self._steps.pop()
        if step.kind == "view":
            self.seen.add(step.item)
        return step

    def add(self, step: Step) -> None:
        """Adds a step that was not planned, and sets its order."""
        self._steps.append(step._replace(order=self._next_order))
        self._steps.sort(reverse=True)
        self._next_order += 1


class EventQueue:
    """Open sessions by the time of their next step; planned sessions open at their start time.

    While a user is held, all of their sessions are: nobody acts in one session while waiting in another.
    """

    def __init__(self, plans: Iterator[Plan]) -> None:
        self._plans = plans
        self._open: list[tuple[int, int, Session]] = []
        self._held: dict[int, list[Session]] = {}
        self._upcoming = next(plans)

    def pop(self, until_ms: float = inf) -> Session | None:
        """Removes and returns the session with the next step; push it back after the step.

        Args:
            until_ms: Latest event time of the step; ``None`` is returned if it is later.
        """
        while True:
            upcoming_ms = self._upcoming.steps[0].timestamp_ms
            is_upcoming = not self._open or upcoming_ms <= self._open[0][0]
            if (upcoming_ms if is_upcoming else self._open[0][0]) > until_ms:
                return None
            if is_upcoming:
                self.push(Session(self._upcoming))
                self._upcoming = next(self._plans)
                continue
            session = heapq.heappop(self._open)[2]
            if session.user not in self._held:
                return session
            self._held[session.user].append(session)

    def push(self, session: Session) -> None:
        """Puts a session back; drops it if it has no more steps."""
        next_ms = session.next_ms
        if next_ms is not None:
            heapq.heappush(self._open, (next_ms, session.number, session))

    def hold(self, user: int) -> None:
        """Holds the sessions of a user back."""
        self._held[user] = []

    def release(self, user: int) -> None:
        """Puts back the sessions of a user that were held back."""
        for session in self._held.pop(user):
            self.push(session)


@dataclass(slots=True, eq=False)
class Waiting:
    """A shopper who waits for a decision.

    Attributes:
        view_ms: Event time of the view that needs the decision.
        since_s: Start of the wait, monotonic clock.
        event_ref: Reference of the view, once it is delivered.
        is_over: Whether the wait has ended.
    """

    session: Session
    item: int
    view_ms: int
    since_s: float
    event_ref: str | None = None
    is_over: bool = False


class WaitingRoom:
    """Waiting shoppers by event time; the oldest limits the event time of the others."""

    def __init__(self) -> None:
        self._by_time: list[tuple[int, int, Waiting]] = []
        self._count = 0

    def __bool__(self) -> bool:
        return bool(self._by_time)

    @property
    def oldest_ms(self) -> int:
        """Event time of the oldest waiting shopper; there must be one."""
        return self._by_time[0][0]

    def add(self, waiting: Waiting) -> None:
        """Adds a waiting shopper."""
        self._count += 1
        heapq.heappush(self._by_time, (waiting.view_ms, self._count, waiting))

    def leave(self, waiting: Waiting) -> None:
        """Ends a shopper's wait."""
        waiting.is_over = True
        while self._by_time and self._by_time[0][2].is_over:
            heapq.heappop(self._by_time)

    def since(self, latest_s: float) -> list[Waiting]:
        """Lists the shoppers who wait since ``latest_s`` (monotonic clock) or longer, oldest event time first."""
        return [each for _, _, each in sorted(self._by_time) if not each.is_over and each.since_s <= latest_s]
