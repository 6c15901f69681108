"""Shoppers: their steps as events, and their reactions to slates."""

from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple

import numpy as np

from producers.simulator.catalogue import list_items
from producers.simulator.event_queue import Session
from producers.simulator.ground_truth import (
    ClickContext,
    cart_probabilities,
    click_probabilities,
    purchase_probabilities,
)
from producers.simulator.optimum import Look, best_expected_clicks
from producers.simulator.parameters import START_MS, SimulationParameters
from producers.simulator.plan import Step, purchase_delays_ms
from producers.simulator.population import Population
from streams.contract.events import Event

_DRAWS: Final = 8192
_NO_ORDER: Final = 0
FOLLOWED_SHARE: Final = 0.8
"""Share of the slates with a click whose first clicked item is viewed next."""
FOLLOW_DELAY_MS: Final = 300
# Shortest time, and how much longer it may be; uniform between.
CLICK_GAP_MS: Final = (1500, 4000)
"""From the impression to the first click, and from click to click."""
FOLLOWED_CART_DELAY_MS: Final = (2000, 20_000)
"""From a view that followed to the addition to the cart."""


class Sight(NamedTuple):
    """A slate that a shopper sees.

    Attributes:
        viewed_item: Item on whose page it appears.
        view_ms: Time of that item's view; the slate appears about a second later.
        item_ids: The slate, first slot first.
    """

    session: Session
    viewed_item: int
    view_ms: int
    decision_id: str
    item_ids: Sequence[str]


class Shown(NamedTuple):
    """Reaction to a slate.

    Attributes:
        clicks: Number of clicked slots.
        expected_clicks: Sum of the true click probabilities.
        best_clicks: The same for the best slate of the shop, with as many slots.
        unknown: Items that the shop does not have; they are never clicked.
        slots: Slot and index of the items that it has.
    """

    clicks: int
    expected_clicks: float
    best_clicks: float
    unknown: int
    slots: Sequence[tuple[int, int]]


class Shoppers:
    """All shoppers: their steps as events, and the draws of their reactions.

    Reactions have their own random generator, so that they do not change the planned sessions.

    Attributes:
        items: The shop's catalogue, by index; events name an item as it does.
    """

    def __init__(self, population: Population, parameters: SimulationParameters) -> None:
        self._population = population
        # A second run of one seed begins at the event time of the first; its events are no retries.
        begin = "" if parameters.start_ms == START_MS else f"-{parameters.start_ms}"
        self._run = f"s{parameters.seed}{begin}"
        self._users = [f"user-{user}" for user in range(parameters.n_users)]
        self.items = list_items(population, parameters.seed)
        self._item_indices = {item.item_id: index for index, item in enumerate(self.items)}
        self._rng = np.random.default_rng([parameters.seed, 2])
        self._uniform = _uniforms(self._rng)

    def event(self, session: Session, step: Step) -> Event:
        """Returns the event of a step."""
        kind, item = step.kind, self.items[step.item]
        session_id = f"{self._run}-{session.number}"
        shows_item = kind not in {"search", "impression"}
        return Event(
            event_id=f"{session_id}-{step.order}",
            timestamp_ms=step.timestamp_ms,
            kind=kind,
            user_id=self._users[session.user],
            item_id=item.item_id if shows_item else None,
            category=item.category if shows_item else None,
            price=item.price if shows_item else None,
            quantity=1 if kind == "purchase" else None,
            query=item.category if kind == "search" else None,
            session_id=session_id,
            decision_id=step.decision_id,
            position=step.position,
        )

    def asks(self, share: float) -> bool:
        """Draws whether a shopper waits for a recommendation after a view."""
        return share >= 1.0 or next(self._uniform) < share

    def see(self, sights: Sequence[Sight]) -> list[Shown]:
        """Shows slates: adds the impressions, and the steps that follow from them, to the sessions."""
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
        """Lists slot and index of the items that the shop has."""
        indices = map(self._item_indices.get, sight.item_ids)
        return [(slot, item) for slot, item in enumerate(indices) if item is not None]

    def _react(
        self, sight: Sight, slots: Sequence[tuple[int, int]], probabilities: Iterator[float], best_clicks: float
    ) -> Shown:
        """Draws the reaction to a slate; consumes one probability for each of its slots."""
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
            click_ms += _drawn(CLICK_GAP_MS, next(self._uniform))
            session.add(Step(click_ms, _NO_ORDER, "click", item, decision_id, slot))
            if clicks == 1 and next(self._uniform) < FOLLOWED_SHARE:
                self._follow(session, item, click_ms + FOLLOW_DELAY_MS)
        return Shown(clicks, expected_clicks, best_clicks, len(sight.item_ids) - len(slots), slots)

    def _follow(self, session: Session, item: int, view_ms: int) -> None:
        """Adds the view of a clicked item and, by chance, its addition to the cart and its purchase."""
        session.add(Step(view_ms, _NO_ORDER, "view", item))
        user, thing = np.array([session.user]), np.array([item])
        is_buying, is_repeat = np.array([session.is_buying]), np.array([item in session.seen])
        if next(self._uniform) >= cart_probabilities(self._population, user, thing, is_buying, is_repeat)[0]:
            return
        cart_ms = view_ms + _drawn(FOLLOWED_CART_DELAY_MS, next(self._uniform))
        session.add(Step(cart_ms, _NO_ORDER, "add_to_cart", item))
        if next(self._uniform) < purchase_probabilities(self._population, user, thing, is_buying)[0]:
            purchase_ms = cart_ms + int(purchase_delays_ms(self._rng, (1,))[0])
            session.add(Step(purchase_ms, _NO_ORDER, "purchase", item))


def _look(sight: Sight) -> Look:
    session = sight.session
    return Look(session.user, ClickContext(sight.viewed_item, session.seen, session.is_buying), len(sight.item_ids))


def _drawn(bounds_ms: tuple[int, int], uniform: float) -> int:
    shortest_ms, spread_ms = bounds_ms
    return shortest_ms + int(spread_ms * uniform)


def _uniforms(rng: np.random.Generator) -> Iterator[float]:
    while True:
        yield from rng.random(_DRAWS).tolist()
