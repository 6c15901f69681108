"""A shopper's steps as events, and what a slate makes a shopper do."""

from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple

import numpy as np

from producers.simulator.behaviour import (
    ClickContext,
    cart_probabilities,
    click_probabilities,
    purchase_probabilities,
)
from producers.simulator.event_queue import Session
from producers.simulator.optimum import Look, best_expected_clicks
from producers.simulator.parameters import SimulationParameters
from producers.simulator.plan import Step, purchase_delays_ms
from producers.simulator.population import Population
from streams.contract.events import Event

_DRAWS: Final = 8192
_NO_ORDER: Final = 0
_FOLLOWED_SHARE: Final = 0.8
"""Of the slates with a click, those whose first clicked item is then viewed."""


class Sight(NamedTuple):
    """A slate before a shopper's eyes.

    Attributes:
        viewed_item: Beside which it appears.
        view_ms: When that was viewed; the slate appears a second later.
        item_ids: The slate, first slot first.
    """

    session: Session
    viewed_item: int
    view_ms: int
    decision_id: str
    item_ids: Sequence[str]


class Shown(NamedTuple):
    """What came of a slate.

    Attributes:
        clicks: How many slots are clicked.
        expected_clicks: Sum of the true click probabilities.
        best_clicks: The same of the best slate of the shop, with as many slots.
        unknown: Items that the shop does not have; nobody clicks on them.
    """

    clicks: int
    expected_clicks: float
    best_clicks: float
    unknown: int


class Shoppers:
    """Speaks for all shoppers: names things as the shop does, and draws their reactions.

    Reactions are drawn from a generator of their own, so they do not disturb what is planned.
    """

    def __init__(self, population: Population, parameters: SimulationParameters) -> None:
        self._population = population
        self._seed = parameters.seed
        self._users = [f"user-{user}" for user in range(parameters.n_users)]
        self._items = [f"item-{item}" for item in range(parameters.n_items)]
        self._item_indices = {name: item for item, name in enumerate(self._items)}
        self._categories = [f"category-{category}" for category in population.item_categories.tolist()]
        self._prices = np.round(np.exp(population.item_log_prices), 2).tolist()
        self._rng = np.random.default_rng([parameters.seed, 2])
        self._uniform = _uniforms(self._rng)

    def event(self, session: Session, step: Step) -> Event:
        """Says what a step is to the shop."""
        kind, item = step.kind, step.item
        session_id = f"s{self._seed}-{session.number}"
        event_id = f"{session_id}-{step.order}"
        user_id = self._users[session.user]
        if kind == "search":
            return Event(
                event_id=event_id,
                timestamp_ms=step.timestamp_ms,
                kind=kind,
                user_id=user_id,
                query=self._categories[item],
                session_id=session_id,
            )
        if kind == "impression":
            return Event(
                event_id=event_id,
                timestamp_ms=step.timestamp_ms,
                kind=kind,
                user_id=user_id,
                session_id=session_id,
                decision_id=step.decision_id,
            )
        return Event(
            event_id=event_id,
            timestamp_ms=step.timestamp_ms,
            kind=kind,
            user_id=user_id,
            item_id=self._items[item],
            category=self._categories[item],
            price=self._prices[item],
            quantity=1 if kind == "purchase" else None,
            session_id=session_id,
            decision_id=step.decision_id,
            position=step.position,
        )

    def asks(self, share: float) -> bool:
        """Draws whether a view waits for what is recommended."""
        return share >= 1.0 or next(self._uniform) < share

    def see(self, sights: Sequence[Sight]) -> list[Shown]:
        """Shows slates: adds the impressions, and what follows from them, to the sessions."""
        known = [self._known(sight) for sight in sights]
        slots = [(sight, slot, item) for sight, slots in zip(sights, known, strict=True) for slot, item in slots]
        probabilities = click_probabilities(
            self._population,
            np.array([sight.session.user for sight, _, _ in slots], dtype=np.int64),
            np.array([item for _, _, item in slots], dtype=np.int64),
            np.array([slot for _, slot, _ in slots], dtype=np.int64),
            np.array([sight.viewed_item for sight, _, _ in slots], dtype=np.int64),
            np.array([item in sight.session.seen for sight, _, item in slots], dtype=bool),
            np.array([sight.session.is_buying for sight, _, _ in slots], dtype=bool),
        )
        best = best_expected_clicks(self._population, [_look(sight) for sight in sights])
        one_by_one = iter(probabilities.tolist())
        return [
            self._react(sight, slots, one_by_one, best_clicks)
            for sight, slots, best_clicks in zip(sights, known, best, strict=True)
        ]

    def _known(self, sight: Sight) -> list[tuple[int, int]]:
        """Lists slot and item of what the shop has."""
        indices = map(self._item_indices.get, sight.item_ids)
        return [(slot, item) for slot, item in enumerate(indices) if item is not None]

    def _react(
        self, sight: Sight, slots: Sequence[tuple[int, int]], probabilities: Iterator[float], best_clicks: float
    ) -> Shown:
        """Lets a shopper look at a slate; takes a probability for each of its slots."""
        session, decision_id = sight.session, sight.decision_id
        click_ms = impression_ms = sight.view_ms + 500 + int(1000 * next(self._uniform))
        session.add(Step(impression_ms, _NO_ORDER, "impression", sight.viewed_item, decision_id))
        clicks, expected_clicks = 0, 0.0
        for slot, item in slots:
            probability = next(probabilities)
            expected_clicks += probability
            if next(self._uniform) >= probability:
                continue
            clicks += 1
            click_ms += 1500 + int(4000 * next(self._uniform))
            session.add(Step(click_ms, _NO_ORDER, "click", item, decision_id, slot))
            if clicks == 1 and next(self._uniform) < _FOLLOWED_SHARE:
                self._follow(session, item, click_ms + 300)
        return Shown(clicks, expected_clicks, best_clicks, len(sight.item_ids) - len(slots))

    def _follow(self, session: Session, item: int, view_ms: int) -> None:
        """Views a clicked item, and perhaps puts it into the cart and buys it."""
        session.add(Step(view_ms, _NO_ORDER, "view", item))
        user, thing = np.array([session.user]), np.array([item])
        is_buying, is_repeat = np.array([session.is_buying]), np.array([item in session.seen])
        if next(self._uniform) >= cart_probabilities(self._population, user, thing, is_buying, is_repeat)[0]:
            return
        cart_ms = view_ms + 2000 + int(20_000 * next(self._uniform))
        session.add(Step(cart_ms, _NO_ORDER, "add_to_cart", item))
        if next(self._uniform) < purchase_probabilities(self._population, user, thing, is_buying)[0]:
            purchase_ms = cart_ms + int(purchase_delays_ms(self._rng, (1,))[0])
            session.add(Step(purchase_ms, _NO_ORDER, "purchase", item))


def _look(sight: Sight) -> Look:
    session = sight.session
    return Look(session.user, ClickContext(sight.viewed_item, session.seen, session.is_buying), len(sight.item_ids))


def _uniforms(rng: np.random.Generator) -> Iterator[float]:
    while True:
        yield from rng.random(_DRAWS).tolist()
