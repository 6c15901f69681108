"""A stationary stream whose labels come late: the learner and the scorer of one target, and the truth beside them."""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from streams.contract.arrays import pack_arrays
from streams.contract.records import LEARN, MEASURE, Parameters
from streams.contract.settings import Settings, Target, Window
from streams.core.features.schema import feature_schema
from streams.core.learning.examples import Examples, Outcomes
from streams.core.learning.learners import TargetLearner
from streams.core.models.scoring import Scorers

HORIZON: Final = 200
"""Mean delay of a label, and the time within which it counts, in events: one comes a second."""
WARM_UP: Final = 10 * HORIZON
MEASURED: Final = 3000
_N: Final = WARM_UP + MEASURED
_EXPORT_EVERY: Final = 20
NO_OUTCOMES: Final = Outcomes(
    offsets=np.zeros(0, np.int64),
    indices=np.zeros(0, np.int32),
    served=np.zeros(0),
    labels=np.zeros(0),
    timestamps_ms=np.zeros(0, np.int64),
    groups=np.zeros(0, np.uint8),
    from_prior=np.zeros(0, np.bool_),
)


def calibration_under_delay(seed: int) -> float:
    """Runs a target that corrects its negatives when a label comes.

    A shopper has a label with a probability that is logistic in their features, after an exponential delay. What comes
    after the horizon is never seen, so the true probability is that of a label within it.

    Returns:
        Sum of the probabilities as served by the sum of the true ones, after the warm-up.
    """
    random = np.random.default_rng(seed)
    settings = Settings(windows=(Window(name="w", pane_s=60, panes=1),))
    schema = feature_schema(settings.windows)
    target = Target(name="it", label="purchase", horizon_s=HORIZON, sampling_rate=1.0, prior=0.3, labels="correct")
    learner = TargetLearner(target, settings)
    scorers = Scorers((target,), schema)
    vectors = np.zeros((_N, len(schema.names)), np.float32)
    indicators = [column for column, scaled in enumerate(schema.scaled) if not scaled][:6]
    vectors[:, indicators] = random.random((_N, len(indicators))) < 0.5
    weights = random.normal(0.0, 0.8, len(indicators))
    probabilities = 1.0 / (1.0 + np.exp(-(vectors[:, indicators] @ weights - weights.sum() / 2.0)))
    delays = np.where(random.random(_N) < probabilities, random.exponential(HORIZON, _N), np.inf)
    arrivals = _arrivals(delays)
    served = np.zeros(_N)
    for start in range(0, _N, _EXPORT_EVERY):
        part = slice(start, start + _EXPORT_EVERY)
        served[part] = scorers.score("it", vectors[part])[:, 0]
        arrived = arrivals[(arrivals[:, 0] >= start) & (arrivals[:, 0] < start + _EXPORT_EVERY)]
        if len(arrived):
            learner.learn_many(_examples(arrived, vectors, served))
            for model, arrays in learner.parameters().items():
                scorers.apply(Parameters("it", model, True, start + 1, learner.layout, start, pack_arrays(arrays)))
    true = probabilities * -np.expm1(-1.0)
    return float(served[WARM_UP:].sum() / true[WARM_UP:].sum())


def _arrivals(delays: NDArray[np.float64]) -> NDArray[np.float64]:
    """Lists what reaches the learner as rows of ``(time, event, label, use)``, by time, as Behaviour sends it."""
    events = np.arange(_N, dtype=np.float64)
    positive = delays <= HORIZON
    negatives = np.column_stack([events, events, np.zeros(_N), np.full(_N, LEARN)])
    times = np.minimum(events + delays, 2.0 * _N)
    positives = np.column_stack([times, events, np.ones(_N), np.full(_N, LEARN)])[positive]
    final = np.column_stack([events + HORIZON, events, positive, np.full(_N, MEASURE)])
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
        models=["linear"],
        probabilities=served[events][:, None],
        weights=np.ones(size),
        timestamps_ms=events * 1000,
        reward_types=[],
        rewards=np.zeros((size, 0)),
        uses=arrived[:, 3].astype(np.int8),
        uniforms=np.zeros(size),
        outcomes=NO_OUTCOMES,
    )
