"""``headrace evaluate drift``: how fast a member comes back after what it had learned was permuted."""

from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from streams.contract.settings import Member, Target
from streams.core.features.schema import FeatureSchema, schema_of
from streams.core.models.logistic import log_odds, probabilities
from streams.core.models.members import KINDS, new_member
from streams.core.models.progressive import BATCH, progressive_validation
from streams.core.models.scaling import RunningScale

Float64Array = NDArray[np.float64]

N_FEATURES: Final = 20
PRIOR: Final = 0.2
WINDOW: Final = 200
"""Examples over which an excess is averaged."""


class Drifted(NamedTuple):
    """A stream whose weights are permuted once; no order of them is harder to predict than another.

    Attributes:
        chances: The oracle's probabilities, ``(n,)``.
    """

    schema: FeatureSchema
    vectors: NDArray[np.float32]
    labels: Float64Array
    chances: Float64Array


def permuted_weights(before: int, after: int, seed: int) -> Drifted:
    """Draws exchangeable features and labels of a logistic model, whose weights rotate after ``before`` examples."""
    random = np.random.default_rng(seed)
    numbers = random.normal(size=(before + after, N_FEATURES))
    weights = np.sort(random.normal(0.0, 0.6, N_FEATURES))
    turned = np.roll(weights, N_FEATURES // 2)
    logits = np.concatenate([numbers[:before] @ weights, numbers[before:] @ turned]) + log_odds(PRIOR)
    chances = probabilities(logits)
    labels = (random.random(before + after) < chances).astype(np.float64)
    schema = schema_of([f"x{place}" for place in range(N_FEATURES)], [])
    # The inverse of what scaling begins with: the members see normal numbers.
    vectors = np.copysign(np.expm1(np.abs(numbers)), numbers).astype(np.float32)
    return Drifted(schema, vectors, labels, chances)


def with_handling(member: Member, stream: Drifted, seed: int) -> Float64Array:
    """What a family of one member served, ``(n,)``."""
    target = Target(name="drifted", label="purchase", horizon_s=1, sampling_rate=1.0, prior=PRIOR, members=(member,))
    return progressive_validation(target, stream.schema, stream.vectors, stream.labels, seed).champion


def without_handling(member: Member, stream: Drifted, seed: int) -> Float64Array:
    """What the member alone said, tested and learned in the same batches, ``(n,)``."""
    learner, scale = new_member(member, "drifted", stream.schema, PRIOR, seed), RunningScale(stream.schema.scaled)
    given = np.zeros(len(stream.labels))
    for start in range(0, len(given), BATCH):
        part = slice(start, start + BATCH)
        scaled = scale.scale().apply(stream.vectors[part])
        given[part] = probabilities(KINDS[member].logits(scaled, learner.parameters()))
        labels = stream.labels[part]
        learner.learn_many(scale.learn_many(stream.vectors[part]), labels, np.ones(len(labels)))
    return given


def excess(given: Float64Array, chances: Float64Array) -> Float64Array:
    """Returns the expected log loss above the oracle's, averaged over the :data:`WINDOW` examples up to each."""
    gained = chances * np.log(chances / given) + (1.0 - chances) * np.log((1.0 - chances) / (1.0 - given))
    sums = np.cumsum(np.concatenate([[0.0], gained]))
    means: Float64Array = (sums[WINDOW:] - sums[:-WINDOW]) / WINDOW
    return means


def halved_after(given: Float64Array, stream: Drifted, before: int) -> int | None:
    """Returns after how many examples the excess of the first window past the change was halved, if ever."""
    above = excess(given[before:], stream.chances[before:])
    below = np.flatnonzero(above <= above[0] / 2.0)
    return int(below[0]) + WINDOW if len(below) else None


def evaluate_drift(member: Member, before: int, after: int, seeds: int) -> dict[str, Any]:
    """Measures a member with and without drift handling on ``seeds`` streams; ``None`` is never within the stream."""
    runs = []
    for seed in range(seeds):
        stream = permuted_weights(before, after, seed)
        handled, alone = with_handling(member, stream, seed), without_handling(member, stream, seed)
        runs.append(
            {
                "seed": seed,
                "excess_before": round(float(excess(alone[:before], stream.chances[:before])[-1]), 4),
                "excess_after": round(float(excess(alone[before:], stream.chances[before:])[0]), 4),
                "halved_after": halved_after(handled, stream, before),
                "halved_after_without": halved_after(alone, stream, before),
            }
        )
    return {"member": member, "examples_before": before, "examples_after": after, "runs": runs}
