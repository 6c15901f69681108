from collections import defaultdict

import numpy as np
import pytest
from river import linear_model, optim

from streams.contract.arrays import pack_arrays, unpack_arrays
from streams.core.models.linear import contributions, linear_logits
from streams.core.models.linear_learner import FIRST_SQUARES, LEARNING_RATE, LinearLearner
from streams.core.models.logistic import log_odds, probabilities
from tests.models.plain import predict_one

N_FEATURES = 12
PRIOR = 0.05


def examples(n: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    scaled = np.clip(random.normal(size=(n, N_FEATURES)), -6, 6)
    scaled[:, 8:] = scaled[:, 8:] > 0.5
    labels = (random.random(n) < probabilities(scaled @ random.normal(size=N_FEATURES) - 1.0)).astype(np.float64)
    return scaled, labels, np.full(n, 2.0)


def test_it_is_river_bit_for_bit() -> None:
    scaled, labels, weights = examples(400)
    ours = LinearLearner(N_FEATURES, PRIOR)
    ours.learn_many(scaled, labels, weights)
    optimizer = optim.AdaGrad(LEARNING_RATE)
    optimizer.g2 = defaultdict(lambda: FIRST_SQUARES)
    river = linear_model.LogisticRegression(optimizer, intercept_init=log_odds(PRIOR))
    for values, label in zip(scaled.tolist(), labels.tolist(), strict=True):
        river.learn_one(dict(enumerate(values)), label, 2.0)
    assert ours.parameters()["weights"].tolist() == [river.weights[column] for column in range(N_FEATURES)]
    assert ours.parameters()["intercept"].tolist() == [river.intercept]
    assert ours.arrays()["g2"].tolist() == [river.optimizer.g2[column] for column in range(N_FEATURES)]
    assert ours.arrays()["n_iterations"].tolist() == [400]


def test_scores_from_the_arrays_equal_rivers_probability() -> None:
    scaled, labels, weights = examples(600)
    learner = LinearLearner(N_FEATURES, PRIOR)
    learner.learn_many(scaled, labels, weights)
    served = probabilities(linear_logits(scaled, learner.parameters()))
    assert served == pytest.approx([predict_one(learner, row) for row in scaled], abs=1e-12)
    certain = np.concatenate([scaled * 100.0, scaled * -100.0])
    assert probabilities(linear_logits(certain, learner.parameters())) == pytest.approx(
        [predict_one(learner, row) for row in certain], abs=1e-12
    )


def test_a_restored_learner_goes_on_with_the_same_bits() -> None:
    scaled, labels, weights = examples(300)
    straight = LinearLearner(N_FEATURES, PRIOR)
    straight.learn_many(scaled, labels, weights)
    stopped = LinearLearner(N_FEATURES, PRIOR)
    for cut in range(0, 300, 37):
        resumed = LinearLearner(N_FEATURES, 0.5)
        resumed.restore(unpack_arrays(pack_arrays(stopped.arrays())))
        resumed.learn_many(scaled[cut : cut + 37], labels[cut : cut + 37], weights[cut : cut + 37])
        stopped = resumed
    assert pack_arrays(stopped.arrays()) == pack_arrays(straight.arrays())


def test_it_starts_from_the_prior() -> None:
    learner = LinearLearner(N_FEATURES, PRIOR)
    assert probabilities(linear_logits(examples(5)[0], learner.parameters())) == pytest.approx([PRIOR] * 5, abs=1e-15)


def test_a_weight_counts_an_example_more() -> None:
    scaled, labels, _ = examples(200)
    light, heavy = LinearLearner(N_FEATURES, PRIOR), LinearLearner(N_FEATURES, PRIOR)
    light.learn_many(scaled, labels, np.ones(200))
    heavy.learn_many(scaled, labels, np.full(200, 4.0))
    moved = [learner.parameters()["intercept"][0] - log_odds(PRIOR) for learner in (light, heavy)]
    assert abs(moved[1]) > abs(moved[0])


def test_contributions_add_up_to_the_score() -> None:
    scaled, labels, weights = examples(100)
    learner = LinearLearner(N_FEATURES, PRIOR)
    learner.learn_many(scaled, labels, weights)
    parameters = learner.parameters()
    parts = contributions(scaled, parameters).sum(axis=1) + parameters["intercept"][0]
    assert parts == pytest.approx(linear_logits(scaled, parameters), abs=1e-12)
