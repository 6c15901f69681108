"""Are probabilities right while labels are still on their way? A stationary stream with labels of known delays."""

from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

from streams.contract.arrays import pack_arrays
from streams.contract.records import BOTH, LEARN, MEASURE, Parameters
from streams.contract.settings import Settings, Target, Window
from streams.core.features.schema import feature_schema
from streams.core.learning.examples import Examples
from streams.core.learning.learners import TargetLearner
from streams.core.models.scoring import Scorers

RATIOS: Final = (0.1, 1.0, 10.0)
"""Mean delay by the window within which a label counts."""
SEEDS: Final = 5
WAYS: Final[tuple[Literal["wait", "correct"], ...]] = ("wait", "correct")
_EXPORT_EVERY = 20


def measure_delays(quick: bool) -> dict[str, float]:
    """Measures calibration after ten mean delays, for both ways to learn from labels that are late.

    Returns:
        Calibration by the way, the mean delay in windows, and the seed.
    """
    report: dict[str, float] = {}
    for way in WAYS:
        for ratio in RATIOS:
            for seed in range(1, 2 if quick else SEEDS + 1):
                measured = calibration_under_delay(way, ratio, seed)
                report[f"{way}, {ratio:g} windows, seed {seed}"] = round(measured, 4)
    return report


def calibration_under_delay(
    labels: Literal["wait", "correct"], ratio: float, seed: int, measured: int = 20_000, mean_delay: int = 1000
) -> float:
    """Runs the learner and the scorer of one target over a stationary stream.

    A shopper has a label with a probability that is logistic in their features, after an exponential delay; it counts
    within the window. What is right is therefore the probability of a label within the window, and no other can be
    learned: later labels are never seen.

    Args:
        labels: As a target declares it.
        ratio: Mean delay by window.
        mean_delay: Of a label, in events: one comes a second.
        measured: Events over which it is measured, after ten mean delays and, where labels wait, the first window.

    Returns:
        Sum of the probabilities as served by the sum of the true probabilities of a final label, which leaves out the
        noise of the labels that were drawn.
    """
    random = np.random.default_rng([seed, round(ratio * 10)])
    window = round(mean_delay / ratio)
    settings = Settings(windows=(Window(name="w", pane_s=60, panes=1),))
    schema = feature_schema(settings.windows)
    target = Target(name="it", label="purchase", horizon_s=window, sampling_rate=1.0, prior=0.3, labels=labels)
    learner = TargetLearner(target, settings)
    scorers = Scorers((target,), schema)
    warm = 10 * mean_delay + (window if labels == "wait" else 0)
    n = warm + measured
    vectors = np.zeros((n, len(schema.names)), np.float32)
    indicators = [column for column, scaled in enumerate(schema.scaled) if not scaled][:6]
    vectors[:, indicators] = random.random((n, len(indicators))) < 0.5
    weights = random.normal(0.0, 0.8, len(indicators))
    chance = 1.0 / (1.0 + np.exp(-(vectors[:, indicators] @ weights - weights.sum() / 2.0)))
    delays = np.where(random.random(n) < chance, random.exponential(mean_delay, n), np.inf)
    served = np.zeros(n)
    due = arrivals(delays, n, window, correct=labels == "correct")
    for start in range(0, n, _EXPORT_EVERY):
        part = slice(start, start + _EXPORT_EVERY)
        served[part] = scorers.score("it", vectors[part])[:, 0]
        arrived = due[(due[:, 0] >= start) & (due[:, 0] < start + _EXPORT_EVERY)]
        if len(arrived):
            learner.learn_many(_examples(arrived, vectors, served))
            for member, arrays in learner.parameters().items():
                scorers.apply(Parameters("it", member, True, start + 1, learner.layout, start, pack_arrays(arrays)))
    true = chance * -np.expm1(-window / mean_delay)
    return float(served[warm:].sum() / true[warm:].sum())


def arrivals(delays: NDArray[np.float64], n: int, window: int, *, correct: bool) -> NDArray[np.float64]:
    """Lists what reaches the learner as ``(time, event, label, use)``, by time, as Behaviour sends it."""
    events = np.arange(n, dtype=np.float64)
    positive = delays <= window
    final = np.column_stack([events + window, events, positive, np.full(n, MEASURE if correct else BOTH)])
    if not correct:
        return final
    negatives = np.column_stack([events, events, np.zeros(n), np.full(n, LEARN)])
    times = np.minimum(events + delays, 2.0 * n)
    positives = np.column_stack([times, events, np.ones(n), np.full(n, LEARN)])[positive]
    everything = np.concatenate([negatives, positives, final])
    return everything[np.argsort(everything[:, 0], kind="stable")]


def _examples(arrived: NDArray[np.float64], vectors: NDArray[np.float32], served: NDArray[np.float64]) -> Examples:
    events = arrived[:, 1].astype(np.int64)
    size = len(events)
    return Examples(
        learner="it",
        partition=0,
        offsets=np.arange(size, dtype=np.int64),
        indices=np.zeros(size, np.int32),
        vectors=vectors[events],
        labels=arrived[:, 2].copy(),
        members=["linear"],
        probabilities=served[events][:, None],
        weights=np.ones(size),
        timestamps_ms=events * 1000,
        reward_types=[],
        rewards=np.zeros((size, 0)),
        uses=arrived[:, 3].astype(np.int8),
        chances=np.zeros(size),
    )
