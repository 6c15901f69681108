"""What follows on average from one more view of a session, by the items that it will probably see."""

from typing import Final, NamedTuple

import numpy as np

from producers.simulator.ground_truth import (
    cart_probabilities,
    click_probabilities,
    direct_purchase_probabilities,
    purchase_probabilities,
)
from producers.simulator.plan import REMOVAL_PROBABILITY, REPEAT_PROBABILITIES
from producers.simulator.population import Floats, Integers, Population

IS_BUYING: Final = np.array([[False], [True]])
_ORDERS: Final = 6
_ITEMS: Final = 10


class TypicalView(NamedTuple):
    """Expectations for one view, ``(2, n_particles)`` each.

    Attributes:
        cart: Additions to the cart, of a view that does not follow from a click.
        purchases: Its purchases.
        followed_cart: Additions to the cart, of a view that follows from a click.
        followed_purchases: Its purchases.
        price: Mean price of an item.
    """

    cart: Floats
    purchases: Floats
    followed_cart: Floats
    followed_purchases: Floats
    price: float


def imagine_view(population: Population, items: Integers, log_odds: Floats, weights: Floats) -> TypicalView:
    """Computes the expectations over the first items of some orders in which a session might see them.

    Args:
        population: With the particles as its users.
        log_odds: Of each item to be the next one, ``(n_particles, n_items)``.
        weights: Of the particles, their sum is 1.
    """
    keys = weights @ log_odds + np.random.default_rng(0).gumbel(size=(_ORDERS, len(items)))
    chosen, counts = np.unique(items[np.argsort(-keys, axis=1)[:, :_ITEMS]], return_counts=True)
    shares = counts / counts.sum()
    users, buying = np.arange(len(weights))[:, None], IS_BUYING[:, :, None]
    first, again = (
        cart_probabilities(population, users, chosen, buying, np.array([is_repeat])) for is_repeat in (False, True)
    )
    repeat = np.array(REPEAT_PROBABILITIES)[:, None, None]
    cart = (1.0 - repeat) * first + repeat * again
    buy = purchase_probabilities(population, users, chosen, buying)
    direct = direct_purchase_probabilities(population, users, chosen, buying)
    clicked = shares * click_probabilities(
        population, users, chosen, np.zeros(1, np.int64), chosen[:1], np.zeros(1, bool), buying
    )
    clicked = clicked / clicked.sum(axis=2, keepdims=True)
    return TypicalView(
        cart=(shares * cart).sum(axis=2),
        purchases=(shares * ((1.0 - REMOVAL_PROBABILITY) * cart * buy + (1.0 - cart) * direct)).sum(axis=2),
        followed_cart=(clicked * first).sum(axis=2),
        followed_purchases=(clicked * first * buy).sum(axis=2),
        price=float(shares @ np.exp(population.item_log_prices[chosen])),
    )


def log_shares(log_odds: Floats) -> Floats:
    """Returns the log of the shares that log-odds give, over the last axis."""
    shifted = log_odds - log_odds.max(axis=-1, keepdims=True)
    shares: Floats = shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True))
    return shares
