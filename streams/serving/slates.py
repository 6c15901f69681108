"""Slates in memory: the last of each user, those of the last minutes by the event that asked, and who waits for one."""

import asyncio
from collections import OrderedDict
from collections.abc import Hashable, Iterator
from contextlib import contextmanager
from typing import Final, Generic, NamedTuple, TypeVar

from streams.contract.partitioning import partition_of
from streams.contract.records import Recommendation, decode_recommendation
from streams.contract.settings import Settings
from streams.serving.clickstream import Place
from streams.serving.pace import Pace

KEPT_MS: Final = 600_000
"""A request that is sent again within 10 minutes has the same answer, and does not ask again."""
_REFUSALS: Final = 10_000

KeyT = TypeVar("KeyT", bound=Hashable)
ValueT = TypeVar("ValueT")


class Asked(NamedTuple):
    """What a recommendation is matched by: the event that asked, as its producer named it.

    An offset would not do. It is known only when the event is delivered, and a retry has another one.
    """

    user_id: str
    event_id: str


class Refusal(NamedTuple):
    """A dead letter in place of a slate."""

    reason: str
    detail: str


class Slate(NamedTuple):
    """A recommendation as it was read; decoded when it is needed, since a decoded one takes several times as much.

    Attributes:
        written_ms: Timestamp of its record.
    """

    value: bytes
    written_ms: int

    def decoded(self) -> Recommendation:
        return decode_recommendation(self.value)


class Bounded(Generic[KeyT, ValueT]):
    """A mapping of the ``size`` entries that were put last."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._entries: OrderedDict[KeyT, ValueT] = OrderedDict()

    def put(self, key: KeyT, value: ValueT) -> None:
        self._entries[key] = value
        self._entries.move_to_end(key)
        if len(self._entries) > self._size:
            self._entries.popitem(last=False)

    def get(self, key: KeyT) -> ValueT | None:
        return self._entries.get(key)


class SlateMemory:
    """What one door knows of slates; used on the event loop alone.

    Args:
        size: Slates that are kept by user, by user and surface, by event, and by decision, each.
        partitions: Of clickstream.
        max_lag_ms: See :class:`streams.serving.pace.Pace`.
    """

    def __init__(self, size: int, partitions: int, max_lag_ms: float) -> None:
        self._partitions = partitions
        self._pace: Pace[Asked] = Pace(partitions, max_lag_ms)
        self._latest: Bounded[tuple[str, str | None], Slate] = Bounded(size)
        self._answers: Bounded[Asked, Slate] = Bounded(size)
        self._decisions: Bounded[str, Slate] = Bounded(size)
        self._refusals: Bounded[Place, Refusal] = Bounded(_REFUSALS)
        self._waiters: dict[Asked, list[asyncio.Future[Slate | Refusal]]] = {}
        self._asked_at: dict[Place, Asked] = {}

    @property
    def waiting(self) -> int:
        """Number of requests that wait."""
        return sum(map(len, self._waiters.values()))

    def take(self, decision: Recommendation, slate: Slate) -> None:
        """Remembers a slate, and answers who waits for it. The first slate of an event stays its answer."""
        asked = Asked(decision.user_id, decision.event_id)
        self._latest.put((decision.user_id, None), slate)
        if decision.surface is not None:
            self._latest.put((decision.user_id, decision.surface), slate)
        self._decisions.put(decision.decision_id, slate)
        if self.answer(asked, slate.written_ms) is None:
            self._answers.put(asked, slate)
        self._answer(asked, slate)

    def refuse(self, place: Place, refusal: Refusal) -> None:
        """Answers who waits for the event at ``place`` that it became a dead letter."""
        self._refusals.put(place, refusal)
        if asked := self._asked_at.get(place):
            self._answer(asked, refusal)

    def answer(self, asked: Asked, now_ms: int) -> Slate | None:
        """Returns the slate that an event had within the last minutes."""
        slate = self._answers.get(asked)
        return slate if slate is not None and slate.written_ms > now_ms - KEPT_MS else None

    def latest(self, user_id: str, surface: str | None, since_ms: int) -> Slate | None:
        """Returns a user's last slate, on a surface if one is given, unless it is older than ``since_ms``."""
        slate = self._latest.get((user_id, surface))
        return slate if slate is not None and slate.written_ms >= since_ms else None

    def is_behind(self, asked: Asked, now_ms: int) -> bool:
        """Says whether an event of this user would be answered too late."""
        return self._pace.is_behind(partition_of(asked.user_id.encode(), self._partitions), now_ms)

    def ask(self, asked: Asked, now_ms: int) -> None:
        """Notes that an event asks for a slate, from now on."""
        self._pace.asked(partition_of(asked.user_id.encode(), self._partitions), asked, now_ms)

    def decision(self, decision_id: str) -> Slate | None:
        """Returns the slate of a decision."""
        return self._decisions.get(decision_id)

    @contextmanager
    def waiting_for(self, asked: Asked) -> Iterator["Waiter"]:
        """Waits within a block, so that no waiter outlives its request."""
        waiter: asyncio.Future[Slate | Refusal] = asyncio.get_running_loop().create_future()
        others = self._waiters.setdefault(asked, [])
        others.append(waiter)
        places: list[Place] = []
        try:
            yield Waiter(waiter, len(others) == 1, places, self, asked)
        finally:
            others.remove(waiter)
            if not others:
                del self._waiters[asked]
            for place in places:
                self._asked_at.pop(place, None)

    def _expect(self, place: Place, asked: Asked) -> None:
        self._asked_at[place] = asked
        if refusal := self._refusals.get(place):
            self._answer(asked, refusal)

    def _answer(self, asked: Asked, outcome: Slate | Refusal) -> None:
        self._pace.answered(asked)
        for waiter in self._waiters.get(asked, ()):
            if not waiter.done():
                waiter.set_result(outcome)


def new_memory(settings: Settings) -> SlateMemory:
    """Makes the memory of a door with these settings."""
    serve = settings.serve
    return SlateMemory(serve.remembered, settings.kafka.partitions, 1000 * serve.max_lag_s)


class Waiter(NamedTuple):
    """One request that waits.

    Attributes:
        outcome: The slate, or why there is none.
        is_first: Whether no other request of this door waits for the same event; the first one asks.
    """

    outcome: asyncio.Future[Slate | Refusal]
    is_first: bool
    places: list[Place]
    memory: SlateMemory
    asked: Asked

    def asked_at(self, place: Place) -> None:
        """Tells where the event is, by which a dead letter is matched; it may have come already."""
        self.places.append(place)
        self.memory._expect(place, self.asked)
