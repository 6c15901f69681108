"""Known optimum: the slate of the whole shop with the most expected clicks of a shopper."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from producers.simulator.ground_truth import POSITION_DECAY, ClickContext, click_probabilities
from producers.simulator.population import Floats, Population


class Look(NamedTuple):
    """A user who looks at a slate, the context, and the slate's number of slots."""

    user: int
    context: ClickContext
    n_slots: int


def best_expected_clicks(population: Population, looks: Sequence[Look]) -> list[float]:
    """Sums the true click probabilities of the best slate, for each look.

    Clicks are independent and a slot only scales the probability of its item, so the best slate is the most attractive
    items in order. The viewed item is not recommended.
    """
    if not looks:
        return []
    items = np.arange(len(population.item_categories))
    viewed = np.array([look.context.viewed_item for look in looks])[:, None]
    is_seen = np.zeros((len(looks), len(items)), bool)
    for place, look in enumerate(looks):
        is_seen[place, list(look.context.seen)] = True
    attractions = click_probabilities(
        population,
        np.array([look.user for look in looks])[:, None],
        items,
        np.zeros(1, np.int64),
        viewed,
        is_seen,
        np.array([look.context.is_buying for look in looks])[:, None],
    )
    np.put_along_axis(attractions, viewed, 0.0, axis=1)
    return [_best(row, look.n_slots) for row, look in zip(attractions, looks, strict=True)]


def _best(attractions: Floats, n_slots: int) -> float:
    if not n_slots:
        return 0.0
    best = np.sort(np.partition(attractions, -n_slots)[-n_slots:])[::-1]
    return float(best @ POSITION_DECAY ** np.arange(n_slots))
