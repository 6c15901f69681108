"""``headrace evaluate drift``: examples until a model has recovered from a permutation of the true weights."""

from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from streams.contract.settings import Target
from streams.core.features.schema import FeatureSchema, schema_of
from streams.core.models.logistic import log_odds, probabilities
from streams.core.models.registry import MODEL_TYPES, new_model
from streams.core.models.scaling import RunningScale
from streams.evaluation.progressive import BATCH, progressive_validation

Float64Array = NDArray[np.float64]

N_FEATURES: Final = 20
PRIOR: Final = 0.2
WINDOW: Final = 200
"""Examples over which an excess is averaged."""


class Drifted(NamedTuple):
    """A stream whose true weights are permuted once; it is equally hard to predict before and after.

    Attributes:
        oracle: The oracle's probabilities, ``(n,)``.
    """

    schema: FeatureSchema
    vectors: NDArray[np.float32]
    labels: Float64Array
    oracle: Float64Array


def permuted_weights(before: int, after: int, seed: int) -> Drifted:
    """Draws exchangeable features and labels of a logistic model, whose weights rotate after ``before`` examples."""
    random = np.random.default_rng(seed)
    numbers = random.normal(size=(before + after, N_FEATURES))
    weights = np.sort(random.normal(0.0, 0.6, N_FEATURES))
    rolled = np.roll(weights, N_FEATURES // 2)
    logits = np.concatenate([numbers[:before] @ weights, numbers[before:] @ rolled]) + log_odds(PRIOR)
    oracle = probabilities(logits)
    labels = (random.random(before + after) < oracle).astype(np.float64)
    schema = schema_of([f"x{place}" for place in range(N_FEATURES)], [])
    # The inverse of the compression in scaling, so that the models see normal numbers.
    vectors = np.copysign(np.expm1(np.abs(numbers)), numbers).astype(np.float32)
    return Drifted(schema, vectors, labels, oracle)


def with_handling(model: str, stream: Drifted, seed: int) -> Float64Array:
    """Returns the probabilities served by a target with this one model, with replacements, ``(n,)``."""
    target = Target(name="drifted", label="purchase", horizon_s=1, sampling_rate=1.0, prior=PRIOR, models=(model,))
    return progressive_validation(target, stream.schema, stream.vectors, stream.labels, seed).served


def without_handling(model: str, stream: Drifted, seed: int) -> Float64Array:
    """Returns the probabilities of the model alone, tested and learned in the same batches, ``(n,)``."""
    learner, scale = new_model(model, "drifted", stream.schema, PRIOR, seed), RunningScale(stream.schema.scaled)
    given = np.zeros(len(stream.labels))
    for start in range(0, len(given), BATCH):
        part = slice(start, start + BATCH)
        scaled = scale.scale().apply(stream.vectors[part])
        given[part] = probabilities(MODEL_TYPES[model].logits(scaled, learner.parameters()))
        labels = stream.labels[part]
        learner.learn_many(scale.learn_many(stream.vectors[part]), labels, np.ones(len(labels)))
    return given


def excess(given: Float64Array, oracle: Float64Array) -> Float64Array:
    """Returns the expected log loss above the oracle's, averaged over the :data:`WINDOW` examples up to each."""
    divergence = oracle * np.log(oracle / given) + (1.0 - oracle) * np.log((1.0 - oracle) / (1.0 - given))
    sums = np.cumsum(np.concatenate([[0.0], divergence]))
    means: Float64Array = (sums[WINDOW:] - sums[:-WINDOW]) / WINDOW
    return means


def halved_after(given: Float64Array, stream: Drifted, before: int) -> int | None:
    """Returns the number of examples until the excess of the first window after the change is halved, or ``None``."""
    above = excess(given[before:], stream.oracle[before:])
    below = np.flatnonzero(above <= above[0] / 2.0)
    return int(below[0]) + WINDOW if len(below) else None


def evaluate_drift(model: str, before: int, after: int, seeds: int) -> dict[str, Any]:
    """Measures a model with and without drift handling on ``seeds`` streams; ``None`` means not within the stream."""
    runs = []
    for seed in range(seeds):
        stream = permuted_weights(before, after, seed)
        handled, alone = with_handling(model, stream, seed), without_handling(model, stream, seed)
        runs.append(
            {
                "seed": seed,
                "excess_before": round(float(excess(alone[:before], stream.oracle[:before])[-1]), 4),
                "excess_after": round(float(excess(alone[before:], stream.oracle[before:])[0]), 4),
                "halved_after": halved_after(handled, stream, before),
                "halved_after_without": halved_after(alone, stream, before),
            }
        )
    return {"model": model, "examples_before": before, "examples_after": after, "runs": runs}
