"""The bake-off chooses in some worlds and confirms in others, and its page says which are which."""

import numpy as np
import pytest

from benchmarks.bakeoff import (
    CHOOSING,
    CLASSIFICATION,
    CONFIRMING,
    DELAYS,
    FLOORED,
    LOW_FLOORS,
    RATES,
    VW,
    Job,
    Player,
    Setting,
    Tables,
    chosen,
    page,
    play,
    price,
    relative,
    shares_of,
    shipped,
)
from benchmarks.classification import SETS, Classification
from benchmarks.peers import vowpal_wabbit
from streams.evaluation.laboratory.study import GRIDS

HERE, THERE = Setting("fatigue", "none", 0.3, 0), Setting("leaving", "none", 0.3, 0)
ONE, TWO = Player("greedy", None), Player("linucb", 0.2)


def test_no_world_that_chooses_confirms() -> None:
    assert not {*CHOOSING} & {*CONFIRMING, *CLASSIFICATION, *RATES}


def test_regrets_are_compared_within_their_world() -> None:
    played = {
        HERE: {ONE: {"regret": [1.0, 3.0]}, TWO: {"regret": [4.0, 4.0]}},
        THERE: {ONE: {"regret": [8.0]}, TWO: {"regret": [1.0]}},
    }
    assert relative(played) == {ONE: pytest.approx(8**0.5), TWO: pytest.approx(2**0.5)}
    assert shares_of(ONE, TWO, played) == {HERE: 0.5, THERE: 8.0}


def test_what_leaves_too_small_a_log_in_one_world_is_not_chosen() -> None:
    grid = [Player(kind, value) for kind in GRIDS for value in (0.1, 0.2)] + [ONE]
    scores = {player: player.value or 1.0 for player in grid}
    fine, poor = {"effective": [0.1, 0.2]}, {"effective": [0.05, 0.1]}
    played = {
        HERE: dict.fromkeys(grid, fine),
        THERE: dict.fromkeys(grid, fine) | {Player("thompson", 0.1): poor, ONE: poor},
    }
    found = chosen(scores, played)
    assert [found[kind].value for kind in ("squarecb", "thompson", "greedy")] == [0.1, 0.2, None]


def test_the_floor_alone_costs_its_share_of_the_gap_between_the_best_and_the_mean() -> None:
    # One of three classes is right, and the mean of the three is a third.
    assert price(Setting("iris", "none", 1.0, 0), 10) == pytest.approx(shipped(FLOORED).policy().floor * 10 * 2 / 3)


def test_a_class_is_an_arm_and_every_row_comes_once_before_any_comes_again() -> None:
    world = Classification("iris", range(2), 310)
    assert (world.n_arms, world.n_features) == (3, 5)
    rows = np.stack([world.features(number)[:, 0] for number in range(300)])
    assert (rows[:, :, 0] == 1.0).all()
    for order in range(2):
        first, second = (sorted(map(tuple, rows[part, order])) for part in (slice(150), slice(150, 300)))
        assert first == second
    assert (rows[:150, 0] != rows[:150, 1]).any()
    assert (rows[:150, 0] != rows[150:, 0]).any()
    right = world.expected(7)
    assert right.sum(axis=1).tolist() == [1.0, 1.0]
    assert world.rewards(7, right[:, 1]).tolist() == right[:, 1].tolist()


@pytest.mark.parametrize("name", SETS)
def test_what_is_learned_of_a_set_beats_guessing(name: str) -> None:
    job = Job(shipped("thompson"), Setting(name, "none", 1.0, 0), 0, 2, 400)
    n_arms = Classification(name, range(1), 1).n_arms
    assert max(play(job)["regret"]) < 0.8 * 400 * (1.0 - 1.0 / n_arms)


@pytest.mark.peers
@pytest.mark.skipif(not vowpal_wabbit.is_installed(), reason="vowpalwabbit, of the group peers, is not installed")
@pytest.mark.parametrize("world", ["shared-linear", "disjoint-linear"])
def test_vowpal_wabbit_learns_at_once_and_late(world: str) -> None:
    vw, uniform = Player(VW, 100.0, explores="squarecb"), Player("squarecb", 1e-9)
    at_once, late, never, guessed = (
        sum(play(Job(player, Setting(world, "none", 0.3, delay), 0, 2, 600))["regret"])
        for player, delay in ((vw, 0), (vw, 100), (vw, 600), (uniform, 0))
    )
    assert max(at_once, late) < 0.9 * guessed
    assert never == pytest.approx(guessed)


def test_the_page_has_what_was_chosen_and_what_ships() -> None:
    kinds = ["greedy", *GRIDS]
    best = {kind: Player(kind, GRIDS[kind][1][-1] if kind in GRIDS else None) for kind in kinds}
    vw = Player(VW, 100.0, explores="squarecb")
    players = [*dict.fromkeys([*best.values(), *(shipped(kind) for kind in GRIDS)]), vw]
    scores = {Player(kind, value): 1.5 for kind in GRIDS for value in GRIDS[kind][1]} | {best["greedy"]: 2.5}
    result = {"regret": [10.0, 12.0], "effective": [0.25, 0.75]}
    theirs = {"regret": [20.0, 24.0], "effective": [0.25, 0.75]}
    lower = [shipped(FLOORED)._replace(floor=floor) for floor in LOW_FLOORS]
    confirmed, rates, floored = (
        {Setting(*world, delay): dict.fromkeys(each, result) | {vw: theirs} for world in worlds for delay in DELAYS}
        for worlds, each in (
            ((*CONFIRMING, *CLASSIFICATION), players),
            (RATES, players),
            ((*CONFIRMING, *CLASSIFICATION), [*lower, shipped(FLOORED)]),
        )
    )
    for by_player in floored.values():
        del by_player[vw]
    prices, costs = {setting: 4.4 for setting in confirmed if setting.delay == 0}, dict.fromkeys(players, 12.3)
    lines = list(page(Tables(scores, best, {vw: 1.0}, confirmed, rates, floored, prices, costs), 1000))
    assert "| greedy | 2.50 | | |" in lines
    assert any(line.endswith(f"| 4096 (an end of the grid) | {shipped('squarecb').value:g} |") for line in lines)
    # Two values have a standard deviation of the root of 2, and 12.7 such errors for 95 %.
    assert any(line.startswith("| leaving, 30% | 400 | 11 ± 13 |") for line in lines)
    shares = {shipped("squarecb").label + " (ships)": ("1.00", "50%"), vw.label: ("2.00", "100%")}
    for label, (by_least, by_vw) in shares.items():
        cells = f"{by_least} | {by_vw} | {by_vw} | {by_vw} | {by_vw} (non-linear, 30%, 0) | 0.500 to 0.500 | 12"
        assert f"| {label} | {cells} |" in lines
    assert "| wine | 4 | 11 | 22 |" in lines
    assert "| 0.01 | 100% | 100% | 50% | 50% | 50% | 50% (non-linear, 30%, 0) | 0.500 to 0.500 |" in lines
