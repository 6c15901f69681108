import numpy as np
import pytest
from river import linear_model, optim

from streams.core.models.ftrl import crossed, ftrl_contributions
from streams.core.models.ftrl_learner import _ALPHA, _BETA, _L1, _L2, CHOSEN_AFTER, STRONGEST, FtrlLearner
from streams.core.models.logistic import log_odds, probabilities

N_FEATURES = 9


def examples(n: int) -> tuple[np.ndarray, np.ndarray]:
    """Only two columns matter, and what matters is whether their signs agree with a third."""
    random = np.random.default_rng(0)
    scaled = random.normal(size=(n, N_FEATURES))
    logits = 1.5 * scaled[:, 2] + 1.2 * scaled[:, 5] - 1.5 * scaled[:, 2] * scaled[:, 5]
    return scaled, (random.random(n) < probabilities(logits)).astype(np.float64)


def test_it_is_river_crosses_included() -> None:
    scaled, labels = examples(1200)
    ours = FtrlLearner(N_FEATURES, 0.1)
    ours.learn_many(scaled, labels, np.full(1200, 2.0))
    river = linear_model.LogisticRegression(optim.FTRLProximal(_ALPHA, _BETA, _L1, _L2), intercept_init=log_odds(0.1))
    crosses = ours.parameters()["crosses"]
    for row, (values, label) in enumerate(zip(crossed(scaled, crosses).tolist(), labels.tolist(), strict=True)):
        seen = N_FEATURES if row < CHOSEN_AFTER else len(values)
        river.learn_one(dict(enumerate(values[:seen])), label, 2.0)
    assert ours.parameters()["weights"] == pytest.approx([river.weights[of] for of in range(len(values))], abs=1e-12)
    assert ours.arrays()["n"] == pytest.approx([river.optimizer.n[of] for of in range(len(values))], rel=1e-12)


def test_the_strongest_features_are_crossed_and_that_pays() -> None:
    scaled, labels = examples(6000)
    learner = FtrlLearner(N_FEATURES, 0.1)
    learner.learn_many(scaled, labels, np.ones(6000))
    crosses = learner.parameters()["crosses"].tolist()
    assert len(crosses) == STRONGEST * (STRONGEST + 1) // 2
    assert [2, 5] in crosses
    weights = learner.parameters()["weights"]
    assert weights[N_FEATURES + crosses.index([2, 5])] == pytest.approx(-1.5, abs=0.5)


def test_both_features_of_a_cross_get_half_of_it() -> None:
    parameters = {"weights": np.array([1.0, 0.0, 4.0]), "intercept": np.zeros(1), "crosses": np.array([[0, 1]])}
    assert ftrl_contributions(np.array([[2.0, 3.0]]), parameters).tolist() == [[2.0 + 12.0, 12.0]]
