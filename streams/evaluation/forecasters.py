"""Synthetic forecasters: what the mixture of two costs, and what is claimed about which of them is better."""

from typing import Any, Final, NamedTuple

import numpy as np

from streams.contract.arrays import Float64Array, Int64Array
from streams.core.models.claims import Claims
from streams.core.models.logistic import log_odds, probabilities
from streams.core.models.measures import losses
from streams.core.models.mixture import Mixture, mixed

RATES: Final = (0.0017, 0.01, 0.05, 0.2)
"""Shares of positives."""

POSITIVES: Final = 500
"""Outcomes of 1 in a stream."""

GAP: Final = 0.05
"""Share of its loss by which the better of two unequal forecasters is ahead."""

MODELS: Final = ("first", "second")
NOISE: Final = 0.3
"""Standard deviation of the better forecaster's error in log-odds."""

_SPREAD: Final = 1.0
_STEP: Final = 100
_POSITIVES_PER_HORIZON: Final = 0.1
_LEAST_OVERLAPPING: Final = 0.01
_CALIBRATED_ON: Final = 100_000


class World(NamedTuple):
    """A kind of stream.

    Attributes:
        rate: Share of positives.
        overlap: Predictions that share an outcome, within one horizon; labels are final a horizon later.
        gap: Share of its loss by which the second forecaster is ahead.
    """

    rate: float
    overlap: int
    gap: float


class Forecasts(NamedTuple):
    """Predictions in the order in which they were made; a horizon is as many examples as ``horizon``."""

    given: Float64Array
    labels: Float64Array
    horizon: int


def forecasts(world: World, noise: float, n_outcomes: int, random: np.random.Generator) -> Forecasts:
    """Draws a stream; both forecasters know the log-odds up to errors of their own, the first one's of ``noise``.

    An outcome's predictions are made at random times within a horizon; errors of one outcome are alike by half.
    """
    logits = random.normal(log_odds(world.rate) - _SPREAD**2 / 2.0, _SPREAD, n_outcomes)
    labels = (random.random(n_outcomes) < probabilities(logits)).astype(np.float64)
    outcomes = np.repeat(np.arange(n_outcomes), world.overlap)
    given = np.empty((len(outcomes), 2))
    for column, own in enumerate((noise, NOISE)):
        shared, single = random.normal(0.0, own, n_outcomes), random.normal(0.0, own, len(outcomes))
        error = (shared[outcomes] + single) / np.sqrt(2.0) if world.overlap > 1 else single
        given[:, column] = probabilities(logits[outcomes] + error)
    if world.overlap == 1:
        return Forecasts(given, labels, max(int(_POSITIVES_PER_HORIZON / world.rate), 1))
    horizon = 20 * world.overlap
    starts = np.arange(n_outcomes) * float(world.overlap)
    order = np.argsort(starts[outcomes] + random.uniform(0.0, horizon, len(outcomes)), kind="stable")
    return Forecasts(given[order], labels[outcomes][order], horizon)


def drawn(world: World, noise: float, seed: int) -> Forecasts:
    """Draws a stream in which about :data:`POSITIVES` outcomes are 1."""
    random = np.random.default_rng([seed, int(1e6 * world.rate), world.overlap, int(1000 * world.gap)])
    return forecasts(world, noise, int(POSITIVES / world.rate), random)


def noise_for(world: World) -> float:
    """Returns the first forecaster's error at which the second is ahead by the world's gap."""
    low, high = NOISE, 4.0
    for _ in range(20):
        noise = (low + high) / 2.0
        random = np.random.default_rng(0)
        given, labels, _ = forecasts(world._replace(overlap=1), noise, _CALIBRATED_ON, random)
        mean = losses(given.T, labels).mean(axis=1)
        low, high = (noise, high) if mean[0] - mean[1] < world.gap * mean[0] else (low, noise)
    return low


def served(stream: Forecasts, mixture: Mixture) -> Float64Array:
    """Returns the mixture's predictions, ``(n,)``; its weights learn from a label a horizon after the prediction."""
    given, labels, horizon = stream
    said = np.empty(len(labels))
    for start in range(0, len(labels), _STEP):
        known = slice(max(start - _STEP - horizon + 1, 0), max(start - horizon + 1, 0))
        mixture.update(MODELS, given[known], labels[known], np.ones(known.stop - known.start))
        part = slice(start, start + _STEP)
        by_model = {model: given[part, column] for column, model in enumerate(MODELS)}
        said[part] = mixed(by_model, mixture.weights(), is_amount=False)
    return said


def times_ms(stream: Forecasts) -> Int64Array:
    """Returns times of prediction at which a horizon is a second."""
    return np.arange(len(stream.labels), dtype=np.int64) * 1000 // stream.horizon


def run(world: World, noise: float, seed: int) -> dict[str, Any]:
    """Measures one stream: what the mixture lost above the better forecaster, and what was claimed when it ended."""
    stream = drawn(world, noise, seed)
    each = np.stack([losses(stream.given[:, column], stream.labels) for column in range(2)])
    mixture, claims = Mixture(MODELS, rate=1.0 / world.overlap), Claims(MODELS, 1000)
    said = served(stream, mixture)
    claims.update(each.T, stream.labels > 0.5, times_ms(stream))
    share = float(stream.labels.mean())
    base = -(share * np.log(share) + (1.0 - share) * np.log(1.0 - share))
    found = claims.better_than()
    return {
        "above_best": float((losses(said, stream.labels).mean() - each.mean(axis=1).min()) / base),
        "champion_wrong": each.mean(axis=1).argmin() != MODELS.index(mixture.champion),
        "second_claimed": MODELS[1] in found,
        "first_claimed": MODELS[0] in found,
    }


def evaluate_forecasters(streams: int, first_seed: int) -> list[dict[str, Any]]:
    """Measures ``streams`` streams of each kind: by share of positives, with and without overlap, equal and unequal."""
    report = []
    kinds = [(1, rate) for rate in RATES] + [(10, rate) for rate in RATES if rate >= _LEAST_OVERLAPPING]
    for world in (World(rate, overlap, gap) for gap in (0.0, GAP) for overlap, rate in kinds):
        noise = noise_for(world) if world.gap else NOISE
        runs = [run(world, noise, first_seed + number) for number in range(streams)]
        above = [each["above_best"] for each in runs]
        claimed = {name: float(np.mean([each[name] for each in runs])) for name in ("second_claimed", "first_claimed")}
        report.append(
            world._asdict()
            | {"streams": streams, "above_best_mean": float(np.mean(above)), "above_best_max": float(np.max(above))}
            | {"champion_wrong": float(np.mean([each["champion_wrong"] for each in runs]))}
            | claimed
        )
    return report
