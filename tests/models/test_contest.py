from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streams.contract.arrays import pack_arrays, unpack_arrays
from streams.core.models.champion_selection import FADING_EXAMPLES, LEAST_EXAMPLES, STANDARD_ERRORS, ChampionSelection
from streams.core.models.logistic import probabilities
from streams.core.models.measures import losses

MEMBERS = ("old", "new", "other")


def served(n: int, seed: int = 0, blur: tuple[float, float, float] = (1.0, 0.2, 0.9)) -> tuple[np.ndarray, np.ndarray]:
    """Each model knows the log-odds up to a noise of its own."""
    random = np.random.default_rng(seed)
    logits = random.normal(-1.0, 1.0, n)
    labels = (random.random(n) < probabilities(logits)).astype(np.float64)
    return np.column_stack([probabilities(logits + random.normal(0.0, of, n)) for of in blur]), labels


def count(contest: ChampionSelection, given_: np.ndarray, labels: np.ndarray, weights: np.ndarray) -> None:
    start = 0
    while start < len(labels):
        start += contest.update(MEMBERS, given_[start:], labels[start:], weights[start:])


def run(contest: ChampionSelection, given_: np.ndarray, labels: np.ndarray) -> list[str]:
    """Counts example by example and lists the champions."""
    champions = []
    for row in range(len(labels)):
        count(contest, given_[row : row + 1], labels[row : row + 1], np.ones(1))
        champions.append(contest.champion)
    return champions


def test_the_champion_changes_when_the_faded_paired_difference_exceeds_two_standard_errors() -> None:
    given_, labels = served(3000)
    champions = run(ChampionSelection(MEMBERS), given_, labels)
    changed = next(row for row, champion in enumerate(champions) if champion != "old")
    each = np.column_stack([losses(given_[:, place], labels) for place in range(3)])

    def above(row: int) -> float:
        gains = (each[: row + 1, :1] - each[: row + 1])[:, 1:]
        fade = (1.0 - 1.0 / FADING_EXAMPLES) ** np.arange(row, -1, -1.0)
        mean = fade @ gains / fade.sum()
        errors = np.sqrt((fade[:, None] ** 2 * (gains - mean) ** 2).sum(axis=0)) / fade.sum()
        enough = fade.sum() ** 2 / (fade**2).sum() >= LEAST_EXAMPLES
        return float((mean - STANDARD_ERRORS * errors).max()) if enough else 0.0

    assert above(changed) > 0.0
    assert all(above(row) <= 0.0 for row in range(changed))
    assert champions[-1] == "new"


def test_equals_seldom_replace_each_other() -> None:
    switches = 0
    for seed in range(10):
        contest = ChampionSelection(MEMBERS)
        given_, labels = served(1000, seed, (0.5, 0.5, 0.5))
        count(contest, given_, labels, np.ones(1000))
        switches += contest.switches
    assert switches <= 10


def test_a_challenger_whose_probabilities_were_never_served_does_not_compete() -> None:
    given_, labels = served(2000)
    given_[:, 1] = np.nan
    contest = ChampionSelection(MEMBERS)
    count(contest, given_, labels, np.ones(2000))
    assert contest.champion != "new"
    alone = ChampionSelection(MEMBERS)
    alone.update(("old",), given_[:, :1], labels, np.ones(2000))
    assert (alone.champion, alone.switches) == ("old", 0)


@given(cuts=st.lists(st.integers(0, 1200), max_size=8))
@settings(deadline=None, max_examples=20)
def test_neither_batches_nor_restarts_change_a_bit(cuts: list[int]) -> None:
    given_, labels = served(1200)
    given_[::7, 2] = np.nan
    weights = np.random.default_rng(1).choice([1.0, 2.0], 1200)
    straight, stopped = ChampionSelection(MEMBERS), ChampionSelection(MEMBERS)
    count(straight, given_, labels, weights)
    assert straight.switches >= 1
    for start, end in pairwise([0, *sorted(cuts), 1200]):
        resumed = ChampionSelection(MEMBERS)
        resumed.restore(unpack_arrays(pack_arrays(stopped.arrays())))
        count(resumed, given_[start:end], labels[start:end], weights[start:end])
        stopped = resumed
    assert pack_arrays(stopped.arrays()) == pack_arrays(straight.arrays())


def test_a_champion_that_is_no_longer_declared_gives_way_to_the_first() -> None:
    given_, labels = served(1500)
    contest = ChampionSelection(MEMBERS)
    count(contest, given_, labels, np.ones(1500))
    assert contest.champion == "new"
    fewer = ChampionSelection(("old", "other"))
    fewer.restore(contest.arrays())
    assert fewer.champion == "old"


def test_the_best_is_the_one_with_the_smallest_faded_loss() -> None:
    given_, labels = served(90)
    contest = ChampionSelection(MEMBERS)
    assert contest.best(("old", "other")) == "old"
    count(contest, given_, labels, np.ones(90))
    assert contest.best(MEMBERS) == "new"
    assert pytest.approx(0.0) == contest.arrays()["sums"][0, 0]
