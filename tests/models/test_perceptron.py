from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streams.contract.arrays import pack_arrays, unpack_arrays
from streams.core.models.logistic import probabilities
from streams.core.models.perceptron import HIDDEN, MINI_BATCH, Masks, PerceptronLearner, perceptron_logits
from streams.core.models.quality import Evaluation

N_FEATURES = 7
PRIOR = 0.1


def examples(n: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Positives lie where two columns have the same sign: no linear model can tell."""
    random = np.random.default_rng(seed)
    scaled = random.normal(size=(n, N_FEATURES))
    return scaled, (scaled[:, 0] * scaled[:, 1] > 0).astype(np.float64), random.choice([1.0, 2.0], n)


def loss(learner: PerceptronLearner, scaled: Any, labels: Any, weights: Any) -> float:
    given_ = probabilities(perceptron_logits(scaled, learner.parameters()))
    return float((-np.log(np.where(labels > 0, given_, 1 - given_)) * weights).mean())


def test_gradients_are_those_of_the_cross_entropy() -> None:
    learner = PerceptronLearner(N_FEATURES, PRIOR, seed=3, dtype=np.float64)
    arrays = learner.arrays()
    random = np.random.default_rng(1)
    arrays["flat"] = random.normal(size=arrays["flat"].shape) * 0.3
    learner.restore(arrays)
    batch = examples(MINI_BATCH)
    everybody = Masks(np.ones((MINI_BATCH, HIDDEN[0])), np.ones((MINI_BATCH, HIDDEN[1])))
    slopes = {name: slope.copy() for name, slope in learner.gradient(*batch, everybody).items()}
    for name, layer in learner._layers.items():
        for place in random.choice(layer.size, min(layer.size, 12), replace=False):
            flat = layer.reshape(-1)
            kept = flat[place]
            flat[place] = kept + 1e-6
            above = loss(learner, *batch)
            flat[place] = kept - 1e-6
            below = loss(learner, *batch)
            flat[place] = kept
            assert slopes[name].reshape(-1)[place] == pytest.approx((above - below) / 2e-6, rel=1e-4, abs=1e-8)


def test_a_step_is_adams_and_matrices_decay() -> None:
    learner = PerceptronLearner(N_FEATURES, PRIOR, seed=3, dtype=np.float64)
    matrices = np.concatenate(
        [np.full(layer.size, name.startswith("weights")) for name, layer in learner._layers.items()]
    )
    flat = learner.arrays()["flat"].copy()
    first, second = np.zeros_like(flat), np.zeros_like(flat)
    scaled, labels, weights = examples(3 * MINI_BATCH)
    for step in range(1, 4):
        rows = slice((step - 1) * MINI_BATCH, step * MINI_BATCH)
        learner.gradient(scaled[rows], labels[rows], weights[rows], learner.masks())
        gradient = learner._gradient.copy()
        first = 0.9 * first + 0.1 * gradient
        second = 0.999 * second + 0.001 * gradient**2
        corrected = second / (1 - 0.999**step)
        flat[matrices] *= 1 - 0.003 * 0.01
        flat -= 0.003 * (first / (1 - 0.9**step)) / (np.sqrt(corrected) + 1e-8 / np.sqrt(1 - 0.999**step))
        learner.learn_many(scaled[rows], labels[rows], weights[rows])
        assert learner.arrays()["flat"] == pytest.approx(flat, abs=1e-12)


def test_the_gradient_of_a_dropped_unit_is_zero_and_the_others_make_up_for_it() -> None:
    learner = PerceptronLearner(N_FEATURES, PRIOR, seed=3, dtype=np.float64)
    masks = learner.masks()
    assert set(np.unique(masks.first).round(6)) == {0.0, round(1 / 0.9, 6)}
    assert masks.first.mean() == pytest.approx(1.0, abs=0.03)
    masks.first[:, 5] = 0.0
    learner._layers["weights_3"][:] = 0.1
    slopes = learner.gradient(*examples(MINI_BATCH), masks)
    assert (slopes["weights_1"][:, 5] == 0.0).all()
    assert (slopes["weights_2"][5] == 0.0).all()
    assert (slopes["weights_1"][:, 4] != 0.0).any()


@given(st.lists(st.integers(0, 150), max_size=8))
@settings(deadline=None, max_examples=25)
def test_neither_batches_nor_restarts_change_a_bit(inner: list[int]) -> None:
    scaled, labels, weights = examples(150)
    straight = PerceptronLearner(N_FEATURES, PRIOR, seed=5)
    straight.learn_many(scaled, labels, weights)
    stopped = PerceptronLearner(N_FEATURES, PRIOR, seed=5)
    for start, end in pairwise([0, *sorted(inner), 150]):
        resumed = PerceptronLearner(N_FEATURES, PRIOR, seed=6)
        resumed.restore(unpack_arrays(pack_arrays(stopped.arrays())))
        resumed.learn_many(scaled[start:end], labels[start:end], weights[start:end])
        stopped = resumed
    assert pack_arrays(stopped.arrays()) == pack_arrays(straight.arrays())


def test_untrained_it_says_the_prior_and_its_seed_is_all_its_randomness() -> None:
    one, same, other = (PerceptronLearner(N_FEATURES, PRIOR, seed) for seed in (1, 1, 2))
    assert probabilities(perceptron_logits(examples(9)[0], one.parameters())) == pytest.approx([PRIOR] * 9, rel=1e-6)
    assert pack_arrays(one.arrays()) == pack_arrays(same.arrays())
    assert pack_arrays(one.arrays()) != pack_arrays(other.arrays())


def test_it_learns_what_no_linear_model_can() -> None:
    learner = PerceptronLearner(N_FEATURES, 0.5, seed=1)
    learner.learn_many(*examples(12_000, seed=1))
    scaled, labels, weights = examples(2000, seed=2)
    evaluation = Evaluation()
    evaluation.update(probabilities(perceptron_logits(scaled, learner.parameters())), labels, weights)
    auc = evaluation.quality().auc
    assert auc is not None
    assert auc > 0.95
