"""Event time: whose turn it is next, and how long others have been waiting."""

import heapq
from collections.abc import Iterator
from typing import Final

from producers.simulator.plan import Plan, Step

_FIRST_FREE_ORDER: Final = 1000


class Session:
    """One visit that is under way: what is still to be done, and what has been seen.

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
        # The next step is last, where a list gives it away at once; what a recommendation leads to is sorted in.
        self._steps = plan.steps[::-1]
        self._next_order = _FIRST_FREE_ORDER

    @property
    def next_ms(self) -> int | None:
        """When it goes on, or ``None`` when it is over."""
        return self._steps[-1].timestamp_ms if self._steps else None

    def take(self) -> Step:
        """Takes the next step."""
        step = self._steps.pop()
        if step.kind == "view":
            self.seen.add(step.item)
        return step

    def add(self, step: Step) -> None:
        """Adds a step that was not planned; its order is given here."""
        self._steps.append(step._replace(order=self._next_order))
        self._steps.sort(reverse=True)
        self._next_order += 1


class EventQueue:
    """The open sessions by the time of their next step; new ones open when their time comes."""

    def __init__(self, plans: Iterator[Plan]) -> None:
        self._plans = plans
        self._open: list[tuple[int, int, Session]] = []
        self._upcoming = next(plans)
        self._upcoming_ms = self._upcoming.steps[0].timestamp_ms

    @property
    def next_ms(self) -> int:
        """Event time of the next step."""
        return min(self._open[0][0], self._upcoming_ms) if self._open else self._upcoming_ms

    def pop(self) -> Session:
        """Takes out the session whose step is next; put it back after the step."""
        while not self._open or self._upcoming_ms <= self._open[0][0]:
            self.push(Session(self._upcoming))
            self._upcoming = next(self._plans)
            self._upcoming_ms = self._upcoming.steps[0].timestamp_ms
        return heapq.heappop(self._open)[2]

    def push(self, session: Session) -> None:
        """Puts a session back; one that is over is dropped."""
        next_ms = session.next_ms
        if next_ms is not None:
            heapq.heappush(self._open, (next_ms, session.number, session))


class Waiting:
    """One shopper who waits for a decision.

    Attributes:
        view_ms: Event time of the view that asked for it.
        since_s: Monotonic clock.
        event_ref: Of the view, once it is delivered.
        is_over: Whether the shopper has gone on.
    """

    __slots__ = ("event_ref", "is_over", "item", "session", "since_s", "view_ms")

    def __init__(self, session: Session, item: int, view_ms: int, since_s: float) -> None:
        self.session = session
        self.item = item
        self.view_ms = view_ms
        self.since_s = since_s
        self.event_ref: str | None = None
        self.is_over = False


class WaitingRoom:
    """All who wait, by event time; it tells how far the others may go."""

    def __init__(self) -> None:
        self._by_time: list[tuple[int, int, Waiting]] = []
        self._count = 0

    def __bool__(self) -> bool:
        return bool(self._by_time)

    @property
    def oldest_ms(self) -> int:
        """Event time of the one who has waited longest; there must be one."""
        return self._by_time[0][0]

    def add(self, waiting: Waiting) -> None:
        """Lets someone wait."""
        self._count += 1
        heapq.heappush(self._by_time, (waiting.view_ms, self._count, waiting))

    def leave(self, waiting: Waiting) -> None:
        """Lets someone go on."""
        waiting.is_over = True
        self._forget_gone()

    def since(self, latest_s: float) -> list[Waiting]:
        """Lists who has waited since ``latest_s`` of the monotonic clock or longer, oldest event time first."""
        return [each for _, _, each in sorted(self._by_time) if not each.is_over and each.since_s <= latest_s]

    def _forget_gone(self) -> None:
        while self._by_time and self._by_time[0][2].is_over:
            heapq.heappop(self._by_time)
