"""The known optimum is the best of all slates, by the same truth that shoppers click by."""

from itertools import permutations

import numpy as np
import pytest

from producers.simulator.ground_truth import ClickContext
from producers.simulator.optimum import Look, best_expected_clicks
from producers.simulator.parameters import SimulationParameters
from producers.simulator.population import Population, draw_population
from tests.producers.truth import true_click_probability


@pytest.fixture(scope="module")
def population() -> Population:
    return draw_population(SimulationParameters(seed=3, n_users=6, n_items=8, n_categories=1))


LOOKS = [
    Look(user, ClickContext(viewed, {viewed, *seen}, is_buying), n_slots)
    for user, viewed, seen, is_buying, n_slots in (
        (0, 1, (), False, 3),
        (1, 2, (0, 5), True, 3),
        (2, 7, (3,), False, 2),
        (3, 0, (), True, 0),
        (4, 0, (1, 2, 3), False, 1),
    )
]


def expected(population: Population, look: Look, slate: tuple[int, ...]) -> float:
    return sum(
        true_click_probability(population, look.user, item, slot, look.context) for slot, item in enumerate(slate)
    )


def test_no_slate_of_the_shop_is_better_and_one_is_as_good(population: Population) -> None:
    for look, best in zip(LOOKS, best_expected_clicks(population, LOOKS), strict=True):
        others = [item for item in range(8) if item != look.context.viewed_item]
        assert best == pytest.approx(
            max(expected(population, look, slate) for slate in permutations(others, look.n_slots))
        )


def test_a_look_has_the_same_optimum_alone_and_among_others(population: Population) -> None:
    alone = [best_expected_clicks(population, [look])[0] for look in LOOKS]
    np.testing.assert_allclose(best_expected_clicks(population, LOOKS), alone)
    assert best_expected_clicks(population, []) == []
