"""Cost of a target's models at 40 features: CPU time of predicting and learning, of scoring and explaining a batch."""

import time
from collections.abc import Callable
from typing import Any

import numpy as np

from streams.contract.arrays import pack_arrays
from streams.contract.records import Parameters
from streams.contract.settings import DEFAULT_TARGETS, Target
from streams.core.features.schema import schema_of
from streams.core.models.registry import MODEL_TYPES, new_model
from streams.core.models.scaling import RunningScale
from streams.core.models.scoring import Scorers
from streams.core.models.target_models import Served, TargetModels

SCHEMA = schema_of([f"number_{n}" for n in range(29)], [f"indicator_{n}" for n in range(11)])
BATCH = 1000


def measure_costs(quick: bool) -> dict[str, Any]:
    n, repeats = (2_000, 3) if quick else (10_000, 5)
    random = np.random.default_rng(0)
    vectors = random.lognormal(1.0, 1.0, (n, 40)).astype(np.float32)
    vectors[:, 29:] = vectors[:, 29:] > 3.0
    labels = (random.random(n) < 0.1).astype(np.float64)
    numbers: dict[str, Any] = {"features": 40, "batch": BATCH}
    scaled = RunningScale(SCHEMA.scaled).learn_many(vectors)
    for model in MODEL_TYPES:
        numbers |= member_costs(model, scaled, labels, repeats)
    default: Any = DEFAULT_TARGETS[0].models
    for name, models in (("family", default), ("six_members", ("blend", *MODEL_TYPES))):
        numbers |= family_costs(name, models, vectors, labels, repeats)
    return numbers


def family_costs(
    name: str, models: Any, vectors: np.ndarray, labels: np.ndarray, repeats: int
) -> dict[str, float | int]:
    target = Target(name="purchase", label="purchase", horizon_s=60, sampling_rate=1.0, prior=0.1, models=models)
    family, scorers = TargetModels(target, SCHEMA, 0), Scorers([target], SCHEMA)
    n, random = len(labels), np.random.default_rng(1)
    weights = np.ones(n)
    served = Served(models, random.random((n, len(models))))
    family.learn_many(vectors, labels, weights, served)
    for model, arrays in family.parameters().items():
        own, packed = model == "blend", pack_arrays(arrays)
        scorers.apply(Parameters("purchase", model, own, 1, SCHEMA.fingerprint, n, packed, family.weights))
    part = vectors[:BATCH]
    numbers: dict[str, float | int] = {}
    numbers[f"{name}_score_us"] = us_each(lambda: scorers.score("purchase", part), BATCH, 4 * repeats)
    numbers[f"{name}_reasons_us"] = us_each(lambda: scorers.reasons("purchase", part), BATCH, 4 * repeats)
    rows = slice(0, BATCH)
    args = models, served.probabilities[rows], labels[rows], weights[rows], np.arange(BATCH)
    numbers[f"{name}_evaluate_us"] = us_each(lambda: family.evaluate(*args), BATCH, repeats)
    state = pack_arrays(family.arrays())
    numbers[f"{name}_state_bytes"] = sum(len(content) for _, _, content in state.values())
    return numbers


def member_costs(model: str, scaled: np.ndarray, labels: np.ndarray, repeats: int) -> dict[str, float]:
    kind, learner, n = MODEL_TYPES[model], new_model(model, "purchase", SCHEMA, 0.1, 0), len(labels)
    weights = np.ones(n)

    def predict_and_learn() -> None:
        for start in range(0, n, BATCH):
            part = slice(start, start + BATCH)
            kind.logits(scaled[part], learner.parameters())
            learner.learn_many(scaled[part], labels[part], weights[part])

    both = us_each(predict_and_learn, n, repeats)
    parameters = learner.parameters()
    score = us_each(lambda: kind.logits(scaled[:BATCH], parameters), BATCH, 4 * repeats)
    return {f"{model}_predict_and_learn_us": both, f"{model}_score_us": score}


def us_each(work: Callable[[], object], n: int, repeats: int) -> float:
    """CPU time for each of ``n``, the best of some runs."""
    best = float("inf")
    for _ in range(repeats):
        begun_ns = time.process_time_ns()
        work()
        best = min(best, (time.process_time_ns() - begun_ns) / 1000.0 / n)
    return round(best, 2)
