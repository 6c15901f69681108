"""The loop: shoppers act in event time, and wait for what is recommended to them."""

import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Final

import msgspec

from producers.publisher import EventSink, publish_ticks
from producers.simulator.event_queue import EventQueue, Waiting, WaitingRoom
from producers.simulator.feedback import Recommendations
from producers.simulator.parameters import SimulationParameters
from producers.simulator.plan import plan_sessions
from producers.simulator.population import draw_population
from producers.simulator.shopper import Shoppers, Sight
from streams.contract.events import Event
from streams.contract.records import Recommendation, event_ref
from streams.contract.topics import CLICKSTREAM

_WAIT_S: Final = 0.01
_FLUSH_TIMEOUT_S: Final = 60.0


class PolicyTruth(msgspec.Struct):
    """What is true of the slates that one policy chose; a policy's measured click rate estimates the true one.

    Attributes:
        slates: That were shown.
        items: Shown in them.
        clicks: On them.
        expected_clicks: Sum of the true click probabilities.
        best_clicks: The same of the best slates of the shop, each with as many slots.
    """

    slates: int = 0
    items: int = 0
    clicks: int = 0
    expected_clicks: float = 0.0
    best_clicks: float = 0.0

    @property
    def regret(self) -> float:
        """Expected clicks that the best slates would have had more."""
        return self.best_clicks - self.expected_clicks

    @property
    def true_click_rate(self) -> float:
        """Mean true click probability of an item that was shown; NaN before the first."""
        return self.expected_clicks / self.items if self.items else float("nan")


class SimulationSummary(msgspec.Struct, frozen=True):
    """What a simulation did.

    Attributes:
        produced: Events published, closing ticks included.
        by_kind: The same by kind of event.
        undelivered: Events that failed, or were not yet acknowledged when the run gave up waiting.
        fallbacks: Shoppers who waited in vain.
        repeats: Decisions that came more than once and were dropped.
        unknown_items: Recommended, but not the shop's.
        policies: Policy to the truth about its slates.
        last_timestamp_ms: Latest event time before the closing ticks.
        stopped: Whether ``should_stop`` ended it early.
    """

    produced: int
    by_kind: dict[str, int]
    undelivered: int
    fallbacks: int
    repeats: int
    unknown_items: int
    policies: dict[str, PolicyTruth]
    last_timestamp_ms: int
    stopped: bool


def organic_events(parameters: SimulationParameters) -> Iterator[Event]:
    """Yields ``parameters.events`` events of shoppers whom nothing is recommended to, in the order of time.

    The same parameters give the same events.

    >>> [event.kind for event in organic_events(SimulationParameters(events=2, n_users=50))]
    ['view', 'search']
    """
    population = draw_population(parameters)
    shoppers = Shoppers(population, parameters)
    queue = EventQueue(plan_sessions(population, parameters))
    for _ in range(parameters.events):
        session = queue.pop()
        yield shoppers.event(session, session.take())
        queue.push(session)


class Simulation:
    """Shoppers in a closed loop: every view waits for its decision, sees the slate, and perhaps clicks.

    The queue runs on with other shoppers meanwhile, up to ``max_skew_s`` of event time past the oldest who waits; so no
    event is later than that, and workers whose allowed lateness is larger drop none. Run it once.

    Args:
        publisher: Also tells the offset of each view, which names the decision made at it.
        recommendations: Must be reading before :meth:`run`.
        topic: That ``publisher`` writes to.

    Attributes:
        policies: Policy to the truth about the slates that it chose so far.
    """

    def __init__(
        self,
        parameters: SimulationParameters,
        publisher: EventSink,
        recommendations: Recommendations,
        topic: str = CLICKSTREAM,
    ) -> None:
        self._parameters = parameters
        self._publisher = publisher
        self._recommendations = recommendations
        self._topic = topic
        population = draw_population(parameters)
        self._shoppers = Shoppers(population, parameters)
        self._queue = EventQueue(plan_sessions(population, parameters))
        self._room = WaitingRoom()
        self._claims: dict[str, Waiting] = {}
        self._met: list[tuple[Waiting, Recommendation]] = []
        self._by_kind: Counter[str] = Counter()
        self.policies: dict[str, PolicyTruth] = {}
        self._fallbacks = 0
        self._unknown_items = 0
        self._latest_ms = -1
        self._grace_until_s = 0.0

    def run(
        self, on_progress: Callable[[int], None] | None = None, should_stop: Callable[[], bool] | None = None
    ) -> SimulationSummary:
        """Runs until ``parameters.events`` are published, and last publishes one tick for each partition.

        Args:
            on_progress: Called after each event with the number published.
            should_stop: Asked before each event and while waiting; the ticks are published all the same.
        """
        parameters = self._parameters
        self._grace_until_s = time.monotonic() + parameters.first_decision_timeout_s
        skew_ms = int(parameters.max_skew_s * 1000)
        produced = 0
        stopped = False
        while produced < parameters.events and not stopped:
            self._serve()
            if self._room and self._queue.next_ms > self._room.oldest_ms + skew_ms:
                self._wait()
                stopped = should_stop is not None and should_stop()
                continue
            stopped = (should_stop is not None and should_stop()) or not self._publisher.wait_for_room(should_stop)
            if not stopped:
                self._advance()
                produced += 1
                if on_progress is not None:
                    on_progress(produced)
        return self._finish(stopped)

    def _advance(self) -> None:
        """Lets the next shopper do one thing."""
        session = self._queue.pop()
        step = session.take()
        event = self._shoppers.event(session, step)
        self._by_kind[step.kind] += 1
        self._latest_ms = max(self._latest_ms, step.timestamp_ms)
        if step.kind == "view" and self._shoppers.asks(self._parameters.decision_probability):
            waiting = Waiting(session, step.item, step.timestamp_ms, time.monotonic())
            self._room.add(waiting)
            self._publisher.publish(event, partial(self._learn_ref, waiting))
        else:
            self._publisher.publish(event)
            self._queue.push(session)

    def _learn_ref(self, waiting: Waiting, partition: int, offset: int) -> None:
        """Learns where a view came to lie, and with that the name of its decision."""
        if waiting.is_over:
            return
        waiting.event_ref = event_ref(self._topic, partition, offset)
        recommendation = self._recommendations.claim(waiting.event_ref)
        if recommendation is None:
            self._claims[waiting.event_ref] = waiting
        else:
            self._met.append((waiting, recommendation))

    def _serve(self) -> None:
        """Takes in deliveries and decisions, and shows what was decided."""
        if not self._room:
            return
        self._publisher.poll(0)
        for recommendation in self._recommendations.arrived():
            waiting = self._claims.pop(recommendation.event_ref, None)
            if waiting is not None:
                self._met.append((waiting, recommendation))
        if self._met:
            met, self._met = self._met, []
            self._show(met)

    def _wait(self) -> None:
        """Waits a moment for decisions; who waited too long goes on without."""
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
            self._go_on(waiting)

    def _show(self, met: Sequence[tuple[Waiting, Recommendation]]) -> None:
        # Somebody decides: from now on shoppers are only as patient as usual.
        self._grace_until_s = 0.0
        slates = [(waiting, decision) for waiting, decision in met if decision.items]
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
        for (_, decision), shown in zip(slates, self._shoppers.see(sights), strict=True):
            truth = self.policies.setdefault(decision.policy, PolicyTruth())
            truth.slates += 1
            truth.items += len(decision.items)
            truth.clicks += shown.clicks
            truth.expected_clicks += shown.expected_clicks
            truth.best_clicks += shown.best_clicks
            self._unknown_items += shown.unknown
        for waiting, _ in met:
            self._go_on(waiting)

    def _go_on(self, waiting: Waiting) -> None:
        self._room.leave(waiting)
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
            stopped=stopped,
        )
