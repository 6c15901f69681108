"""The bake-off chooses in some worlds and confirms in others, and its page says which are which."""

import pytest

from benchmarks.bakeoff import CHOOSING, CONFIRMING, DELAYS, RATES, Player, Setting, page, relative, shipped
from streams.evaluation.laboratory.study import GRIDS


def test_no_world_that_chooses_confirms() -> None:
    assert not {*CHOOSING} & {*CONFIRMING, *RATES}


def test_regrets_are_compared_within_their_world() -> None:
    here, there = Setting("fatigue", "none", 0.3, 0), Setting("leaving", "none", 0.3, 0)
    one, two = Player("greedy", None), Player("linucb", 0.2)
    played = {
        here: {one: {"regret": [1.0, 3.0]}, two: {"regret": [4.0, 4.0]}},
        there: {one: {"regret": [8.0]}, two: {"regret": [1.0]}},
    }
    assert relative(played) == {one: pytest.approx(8**0.5), two: pytest.approx(2**0.5)}


def test_the_page_has_what_was_chosen_and_what_ships() -> None:
    kinds = ["greedy", *GRIDS]
    best = {kind: Player(kind, GRIDS[kind][1][-1] if kind in GRIDS else None) for kind in kinds}
    players = [*best.values(), *(shipped(kind) for kind in GRIDS)]
    scores = {Player(kind, value): 1.5 for kind in GRIDS for value in GRIDS[kind][1]} | {best["greedy"]: 2.5}
    result = {"regret": [10.0, 12.0], "effective": [0.25, 0.75]}
    confirmed, rates = (
        {Setting(*world, delay): dict.fromkeys(players, result) for world in worlds for delay in DELAYS}
        for worlds in (CONFIRMING, RATES)
    )
    lines = list(page(scores, best, confirmed, rates, 1000))
    assert "| greedy | 2.50 | | |" in lines
    assert any(line.endswith("| 1024 (an end of the grid) | 20 |") for line in lines)
    # Two values have a standard deviation of the root of 2, and 12.7 such errors for 95 %.
    assert any(line.startswith("| leaving, 30% | 400 | 11 ± 13 |") for line in lines)
    assert "| squarecb, exploration 20 (ships) | 1.00 | 0.500 to 0.500 |" in lines
