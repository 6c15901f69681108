"""Online Newton steps: each goes to the posterior's mode, however uncertain the weights and surprising the label."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import minimize

from streams.core.features.schema import schema_of
from streams.core.models.additive import AdditiveLearner, additive_logits
from streams.core.models.measures import losses
from streams.core.models.newton import OnlineNewton, most_likely
from streams.core.models.scaling import RunningScale


@pytest.mark.parametrize(("label", "weight"), [(1.0, 1.0), (0.0, 1.0), (1.0, 5.0)])
def test_one_example_moves_the_weights_to_the_mode_of_their_posterior(label: float, weight: float) -> None:
    start, variance, values = np.array([-2.0, 0.5]), np.array([4.0, 9.0]), np.array([1.0, 3.0])
    newton = OnlineNewton(start, variance, memory=1e6)
    newton.learn_many(values[None], np.array([label]), np.array([weight]))

    def negative_log_posterior(weights: np.ndarray) -> float:
        score = float(values @ weights)
        prior = float(((weights - start) ** 2 / variance).sum()) / 2.0
        return prior + weight * (float(np.logaddexp(0.0, score)) - label * score)

    mode = minimize(negative_log_posterior, start, tol=1e-12).x
    assert np.allclose(newton.mean, mode, atol=1e-4)


@given(st.floats(-60.0, 60.0), st.floats(0.0, 1e5), st.sampled_from([0.0, 1.0]))
def test_what_the_prior_and_the_label_pull_balances(score: float, spread: float, label: float) -> None:
    pulled = score + spread * (label - most_likely(score, spread, label))
    assert most_likely(score, spread, label) == pytest.approx(1.0 / (1.0 + math.exp(-pulled)), abs=1e-6)


def test_many_features_of_which_none_says_anything_do_not_make_the_additive_model_sure() -> None:
    random = np.random.default_rng(3)
    schema = schema_of([f"number_{place}" for place in range(40)], [])
    vectors = random.exponential(20.0, (1200, 40)).astype(np.float32) * (random.random((1200, 40)) < 0.2)
    labels = (random.random(1200) < 0.12).astype(np.float64)
    scale, learner, given_ = RunningScale(schema.scaled), AdditiveLearner(schema, 0.12), []
    for begin in range(0, len(labels), 50):
        batch = slice(begin, begin + 50)
        given_.append(additive_logits(scale.scale().apply(vectors[batch]), learner.parameters()))
        learner.learn_many(scale.learn_many(vectors[batch]), labels[batch], np.ones(50))
    log_odds = np.concatenate(given_)
    rate = labels.mean()
    base = -(rate * math.log(rate) + (1.0 - rate) * math.log(1.0 - rate))
    assert losses(1.0 / (1.0 + np.exp(-log_odds)), labels).mean() < base + 0.04
    assert np.abs(log_odds).max() < 8.0
