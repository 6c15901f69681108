"""Next-item prediction: test, then learn, in the order of time."""

from collections.abc import Callable, Sequence
from math import sqrt
from typing import Final, NamedTuple, Protocol

from streams.core.features.session import Session
from streams.core.retrieval.popularity import Popularity
from streams.core.retrieval.rules import SequentialRules

LIST_SIZE: Final = 20


class Visit(NamedTuple):
    """A view of an item in a session."""

    session_id: str
    item_id: str
    timestamp_ms: int


class Recommender(Protocol):
    """A retrieval method to evaluate."""

    def learn(self, item: str, before: Sequence[str], timestamp_ms: int) -> None:
        """Learns from a visit; ``before`` are the other items of the session, most recent first."""

    def settle(self) -> None:
        """Makes learned visits available to :meth:`recommend`; its time counts as learning."""

    def recommend(self, last_items: Sequence[str], timestamp_ms: int) -> Sequence[str]:
        """Predicts the next item, best guess first; ``last_items`` are distinct, the current one first."""


class Quality(NamedTuple):
    """Measured quality.

    Attributes:
        hr_at_20: Share of the steps whose next item was in the list.
        hr_at_20_se: Its standard error for independent steps.
        mrr_at_20: Mean of one over the next item's rank, 0 if it was not in the list.
        coverage: Share of the items of the file that were in any list.
        learn_us: Mean processor time of learning from one visit.
        query_us: Mean processor time of one list.
        steps: Scored steps.
    """

    hr_at_20: float
    hr_at_20_se: float
    mrr_at_20: float
    coverage: float
    learn_us: float
    query_us: float
    steps: int


def scored_steps(visits: Sequence[Visit], first_scored: int) -> int:
    """Counts the steps that can be scored: a session goes on to another item, at or after ``first_scored``."""
    current: dict[str, str] = {}
    steps = 0
    for place, visit in enumerate(visits):
        steps += place >= first_scored and current.get(visit.session_id, visit.item_id) != visit.item_id
        current[visit.session_id] = visit.item_id
    return steps


def evaluate(
    recommender: Recommender,
    visits: Sequence[Visit],
    first_scored: int,
    clock_ns: Callable[[], int],
    advance: Callable[[int], None],
    *,
    frozen: bool = False,
) -> Quality:
    """Predicts every step of the scored block to another item, and learns it afterwards.

    Args:
        visits: Visits in the order of time; at least one step of the scored block can be scored.
        first_scored: Index of the first visit of the scored block.
        clock_ns: Processor time.
        advance: Called with the number of further visits done.
        frozen: Learn only before the scored block; sessions continue.
    """
    sessions: dict[str, Session] = {}
    shown: set[str] = set()
    steps = hits = learned = learn_ns = query_ns = 0
    reciprocal_ranks = 0.0
    for place, (session_id, item, timestamp_ms) in enumerate(visits):
        session = sessions.get(session_id)
        if session is None:
            session = sessions[session_id] = Session()
        if place >= first_scored and session.items and session.items[-1] != item:
            settle_begin_ns = clock_ns()
            recommender.settle()
            query_begin_ns = clock_ns()
            guesses = list(recommender.recommend(session.items[::-1], timestamp_ms))
            query_end_ns = clock_ns()
            learn_ns += query_begin_ns - settle_begin_ns
            query_ns += query_end_ns - query_begin_ns
            steps += 1
            shown.update(guesses)
            if item in guesses:
                hits += 1
                reciprocal_ranks += 1.0 / (guesses.index(item) + 1)
        before = session.record_view(item)
        if not frozen or place < first_scored:
            begun_ns = clock_ns()
            recommender.learn(item, before, timestamp_ms)
            learn_ns += clock_ns() - begun_ns
            learned += 1
        advance(1)
    rate = hits / steps
    return Quality(
        hr_at_20=rate,
        hr_at_20_se=sqrt(rate * (1.0 - rate) / steps),
        mrr_at_20=reciprocal_ranks / steps,
        coverage=len(shown) / len({visit.item_id for visit in visits}),
        learn_us=learn_ns / max(learned, 1) / 1000.0,
        query_us=query_ns / steps / 1000.0,
        steps=steps,
    )


class RuleRecommender:
    """Sequential rules; the rest of the list is filled with popular items."""

    def __init__(self, half_life_s: float, kept: int) -> None:
        self._rules = SequentialRules(half_life_s, kept)
        self._popularity = Popularity(half_life_s, LIST_SIZE + 1)

    def learn(self, item: str, before: Sequence[str], timestamp_ms: int) -> None:
        self._rules.learn(item, before, timestamp_ms)
        self._popularity.learn(item, timestamp_ms)

    def settle(self) -> None:
        """Does nothing."""

    def recommend(self, last_items: Sequence[str], timestamp_ms: int) -> Sequence[str]:
        guesses = self._rules.related(last_items)[:LIST_SIZE]
        if len(guesses) < LIST_SIZE:
            taken = {*guesses, last_items[0]}
            guesses += [item for item in self._popularity.top if item not in taken][: LIST_SIZE - len(guesses)]
        return guesses


class PopularRecommender:
    """Popular items, the same for every session."""

    def __init__(self, half_life_s: float) -> None:
        self._popularity = Popularity(half_life_s, LIST_SIZE + 1)

    def learn(self, item: str, before: Sequence[str], timestamp_ms: int) -> None:
        self._popularity.learn(item, timestamp_ms)

    def settle(self) -> None:
        """Does nothing."""

    def recommend(self, last_items: Sequence[str], timestamp_ms: int) -> Sequence[str]:
        return [item for item in self._popularity.top if item != last_items[0]][:LIST_SIZE]
