"""A target that learns from few of its negatives expects no more positives than there are."""

import numpy as np
import pytest

from streams.contract.arrays import pack_arrays
from streams.contract.settings import Target
from streams.core.features.schema import schema_of
from streams.core.models.logistic import probabilities
from streams.core.models.measures import auc, calibration
from streams.core.models.registry import MODEL_TYPES
from streams.core.models.scaling import Scale
from streams.core.models.target_models import Served, TargetModels
from streams.core.sampling import sampled, uniforms

SCHEMA = schema_of([f"number_{n}" for n in range(6)], ["indicator"])
MEMBERS: tuple[str, ...] = ("linear", "additive", "perceptron", "blend")
N = 8000
RANDOM = np.random.default_rng(4)
VECTORS = RANDOM.normal(size=(N, 7)).astype(np.float32)
VECTORS[:, 6] = VECTORS[:, 6] > 0.0
LABELS = (RANDOM.random(N) < probabilities(VECTORS @ np.array([1.0, -0.7, 0.5, 0.0, 0.0, 0.3, 0.8]) - 3.0)).astype(
    float
)
CHANCES = uniforms(1, np.arange(N), np.zeros(N, np.int32))
SERVED = RANDOM.random((N, len(MEMBERS)))


def learned(negatives: float, cuts: list[int]) -> TargetModels:
    target = Target(
        name="t", label="purchase", horizon_s=60, sampling_rate=1.0, prior=0.1, models=MEMBERS, negatives=negatives
    )
    family = TargetModels(target, SCHEMA, 0)
    for rows in np.split(np.arange(N), cuts):
        served = Served(MEMBERS, SERVED[rows])
        family.learn_many(VECTORS[rows], LABELS[rows], np.ones(len(rows)), served, CHANCES[rows])
    return family


def given(family: TargetModels, model: str) -> np.ndarray:
    arrays = family.parameters()[model]
    scale = Scale(SCHEMA.scaled, arrays["mean"], arrays["inverse_std"])
    return probabilities(MODEL_TYPES[model].logits(scale.apply(VECTORS), arrays))


@pytest.mark.parametrize("model", ["linear", "additive", "perceptron"])
def test_members_stay_calibrated_and_order_as_well(model: str) -> None:
    whole, thinned = given(learned(1.0, []), model), given(learned(0.25, []), model)
    assert calibration(thinned, LABELS) == pytest.approx(calibration(whole, LABELS), abs=0.15)
    assert auc(thinned, LABELS) > auc(whole, LABELS) - 0.02


def test_no_cut_into_batches_changes_a_bit() -> None:
    assert pack_arrays(learned(0.25, [1, 700, 701, 5000]).arrays()) == pack_arrays(learned(0.25, []).arrays())


def test_all_positives_and_the_declared_share_of_negatives_are_learned_from() -> None:
    waiting = [learned(share, []).arrays()["additive/examples"][0] for share in (1.0, 0.25)]
    positives = int(LABELS.sum())
    assert waiting[0] == N
    assert waiting[1] == pytest.approx(positives + 0.25 * (N - positives), rel=0.05)


def test_a_trigger_draws_what_the_sampling_of_single_events_draws() -> None:
    offsets, indices = np.array([0, 7, 7, 1 << 40]), np.array([0, 0, 3, 1], np.int32)
    drawn = uniforms(2, offsets, indices)
    assert ((drawn >= 0.0) & (drawn < 1.0)).all()
    for rate in (0.1, 0.25, 0.5, 0.9):
        by_one = [
            sampled(2, offset, salt, rate) for offset, salt in zip(offsets.tolist(), indices.tolist(), strict=True)
        ]
        assert (drawn < rate).tolist() == by_one
