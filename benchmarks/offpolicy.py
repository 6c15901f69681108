"""Errors of off-policy estimates, and coverage of their intervals, in a shop whose click probabilities are known."""

import sys
from typing import Any, Final, NamedTuple

import numpy as np

from streams.contract.arrays import BoolArray
from streams.core.policies.slates import Probabilities, draw_slates
from streams.core.policies.squarecb import inverse_gap_weighting
from streams.evaluation.offpolicy.slates import SlateLog, full_slate, of_slates, reward_interaction
from streams.evaluation.offpolicy.sums import Float64Array, Int64Array, Sums, intervals

SEEDS: Final = 100
DECISIONS: Final = 50_000
N_ITEMS: Final = 20
N_SLOTS: Final = 5
N_FEATURES: Final = 6
DECISIONS_PER_USER: Final = 5
RESAMPLES: Final = 400
_EXAMINATION: Final = np.array([1.0, 0.8, 0.65, 0.55, 0.5])
_TASTE: Final = np.array([1.0, -0.8, 0.6, -0.4, 0.2, 0.0])
_LOGGING: Final = (np.array([0.4, -0.6, 0.5, 0.2, -0.2, 0.3]), 1.0)
_EVALUATED: Final = (np.array([0.9, -0.7, 0.7, -0.5, 0.0, 0.1]), 1.5)
"""Estimated taste and gamma of the logging and of the evaluated policy; neither is the true taste."""


class Log(NamedTuple):
    """Decisions with their clicks, ``users`` numbered densely."""

    features: Float64Array
    slates: Int64Array
    propensities: Float64Array
    clicks: Float64Array
    users: Int64Array


class Estimate(NamedTuple):
    """One estimate and its 95 % interval."""

    value: float
    low: float
    high: float


def squarecb(features: Float64Array, policy: tuple[Float64Array, float]) -> Probabilities:
    """Returns the chances of a draw under SquareCB with frozen weights."""
    theta, gamma = policy
    scores = 0.1 * (features @ theta)
    return lambda eligible: inverse_gap_weighting(scores, eligible, gamma * N_ITEMS)


def simulate(seed: int, n_decisions: int, policy: tuple[Float64Array, float] = _LOGGING) -> Log:
    """Draws decisions of a policy and clicks on them.

    A click depends on the item, the user and the position, and on the slots above it: what is like the item above is
    clicked less, and so is what stands below a click.
    """
    random = np.random.default_rng(seed)
    features = random.normal(size=(n_decisions, N_ITEMS, N_FEATURES))
    users = np.arange(n_decisions) // DECISIONS_PER_USER
    there: BoolArray = np.ones((n_decisions, N_ITEMS), bool)
    uniforms = random.random((n_decisions, N_SLOTS))
    slates, propensities = draw_slates(there, there, squarecb(features, policy), uniforms)
    shown = np.take_along_axis(features, slates[:, :, None], axis=1)
    appeal = shown @ _TASTE - 1.8 + 0.7 * random.normal(size=int(users[-1]) + 1)[users, None]
    clicks = np.zeros((n_decisions, N_SLOTS))
    for slot in range(N_SLOTS):
        chance = _EXAMINATION[slot] / (1.0 + np.exp(-appeal[:, slot]))
        if slot:
            alike = (shown[:, slot] * shown[:, slot - 1]).sum(axis=1) > 1.0
            chance = chance * np.where(alike, 0.6, 1.0) * np.where(clicks[:, slot - 1] > 0.0, 0.5, 1.0)
        clicks[:, slot] = random.random(n_decisions) < chance
    return Log(features, slates, propensities, clicks, users)


def true_value(n_decisions: int = 1_000_000) -> tuple[float, float]:
    """Returns the clicks a slate that the evaluated policy really gets, and the standard error of that."""
    parts = [
        simulate(10_000 + part, DECISIONS, _EVALUATED).clicks.sum(axis=1).mean()
        for part in range(n_decisions // DECISIONS)
    ]
    return float(np.mean(parts)), float(np.std(parts, ddof=1) / np.sqrt(len(parts)))


def naive(log: SlateLog) -> Sums:
    """Weights each slot by its own conditional ratio, as if the slots above were drawn as the evaluated policy would.

    What many do with the conditional propensities of a log; biased, since the prefixes are the logging policy's.
    """
    weights = log.target / log.propensities
    return Sums((weights * log.rewards).sum(axis=1), np.ones(len(weights)), weights[:, -1])


def estimate(seed: int, n_decisions: int = DECISIONS, resamples: int = RESAMPLES) -> dict[str, Estimate]:
    """Estimates the evaluated policy's value on one log of the other policy's decisions."""
    log = simulate(seed, n_decisions)
    there: BoolArray = np.ones((n_decisions, N_ITEMS), bool)
    target = of_slates(log.slates, there, squarecb(log.features, _EVALUATED))
    slates = SlateLog(log.propensities, target, log.clicks)
    sums = {"reward_interaction": reward_interaction(slates), "full_slate": full_slate(slates), "naive": naive(slates)}
    bounds = intervals(sums, log.users, resamples, seed)
    return {name: Estimate(each.value, *bounds[name]) for name, each in sums.items()}


def measure_offpolicy(quick: bool) -> dict[str, Any]:
    """Evaluates one policy on logs of another, a log a seed, and counts how often the truth is within the interval."""
    seeds = SEEDS // 10 if quick else SEEDS
    truth, error = true_value()
    found = []
    for seed in range(seeds):
        found.append(estimate(seed))
        print(f"seed {seed}: {found[-1]['reward_interaction'].value / truth - 1:+.1%}", file=sys.stderr, flush=True)
    numbers: dict[str, Any] = {"seeds": seeds, "decisions_per_seed": DECISIONS, "true_value": round(truth, 5)}
    numbers["true_value_se"] = round(error, 5)
    numbers["logged_value"] = round(float(simulate(0, DECISIONS).clicks.sum(axis=1).mean()), 5)
    for name in found[0]:
        errors = np.array([each[name].value / truth - 1.0 for each in found])
        numbers[f"{name}_mean_error"] = round(float(errors.mean()), 4)
        numbers[f"{name}_largest_error"] = round(float(np.abs(errors).max()), 4)
        numbers[f"{name}_covered"] = sum(each[name].low <= truth <= each[name].high for each in found)
    return numbers
