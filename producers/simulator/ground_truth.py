"""Ground truth: the probabilities that shoppers click, add to the cart and buy.

A policy can estimate much of a click's probability from the events: an item's quality from its counts, its closeness to
the viewed item from covisits; category and price are in the events. The taste is latent.
"""

from collections.abc import Collection
from typing import Final, NamedTuple

import numpy as np

from producers.simulator.population import Booleans, Floats, Integers, Population

POSITION_DECAY: Final = 0.85
"""Factor from a slot's examination to the next one's; the first slot is always examined."""

_CLICK_BIAS: Final = -3.4
_CART_BIAS: Final = -5.0
_PURCHASE_BIAS: Final = -1.85
_DIRECT_PURCHASE_SHARE: Final = 0.025


class ClickContext(NamedTuple):
    """State of a shopper when a slate is shown.

    Attributes:
        viewed_item: The current item.
        seen: Items viewed in this session, with the current one.
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
    """Returns the probability that each shown item is clicked, independently of others; arguments broadcast.

    It is the position-based model: examination of the position times attraction of the item.

    Args:
        population: Users and items.
        users: Users who look at the slates.
        items: Shown items.
        positions: Slot of each item, 0 is the first.
        viewed_items: Current item of the user.
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


def cart_probabilities(
    population: Population, users: Integers, items: Integers, is_buying: Booleans, is_repeat: Booleans
) -> Floats:
    """Returns the probability that a viewed item is added to the cart; arguments broadcast against each other.

    Args:
        population: Users and items.
        users: Users who view.
        items: Viewed items.
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
    """Returns the probability that an item in the cart is bought; arguments broadcast against each other."""
    return sigmoid(_PURCHASE_BIAS + 1.9 * is_buying - 0.5 * population.price_misfit(users, items))


def direct_purchase_probabilities(
    population: Population, users: Integers, items: Integers, is_buying: Booleans
) -> Floats:
    """Returns the probability that a view leads to a purchase without an addition to the cart."""
    return _DIRECT_PURCHASE_SHARE * is_buying * purchase_probabilities(population, users, items, is_buying)


def sigmoid(logits: Floats) -> Floats:
    """Turns log-odds into probabilities."""
    odds: Floats = np.exp(logits)
    return odds / (1.0 + odds)
