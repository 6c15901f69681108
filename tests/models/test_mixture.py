"""The mixture's loss is bounded by the best model's; weights neither depend on batches nor on restarts."""

from itertools import pairwise
from math import log

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from streams.contract.arrays import pack_arrays, unpack_arrays
from streams.core.models.logistic import probabilities
from streams.core.models.measures import losses
from streams.core.models.mixture import CHANGES_AT, SHARE, WINS_AT, Mixture, mixed, weights_for_champion
from streams.core.models.quality import deviances

MEMBERS = ("old", "new", "other")


def served(n: int, seed: int = 0, blur: tuple[float, float, float] = (1.0, 0.2, 0.9)) -> tuple[np.ndarray, np.ndarray]:
    """Each model knows the log-odds up to a noise of its own."""
    random = np.random.default_rng(seed)
    logits = random.normal(-1.0, 1.0, n)
    labels = (random.random(n) < probabilities(logits)).astype(np.float64)
    return np.column_stack([probabilities(logits + random.normal(0.0, of, n)) for of in blur]), labels


def count(mixture: Mixture, given_: np.ndarray, labels: np.ndarray, weights: np.ndarray | None = None) -> np.ndarray:
    """Mixes, then updates, example by example; returns what was served."""
    said = np.empty(len(labels))
    for row in range(len(labels)):
        by_model = {model: given_[row : row + 1, place] for place, model in enumerate(MEMBERS)}
        awake = {model: value for model, value in by_model.items() if not np.isnan(value).any()}
        said[row] = mixed(awake, mixture.weights(), is_amount=False)[0]
        weight = np.ones(1) if weights is None else weights[row : row + 1]
        mixture.update(MEMBERS, given_[row : row + 1], labels[row : row + 1], weight)
    return said


@given(
    st.integers(1, 60).flatmap(
        lambda n: st.tuples(
            arrays(np.float64, (n, 3), elements=st.floats(1e-6, 1.0 - 1e-6)),
            arrays(np.float64, n, elements=st.sampled_from([0.0, 1.0])),
        )
    ),
    st.sampled_from([1.0, 0.2]),
)
@settings(deadline=None, max_examples=60)
def test_on_any_sequence_the_loss_exceeds_no_models_by_more_than_the_bound(
    stream: tuple[np.ndarray, np.ndarray], rate: float
) -> None:
    given_, labels = stream
    said = count(Mixture(MEMBERS, rate=rate), given_, labels)
    best = min(losses(given_[:, place], labels).sum() for place in range(3))
    assert (1.0 - SHARE) * losses(said, labels).sum() <= best + log(3.0) / rate + 1e-9


def test_after_a_change_the_model_that_is_best_now_has_nearly_all_weight() -> None:
    given_, labels = served(4000)
    given_[2000:, :2] = given_[2000:, 1::-1]
    mixture = Mixture(MEMBERS)
    count(mixture, given_[:2000], labels[:2000])
    assert mixture.weights()["new"] > 0.8
    said = count(mixture, given_[2000:], labels[2000:])
    assert mixture.weights()["old"] > 0.8
    late = losses(said[200:], labels[2200:]).mean()
    assert late < losses(given_[2200:, 0], labels[2200:]).mean() * 1.005


def test_rates_and_weights_make_an_example_count_at_most_once() -> None:
    given_, labels = served(50)
    whole, heavy, light = Mixture(MEMBERS), Mixture(MEMBERS), Mixture(MEMBERS, rate=0.1)
    whole.update(MEMBERS, given_, labels, np.ones(50))
    heavy.update(MEMBERS, given_, labels, np.full(50, 1e15))
    assert heavy.weights() == whole.weights()
    light.update(MEMBERS, given_, labels, np.ones(50))
    assert whole.weights()["new"] > light.weights()["new"] > 1.0 / 3.0


def test_a_model_without_predictions_keeps_its_weight() -> None:
    given_, labels = served(500)
    given_[:, 2] = np.nan
    mixture = Mixture(MEMBERS)
    count(mixture, given_, labels)
    assert mixture.weights()["other"] == 1.0 / 3.0
    assert mixture.weights()["new"] > 0.6
    alone = Mixture(MEMBERS)
    assert alone.update(("old", "retired"), given_[:, :2], labels, np.ones(500)) == 500
    assert alone.weights() == Mixture(MEMBERS).weights()


@given(cuts=st.lists(st.integers(0, 600), max_size=8))
@settings(deadline=None, max_examples=20)
def test_neither_batches_nor_restarts_change_a_bit(cuts: list[int]) -> None:
    given_, labels = served(600)
    given_[::7, 2] = np.nan
    weights = np.random.default_rng(1).choice([1.0, 0.2], 600)
    straight, stopped = Mixture(MEMBERS, rate=0.5), Mixture(MEMBERS, rate=0.5)
    for mixture in (straight, stopped):
        mixture.enter("other")
    columns = (*MEMBERS[:2], "fresh")
    assert straight.update(columns, given_, labels, weights) == 600
    assert straight.switches >= 1
    for start, end in pairwise([0, *sorted(cuts), 600]):
        resumed = Mixture(MEMBERS, rate=0.5)
        kept = (unpack_arrays(pack_arrays(of)) for of in (stopped.weight_arrays(), stopped.arrays()))
        resumed.restore(*kept)
        resumed.update(columns, given_[start:end], labels[start:end], weights[start:end])
        stopped = resumed
    assert pack_arrays(stopped.weight_arrays()) == pack_arrays(straight.weight_arrays())
    assert pack_arrays(stopped.arrays()) == pack_arrays(straight.arrays())


def test_the_champion_is_a_model_that_none_outweighs_twice() -> None:
    given_, labels = served(300)
    mixture, champions = Mixture(MEMBERS), ["old"]
    for row in range(300):
        mixture.update(MEMBERS, given_[row : row + 1], labels[row : row + 1], np.ones(1))
        weights = mixture.weights()
        changes = max(weights.values()) >= CHANGES_AT * weights[champions[-1]]
        champions.append(max(MEMBERS, key=lambda model: weights[model]) if changes else champions[-1])
        assert mixture.champion == champions[-1]
    assert champions[-1] == "new"
    assert mixture.switches == sum(one != other for one, other in pairwise(champions)) >= 1


def test_a_replacement_starts_with_half_of_a_weight_and_ends_the_update_when_it_has_won() -> None:
    given_, labels = served(3000)
    mixture = Mixture(MEMBERS)
    mixture.enter("old")
    assert mixture.weights("old#1") == pytest.approx({"old": 1 / 6, "new": 1 / 3, "other": 1 / 3, "old#1": 1 / 6})
    columns = ("old", "fresh", "other")
    added = mixture.update(columns, given_, labels, np.ones(3000))
    weights = mixture.weights("old#1")
    assert 0 < added < 3000
    assert mixture.has_winner
    assert weights["old#1"] >= WINS_AT * weights["old"]
    mixture.absorb()
    assert mixture.weights()["old"] == weights["old"] + weights["old#1"]
    assert mixture.weights("old#1")["old#1"] == 0.0
    assert not mixture.has_winner


def test_what_is_not_published_has_no_weight_unless_that_is_all() -> None:
    mixture = Mixture(MEMBERS)
    mixture.drop({"old"})
    assert mixture.weights() == {"old": 0.0, "new": 0.5, "other": 0.5}
    assert (mixture.champion, mixture.switches) == ("new", 1)
    mixture.drop(set(MEMBERS))
    assert mixture.weights() == {"old": 0.0, "new": 0.5, "other": 0.5}


def test_another_set_of_models_goes_on_with_the_weights_it_knows() -> None:
    given_, labels = served(500)
    mixture = Mixture(MEMBERS)
    count(mixture, given_, labels)
    before = mixture.weights()
    fewer, more = Mixture(("old", "other")), Mixture((*MEMBERS, "newest"))
    for each in (fewer, more):
        each.restore(mixture.weight_arrays(), mixture.arrays())
    assert fewer.weights() == pytest.approx(
        {name: before[name] / (before["old"] + before["other"]) for name in ("old", "other")}
    )
    assert more.weights() == pytest.approx({name: 0.75 * weight for name, weight in before.items()} | {"newest": 0.25})
    assert more.champion == "new"


def test_a_champion_that_served_alone_goes_on_with_nearly_all_weight() -> None:
    mixture = Mixture(MEMBERS)
    state = {"champion": np.frombuffer(b"other", np.uint8), "switches": np.array([3])}
    mixture.restore(weights_for_champion(sorted(MEMBERS), "other"), state)
    assert mixture.weights() == pytest.approx({"old": 0.01 / 3, "new": 0.01 / 3, "other": 0.99 + 0.01 / 3})
    assert (mixture.champion, mixture.switches) == ("other", 3)


def test_the_mean_of_amounts_loses_at_most_the_mean_of_their_losses() -> None:
    random = np.random.default_rng(0)
    amounts = random.lognormal(2.0, 1.0, (2, 500))
    spent = np.where(random.random(500) < 0.3, random.lognormal(2.0, 1.0, 500), 0.0)
    weights = {"one": 0.3, "two": 0.7}
    said = mixed(dict(zip(weights, amounts, strict=True)), weights, is_amount=True)
    each = [weight * deviances(of, spent) for weight, of in zip(weights.values(), amounts, strict=True)]
    assert (deviances(said, spent) <= sum(each) + 1e-9).all()
    arithmetic = 0.3 * amounts[0] + 0.7 * amounts[1]
    assert (deviances(arithmetic, spent) > sum(each)).any()
