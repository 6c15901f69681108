"""Population: the items and users of a simulation, drawn once from a seed."""

from typing import Final

import msgspec
import numpy as np
from msgspec.structs import replace
from numpy.typing import NDArray

from producers.simulator.parameters import SimulationParameters

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]
Booleans = NDArray[np.bool_]

TASTES: Final = 8
_USUAL_LOG_PRICE: Final = 3.2
"""About 25 in the shop's currency."""


class Population(msgspec.Struct, frozen=True):
    """The constant properties of items, users and categories, all addressed by index.

    Latents and tastes are unit vectors, so that a product of two is a cosine.

    Attributes:
        item_categories: ``(n_items,)``, sorted, so that a category is a range.
        category_starts: ``(n_categories + 1,)``: category ``c`` is the items ``[starts[c], starts[c + 1])``.
        category_centres: ``(n_categories, TASTES)``; the latents of a category's items scatter around its centre.
        category_log_popularities: Log of the relative frequency with which users come for a category.
        item_latents: ``(n_items, TASTES)``.
        item_qualities: Standard normal, ``(n_items,)``; raises everyone's probability to click and to buy.
        item_log_popularities: Log of the relative frequency with which users find an item, ``(n_items,)``.
        item_log_prices: ``(n_items,)``.
        user_tastes: ``(n_users, TASTES)``.
        user_log_prices: Log of a user's usual price of an item, ``(n_users,)``.
        user_price_sensitivities: Effect of a price other than the usual one, per unit of log price, ``(n_users,)``.
        user_resolutions: Log-odds that a session is for buying, ``(n_users,)``.
        user_shares: Cumulative share of all sessions, ``(n_users,)``.
        user_category_shares: Cumulative share of a user's sessions by category, ``(n_users, n_categories)``.
    """

    item_categories: Integers
    category_starts: Integers
    category_centres: Floats
    category_log_popularities: Floats
    item_latents: Floats
    item_qualities: Floats
    item_log_popularities: Floats
    item_log_prices: Floats
    user_tastes: Floats
    user_log_prices: Floats
    user_price_sensitivities: Floats
    user_resolutions: Floats
    user_shares: Floats
    user_category_shares: Floats

    def affinity(self, users: Integers, items: Integers) -> Floats:
        """Returns the cosine of taste and item, in [-1, 1]; arguments broadcast against each other."""
        cosine: Floats = np.einsum("...k,...k->...", self.user_tastes[users], self.item_latents[items])
        return cosine

    def closeness(self, items: Integers, others: Integers) -> Floats:
        """Returns the cosine of two items, in [-1, 1]; arguments broadcast against each other."""
        cosine: Floats = np.einsum("...k,...k->...", self.item_latents[items], self.item_latents[others])
        return cosine

    def price_misfit(self, users: Integers, items: Integers) -> Floats:
        """Returns the effect of an item's price on a user, 0 at the usual price; arguments broadcast."""
        distance = np.abs(self.item_log_prices[items] - self.user_log_prices[users])
        misfit: Floats = self.user_price_sensitivities[users] * distance
        return misfit


def draw_population(parameters: SimulationParameters) -> Population:
    """Draws items and users; the same parameters give the same population."""
    rng = np.random.default_rng([parameters.seed, 0])
    n_items, n_users, n_categories = parameters.n_items, parameters.n_users, parameters.n_categories
    categories = np.sort(np.arange(n_items) % n_categories)
    centres = _unit(rng.standard_normal((n_categories, TASTES)))
    latents = _unit(0.75 * centres[categories] + 0.66 * _unit(rng.standard_normal((n_items, TASTES))))
    qualities = rng.standard_normal(n_items)
    category_log_prices = _USUAL_LOG_PRICE + 0.25 * rng.standard_normal(n_categories)
    tastes = _draw_tastes(rng, centres, n_users)
    category_popularities = 0.5 * rng.standard_normal(n_categories)
    return Population(
        item_categories=categories,
        category_starts=np.searchsorted(categories, np.arange(n_categories + 1)),
        category_centres=centres,
        category_log_popularities=category_popularities,
        item_latents=latents,
        item_qualities=qualities,
        item_log_popularities=0.5 * qualities + 0.8 * rng.standard_normal(n_items),
        item_log_prices=category_log_prices[categories] + 0.6 * rng.standard_normal(n_items),
        **_draw_users(rng, tastes, centres, category_popularities),
    )


def draw_other_users(population: Population, n_users: int, rng: np.random.Generator) -> Population:
    """Draws other users of the same items, independently of the present ones."""
    centres = population.category_centres
    tastes = _draw_tastes(rng, centres, n_users)
    return replace(population, **_draw_users(rng, tastes, centres, population.category_log_popularities))


def _draw_tastes(rng: np.random.Generator, centres: Floats, n_users: int) -> Floats:
    favourites = centres[rng.integers(len(centres), size=n_users)] + centres[rng.integers(len(centres), size=n_users)]
    return _unit(0.6 * favourites + 0.7 * _unit(rng.standard_normal((n_users, TASTES))))


def _draw_users(
    rng: np.random.Generator, tastes: Floats, centres: Floats, category_popularities: Floats
) -> dict[str, Floats]:
    """Draws the fields of users with these tastes."""
    n_users = len(tastes)
    return {
        "user_tastes": tastes,
        "user_log_prices": _USUAL_LOG_PRICE + 0.5 * rng.standard_normal(n_users),
        "user_price_sensitivities": rng.lognormal(0.0, 0.35, n_users),
        "user_resolutions": 0.8 * rng.standard_normal(n_users),
        "user_shares": _cumulative(rng.gamma(2.0, size=n_users)),
        "user_category_shares": _cumulative(np.exp(3.5 * tastes @ centres.T + category_popularities)),
    }


def _unit(vectors: Floats) -> Floats:
    scaled: Floats = vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)
    return scaled


def _cumulative(weights: Floats) -> Floats:
    sums: Floats = np.cumsum(weights, axis=-1)
    return sums / sums[..., -1:]
