"""The closed loop in memory repeats to the digit, and what it says of slates is possible."""

import pytest

from benchmarks.virtual_shop import Played, alone, play
from producers.simulator.parameters import SimulationParameters
from streams.contract.settings import Settings

SMALL = SimulationParameters(events=3000, n_users=200, n_items=400, seed=3)


@pytest.fixture(scope="module")
def played() -> Played:
    return play(alone(Settings(), "greedy"), SMALL)


def test_a_run_repeats_to_the_digit(played: Played) -> None:
    assert play(alone(Settings(), "greedy"), SMALL).quarters == played.quarters


def test_a_policy_that_is_alone_has_all_shoppers_but_the_controls(played: Played) -> None:
    assert set(played.quarters) == {"greedy", "random"}
    slots = {name: sum(each.slots for each in quarters) for name, quarters in played.quarters.items()}
    assert 0.85 < slots["greedy"] / sum(slots.values()) < 0.99


def test_no_slate_is_better_than_the_best_of_its_shortlist_nor_that_than_the_best_of_the_shop(played: Played) -> None:
    for quarters in played.quarters.values():
        for each in quarters:
            assert 0.0 <= each.expected <= each.shortlist + 1e-9 <= each.shop + 2e-9
            assert 0.0 <= each.random <= each.shortlist
        assert quarters[-1].expected > 0.0


def test_what_is_shown_at_random_is_worth_the_mean_of_the_shortlist_and_its_clicks_are_what_is_expected(
    played: Played,
) -> None:
    quarters = played.quarters["random"] + played.quarters["greedy"]
    expected, clicks = sum(each.expected for each in quarters), sum(each.clicks for each in quarters)
    assert abs(clicks - expected) < 5.0 * expected**0.5
    shown = [(each.expected, each.random) for each in played.quarters["random"]]
    assert sum(own for own, _ in shown) == pytest.approx(sum(mean for _, mean in shown), rel=0.3)
