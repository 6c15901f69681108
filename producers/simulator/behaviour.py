"""What is true of shoppers: the probabilities that they click, put into the cart and buy.

A policy can estimate much of a click's probability from what workers see: an item's quality shows in its counts, its
closeness to the item in view shows in co-visitations, category and price are in the events. The taste is latent.
"""

from collections.abc import Collection
from typing import Final, NamedTuple

import numpy as np

from producers.simulator.population import Booleans, Floats, Integers, Population

POSITION_DECAY: Final = 0.85
"""Each slot is examined this much less often than the one before it; the first one always."""

_CLICK_BIAS: Final = -3.4
_CART_BIAS: Final = -5.0
_PURCHASE_BIAS: Final = -1.85
_DIRECT_PURCHASE_SHARE: Final = 0.025


class ClickContext(NamedTuple):
    """What a shopper has in mind when a slate is shown.

    Attributes:
        viewed_item: The item in view.
        seen: Items that were viewed in this session, the one in view among them.
        is_buying: Whether the session is for buying, not for browsing.
    """

    viewed_item: int
    seen: Collection[int]
    is_buying: bool


def click_probabilities(
    population: Population,
    users: Integers,
    items: Integers,
    positions: Integers,
    viewed_items: Integers,
    is_seen: Booleans,
    is_buying: Booleans,
) -> Floats:
    """Probability that each shown item is clicked, independently of the others; arguments broadcast against each other.

    Examination of the position times the attraction of the item: the position-based model.

    Args:
        population: Who they all are.
        users: Who look.
        items: What is shown.
        positions: Slot of each, 0 is the first.
        viewed_items: What is in view beside it.
        is_seen: Whether the item was viewed in this session.
        is_buying: Whether the session is for buying.

    References:
        Craswell et al. (2008), "An experimental comparison of click position-bias models", WSDM.
    """
    logits = (
        _CLICK_BIAS
        + 0.9 * population.item_qualities[items]
        + 2.2 * population.affinity(users, items)
        + 1.2 * population.closeness(viewed_items, items)
        + 0.6 * (population.item_categories[items] == population.item_categories[viewed_items])
        - 1.2 * population.price_misfit(users, items)
        - 1.5 * is_seen
        + 0.4 * is_buying
    )
    examined: Floats = np.power(POSITION_DECAY, positions)
    return examined * sigmoid(logits)


def true_click_probability(population: Population, user: int, item: int, position: int, context: ClickContext) -> float:
    """Probability that ``user`` clicks on ``item`` when it is shown at ``position``."""
    return float(
        click_probabilities(
            population,
            np.array([user]),
            np.array([item]),
            np.array([position]),
            np.array([context.viewed_item]),
            np.array([item in context.seen]),
            np.array([context.is_buying]),
        )[0]
    )


def cart_probabilities(
    population: Population, users: Integers, items: Integers, is_buying: Booleans, is_repeat: Booleans
) -> Floats:
    """Probability that a view puts the item into the cart; arguments broadcast against each other.

    Args:
        population: Who they all are.
        users: Who view.
        items: What is viewed.
        is_buying: Whether the session is for buying.
        is_repeat: Whether the item was viewed before in the session.
    """
    return sigmoid(
        _CART_BIAS
        + 1.9 * is_buying
        + 0.8 * is_repeat
        + 0.5 * population.item_qualities[items]
        + 1.0 * population.affinity(users, items)
        - 0.6 * population.price_misfit(users, items)
    )


def purchase_probabilities(population: Population, users: Integers, items: Integers, is_buying: Booleans) -> Floats:
    """Probability that what is in the cart gets bought; arguments broadcast against each other."""
    return sigmoid(_PURCHASE_BIAS + 1.9 * is_buying - 0.5 * population.price_misfit(users, items))


def direct_purchase_probabilities(
    population: Population, users: Integers, items: Integers, is_buying: Booleans
) -> Floats:
    """Probability that a view which put nothing into the cart leads to a purchase all the same."""
    return _DIRECT_PURCHASE_SHARE * is_buying * purchase_probabilities(population, users, items, is_buying)


def sigmoid(logits: Floats) -> Floats:
    """Turns log-odds into probabilities."""
    odds: Floats = np.exp(logits)
    return odds / (1.0 + odds)
