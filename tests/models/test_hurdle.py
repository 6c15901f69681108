"""Expected amounts: right on average, better than the mean, unmoved by one absurd purchase, while labels are late."""

import numpy as np
import pytest
from msgspec.structs import asdict

from streams.contract.arrays import pack_arrays
from streams.contract.metrics import AmountModels
from streams.contract.settings import Target
from streams.core.features.schema import schema_of
from streams.core.models.hurdle import HurdleLearner, amounts, hurdle_logits
from streams.core.models.logistic import probabilities
from streams.core.models.quality import AmountEvaluation, deviances
from streams.core.models.target_models import TargetModels, qualities
from streams.evaluation.progressive import progressive_validation

SCHEMA = schema_of(["views", "price"], ["is_cart"])
TARGET = Target(name="spend", rule="spend", horizon_s=60, sampling_rate=1.0, prior=3.0, models=("hurdle",))
N = 6000


def shop(n: int = N, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Vectors, what was spent, and what was to be expected: a fifth buys, the more so the more it views."""
    random = np.random.default_rng(seed)
    vectors = random.lognormal(1.0, 0.8, (n, 3)).astype(np.float32)
    vectors[:, 2] = random.random(n) < 0.3
    numbers = np.log1p(vectors)
    share = probabilities(numbers[:, 0] + 1.5 * vectors[:, 2] - 3.5)
    usual, spread = 1.0 + numbers[:, 1], 0.5
    spent = (random.random(n) < share) * np.exp(usual + spread * random.normal(size=n))
    return vectors, spent.astype(np.float64), share * np.exp(usual + spread**2 / 2.0)


def served(window: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    vectors, spent, expected = shop()
    known = np.maximum(np.arange(N) - window, 0)
    progress = progressive_validation(TARGET, SCHEMA, vectors, spent, seed=0, known=known)
    return progress.served, spent, expected


@pytest.mark.parametrize("window", [0, 600])
def test_what_is_served_is_right_on_average_and_nearer_to_the_truth_than_the_mean_however_late_labels_are(
    window: int,
) -> None:
    given, spent, expected = served(window)
    late = slice(2 * window + 2000, None)
    assert given[late].sum() / expected[late].sum() == pytest.approx(1.0, abs=0.08)
    mean = spent[: late.start].mean()
    error = np.abs(given[late] - expected[late]).mean()
    assert error < 0.5 * np.abs(mean - expected[late]).mean()


def test_an_absurd_purchase_moves_what_others_are_expected_to_spend_by_little() -> None:
    vectors, spent, _ = shop(2000)
    before, after = (HurdleLearner(3, 3.0) for _ in range(2))
    rows = vectors.astype(np.float64)
    absurd = spent.copy()
    absurd[np.flatnonzero(spent)[-1]] = 1e14
    for learner, labels in ((before, spent), (after, absurd)):
        learner.learn_many(rows, labels, np.ones(2000))
    one, other = (amounts(hurdle_logits(rows[:200], learner.parameters())) for learner in (before, after))
    assert (one != other).any()
    assert other == pytest.approx(one, rel=0.1)


def test_errors_are_counted_beside_those_of_the_mean_before_each_example_however_they_are_batched() -> None:
    random = np.random.default_rng(3)
    spent = random.exponential(5.0, 300) * (random.random(300) < 0.3)
    given, weights = random.exponential(2.0, 300), random.choice([1.0, 2.5], 300)
    given[7] = np.nan
    whole, parts = AmountEvaluation(), AmountEvaluation()
    whole.update(given, spent, weights)
    for start in range(0, 300, 41):
        part = slice(start, start + 41)
        parts.update(given[part], spent[part], weights[part])
    assert pack_arrays(parts.arrays()) == pack_arrays(whole.arrays())
    kept = ~np.isnan(given)
    w, y, g = weights[kept], spent[kept], given[kept]
    means = np.array([g[0]] + [np.average(y[:row], weights=w[:row]) for row in range(1, len(y))])
    assert asdict(whole.quality()) == pytest.approx(
        {
            "examples": 299,
            "positives": int((y > 0.0).sum()),
            "mean": np.average(y, weights=w),
            "mae": np.average(np.abs(g - y), weights=w),
            "base_mae": np.average(np.abs(means - y), weights=w),
            "rmse": np.average((g - y) ** 2, weights=w) ** 0.5,
            "base_rmse": np.average((means - y) ** 2, weights=w) ** 0.5,
            "calibration": (g * w).sum() / (y * w).sum(),
        }
    )


def test_the_mean_minimises_the_loss_by_which_members_compete() -> None:
    spent = np.array([0.0, 0.0, 0.0, 12.0, 40.0])
    losses = {share: deviances(np.full(5, share * spent.mean()), spent).mean() for share in (0.5, 0.9, 1.0, 1.1, 2.0)}
    assert min(losses, key=losses.__getitem__) == 1.0


def test_a_family_of_amounts_has_its_quality_in_its_arrays_and_begins_a_fresh_challenger_when_spending_changes() -> (
    None
):
    vectors, spent, _ = shop()
    family = TargetModels(TARGET, SCHEMA, seed=0)
    for start in range(0, N, 50):
        part = slice(start, start + 50)
        labels = spent[part] if start < N / 2 else np.flip(spent[part]) * 5.0
        given = amounts(np.full((50, 1), np.log(spent[: N // 2].mean())))
        family.evaluate(["hurdle"], given, labels, np.ones(50), np.arange(start, start + 50))
        family.learn_many(vectors[part], labels, np.ones(50))
    quality = family.quality(float(spent.sum()))
    assert isinstance(quality, AmountModels)
    assert quality.drift.alarms > 0
    assert qualities(family.evaluation_arrays()) == quality.models
    assert quality.models["hurdle"].base_rmse
