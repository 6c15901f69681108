"""Simulation loop: shoppers act in event time and wait for recommendations."""

import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import islice
from math import inf
from typing import Final

import msgspec

from producers.publisher import EventSink, publish_ticks
from producers.simulator.event_queue import EventQueue, Session, Waiting, WaitingRoom
from producers.simulator.journal import Journal
from producers.simulator.parameters import SimulationParameters
from producers.simulator.plan import plan_sessions
from producers.simulator.population import draw_population
from producers.simulator.recommendation_reader import Claims
from producers.simulator.shopper import Shoppers, Shown, Sight
from streams.contract.events import Event
from streams.contract.records import Recommendation, event_ref, without_epoch
from streams.contract.topics import CLICKSTREAM

_WAIT_S: Final = 0.01
_FLUSH_TIMEOUT_S: Final = 60.0


class PolicyGroundTruth(msgspec.Struct):
    """Ground truth about the slates of one policy; its measured click rate estimates the true one.

    Attributes:
        slates: Slates shown.
        items: Items shown in them.
        clicks: Clicks on them.
        expected_clicks: Sum of the true click probabilities.
        best_clicks: The same for the best slates of the shop, each with as many slots.
    """

    slates: int = 0
    items: int = 0
    clicks: int = 0
    expected_clicks: float = 0.0
    best_clicks: float = 0.0

    @property
    def regret(self) -> float:
        """Additional expected clicks of the best slates."""
        return self.best_clicks - self.expected_clicks


class SimulationSummary(msgspec.Struct, frozen=True):
    """Result of a simulation.

    Attributes:
        produced: Events published, closing ticks included.
        by_kind: The same by kind of event.
        undelivered: Events that failed, or were not acknowledged within the final wait.
        fallbacks: Shoppers who got no decision in time.
        repeats: Repeated decisions that were dropped.
        unknown_items: Recommended items that the shop does not have.
        policies: Policy to the ground truth about its slates.
        last_timestamp_ms: Latest event time before the closing ticks.
        complete_until_ms: Event time before which no shopper had anything left to do.
        stopped: Whether ``should_stop`` ended it early.
    """

    produced: int
    by_kind: dict[str, int]
    undelivered: int
    fallbacks: int
    repeats: int
    unknown_items: int
    policies: dict[str, PolicyGroundTruth]
    last_timestamp_ms: int
    complete_until_ms: int
    stopped: bool


def organic_events(parameters: SimulationParameters) -> Iterator[Event]:
    """Yields ``parameters.events`` events of shoppers without recommendations, in the order of time.

    The same parameters give the same events.

    >>> [event.kind for event in organic_events(SimulationParameters(events=2, n_users=50))]
    ['view', 'search']
    """
    population = draw_population(parameters)
    shoppers = Shoppers(population, parameters)
    queue = EventQueue(plan_sessions(population, parameters))
    for session in islice(iter(queue.pop, None), parameters.events):
        yield shoppers.event(session, session.take())
        queue.push(session)


class Simulation:
    """Shoppers in a closed loop: after a view they wait for the decision, see the slate, and may click.

    Meanwhile other shoppers continue, up to ``max_skew_s`` of event time past the oldest waiting one. So no event is
    later than that, and for workers with a larger allowed lateness none is late. A user's own events are published in
    the order of their times, whatever the skew. Run a simulation once.

    Args:
        publisher: Destination of the events; it reports the offset of each view, which identifies its decision.
        recommendations: Source of the decisions; it must be reading before :meth:`run`.
        on_shown: Called with each slate that is seen and the reaction to it.

    Attributes:
        population: Items and users of the shop.
        items: The shop's catalogue.
        policies: Policy to the ground truth about its slates so far.
        journal: Events and slates of some users so far.
    """

    def __init__(
        self,
        parameters: SimulationParameters,
        publisher: EventSink,
        recommendations: Claims,
        on_shown: Callable[[Sight, Shown], None] | None = None,
    ) -> None:
        self._parameters = parameters
        self._on_shown = on_shown
        self._publisher = publisher
        self._recommendations = recommendations
        self.population = draw_population(parameters)
        self._shoppers = Shoppers(self.population, parameters)
        self.items = self._shoppers.items
        self._queue = EventQueue(plan_sessions(self.population, parameters))
        self.journal = Journal(parameters.n_users)
        self._room = WaitingRoom()
        self._claims: dict[str, Waiting] = {}
        self._decided: list[tuple[Waiting, Recommendation]] = []
        self._by_kind: Counter[str] = Counter()
        self.policies: dict[str, PolicyGroundTruth] = {}
        self._fallbacks = 0
        self._unknown_items = 0
        self._latest_ms = -1
        self._grace_until_s = 0.0

    def run(
        self, on_progress: Callable[[int], None] | None = None, should_stop: Callable[[], bool] | None = None
    ) -> SimulationSummary:
        """Runs until ``parameters.events`` are published, then publishes one tick for each partition.

        Args:
            on_progress: Called after each event with the number published.
            should_stop: Called before each event and while waiting; the ticks are still published.
        """
        parameters = self._parameters
        self._grace_until_s = time.monotonic() + parameters.first_decision_timeout_s
        produced = 0
        stopped = False
        while produced < parameters.events and not stopped:
            self._serve()
            if should_stop is not None and should_stop():
                stopped = True
            elif (session := self._queue.pop(self._latest_allowed_ms())) is None:
                self._wait()
            elif not self._publisher.wait_for_room(should_stop):
                stopped = True
            else:
                self._advance(session)
                produced += 1
                if on_progress is not None:
                    on_progress(produced)
        return self._finish(stopped)

    def _latest_allowed_ms(self) -> float:
        """Returns how far event time may be, so that nobody who waits is later than the skew."""
        return self._room.oldest_ms + self._parameters.max_skew_s * 1000 if self._room else inf

    def _advance(self, session: Session) -> None:
        """Publishes the next event of a session."""
        step = session.take()
        event = self._shoppers.event(session, step)
        self.journal.add(session, step)
        self._by_kind[step.kind] += 1
        self._latest_ms = max(self._latest_ms, step.timestamp_ms)
        if step.kind == "view" and self._shoppers.asks(self._parameters.decision_probability):
            waiting = Waiting(session, step.item, step.timestamp_ms, time.monotonic())
            self._room.add(waiting)
            self._queue.hold(session.user)
            self._publisher.publish(event, partial(self._claim, waiting))
        else:
            self._publisher.publish(event)
            self._queue.push(session)

    def _claim(self, waiting: Waiting, partition: int, offset: int) -> None:
        """Claims the decision of a view that was delivered at this offset."""
        if waiting.is_over:
            return
        waiting.event_ref = event_ref(CLICKSTREAM, partition, offset)
        recommendation = self._recommendations.claim(waiting.event_ref)
        if recommendation is None:
            self._claims[waiting.event_ref] = waiting
        else:
            self._decided.append((waiting, recommendation))

    def _serve(self) -> None:
        """Processes deliveries and decisions, and shows the decided slates."""
        if not self._room:
            return
        self._publisher.poll(0)
        for recommendation in self._recommendations.arrived():
            waiting = self._claims.pop(without_epoch(recommendation.event_ref), None)
            if waiting is not None:
                self._decided.append((waiting, recommendation))
        if self._decided:
            decided, self._decided = self._decided, []
            self._show(decided)

    def _wait(self) -> None:
        """Waits 10 ms for decisions; shoppers whose wait is over continue without one."""
        self._recommendations.wait(_WAIT_S)
        self._serve()
        now_s = time.monotonic()
        if now_s < self._grace_until_s:
            return
        for waiting in self._room.since(now_s - self._parameters.decision_timeout_s):
            self._fallbacks += 1
            if waiting.event_ref is not None:
                self._recommendations.abandon(waiting.event_ref)
                self._claims.pop(waiting.event_ref, None)
            self._resume(waiting)

    def _show(self, decided: Sequence[tuple[Waiting, Recommendation]]) -> None:
        # Workers have started: the usual timeout applies from now on.
        self._grace_until_s = 0.0
        slates = [(waiting, decision) for waiting, decision in decided if decision.items]
        sights = [
            Sight(
                waiting.session,
                waiting.item,
                waiting.view_ms,
                decision.decision_id,
                [item.item_id for item in decision.items],
            )
            for waiting, decision in slates
        ]
        for sight, (waiting, decision), shown in zip(sights, slates, self._shoppers.see(sights), strict=True):
            if self._on_shown is not None:
                self._on_shown(sight, shown)
            self.journal.show(waiting.session.user, decision.decision_id, shown.slots)
            truth = self.policies.setdefault(decision.policy, PolicyGroundTruth())
            truth.slates += 1
            truth.items += len(decision.items)
            truth.clicks += shown.clicks
            truth.expected_clicks += shown.expected_clicks
            truth.best_clicks += shown.best_clicks
            self._unknown_items += shown.unknown
        for waiting, _ in decided:
            self._resume(waiting)

    def _resume(self, waiting: Waiting) -> None:
        self._room.leave(waiting)
        self._queue.release(waiting.session.user)
        self._queue.push(waiting.session)

    def _finish(self, stopped: bool) -> SimulationSummary:
        if self._by_kind:
            closing_ms = self._latest_ms + int(self._parameters.mature_s * 1000)
            self._by_kind["tick"] = publish_ticks(self._publisher, closing_ms, f"s{self._parameters.seed}")
        outstanding = self._publisher.flush(_FLUSH_TIMEOUT_S)
        return SimulationSummary(
            produced=self._by_kind.total(),
            by_kind=dict(self._by_kind),
            undelivered=self._publisher.failed + outstanding,
            fallbacks=self._fallbacks,
            repeats=self._recommendations.repeats,
            unknown_items=self._unknown_items,
            policies=self.policies,
            last_timestamp_ms=self._latest_ms,
            complete_until_ms=min(self._latest_ms, self._room.oldest_ms if self._room else self._latest_ms),
            stopped=stopped,
        )
