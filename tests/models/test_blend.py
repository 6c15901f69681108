import numpy as np
import pytest

from streams.contract.arrays import pack_arrays, unpack_arrays
from streams.core.models.blend import BlendLearner, blend_logits
from streams.core.models.logistic import probabilities
from streams.core.models.measures import losses

MEMBERS = ("sharp", "dull")
PRIOR = 0.5


def served(n: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """One model knows the truth but exaggerates threefold, the other guesses."""
    random = np.random.default_rng(seed)
    truth = random.normal(-1.0, 1.5, n)
    labels = (random.random(n) < probabilities(truth)).astype(np.float64)
    return np.column_stack([probabilities(3.0 * truth), probabilities(random.normal(0.0, 1.0, n))]), labels


def said(blend: BlendLearner, given: np.ndarray) -> np.ndarray:
    logits = {name: np.log(given[:, place] / (1 - given[:, place])) for place, name in enumerate(MEMBERS)}
    return probabilities(blend_logits(logits, blend.parameters()))


def test_it_starts_as_the_mean_of_the_log_odds() -> None:
    given, _ = served(50)
    expected = probabilities(np.log(given / (1 - given)).mean(axis=1))
    assert said(BlendLearner(MEMBERS, PRIOR), given) == pytest.approx(expected, abs=1e-12)


def test_it_learns_whom_to_believe_and_how_much() -> None:
    given, labels = served(4000)
    blend = BlendLearner(MEMBERS, PRIOR)
    blend.learn_many(MEMBERS, given, labels, np.ones(4000))
    assert blend.parameters()["sharp"][0] == pytest.approx(1 / 3, abs=0.05)
    assert blend.parameters()["dull"][0] == pytest.approx(0.0, abs=0.08)
    fresh, answers = served(2000, seed=1)
    best_member = min(losses(fresh[:, place], answers).mean() for place in range(2))
    assert losses(said(blend, fresh), answers).mean() < best_member - 0.05


def test_an_example_that_was_served_without_a_member_teaches_nothing() -> None:
    given, labels = served(300)
    holes = given.copy()
    holes[::3, 1] = np.nan
    kept = np.arange(300) % 3 != 0
    one, other = BlendLearner(MEMBERS, PRIOR), BlendLearner(MEMBERS, PRIOR)
    one.learn_many(MEMBERS, holes, labels, np.ones(300))
    other.learn_many(MEMBERS, given[kept], labels[kept], np.ones(int(kept.sum())))
    assert pack_arrays(one.arrays()) == pack_arrays(other.arrays())


def test_what_all_members_served_before_they_had_learned_anything_is_not_taken_for_what_they_say() -> None:
    given, labels = served(300)
    before = np.full((800, 2), PRIOR)
    rare = (np.random.default_rng(1).random(800) < 0.05).astype(np.float64)
    one, other = BlendLearner(MEMBERS, PRIOR), BlendLearner(MEMBERS, PRIOR)
    one.learn_many(MEMBERS, np.concatenate([before, given]), np.concatenate([rare, labels]), np.ones(1100))
    other.learn_many(MEMBERS, given, labels, np.ones(300))
    assert pack_arrays(one.parameters()) == pack_arrays(other.parameters())


def test_columns_are_found_by_name_and_batches_and_restarts_change_no_bit() -> None:
    given, labels = served(200)
    straight, stopped = BlendLearner(MEMBERS, PRIOR), BlendLearner(MEMBERS, PRIOR)
    straight.learn_many(MEMBERS, given, labels, np.ones(200))
    for start in range(0, 200, 23):
        part = slice(start, start + 23)
        resumed = BlendLearner(MEMBERS, PRIOR)
        resumed.restore(unpack_arrays(pack_arrays(stopped.arrays())))
        weights = np.ones(len(labels[part]))
        resumed.learn_many(("other", "dull", "sharp"), given[part][:, [0, 1, 0]], labels[part], weights)
        stopped = resumed
    assert pack_arrays(stopped.arrays()) == pack_arrays(straight.arrays())
