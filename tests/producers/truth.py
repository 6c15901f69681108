"""The simulated shop's truth about one item at a time."""

import numpy as np

from producers.simulator.ground_truth import ClickContext, click_probabilities
from producers.simulator.population import Population


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
