"""The shop's catalogue: its items as it lists them, and as all events name them."""

import numpy as np

from producers.simulator.population import Floats, Population
from producers.simulator.titles import draw_titles
from streams.contract.catalogue import CatalogueItem


def list_items(population: Population, seed: int) -> list[CatalogueItem]:
    """Lists all items, by index; the same population and seed give the same list."""
    categories = population.item_categories.tolist()
    rows = zip(draw_titles(categories, seed), categories, shop_prices(population).tolist(), strict=True)
    return [
        CatalogueItem(item_id=f"item-{number}", title=title, category=f"category-{category}", price=price)
        for number, (title, category, price) in enumerate(rows)
    ]


def shop_prices(population: Population) -> Floats:
    """Returns the prices of all items, in whole cents."""
    prices: Floats = np.exp(population.item_log_prices).round(2)
    return prices
