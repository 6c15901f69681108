"""Errors of off-policy estimates, and coverage of their intervals, where the truth is known.

In a shop with slates, once without rules and once with the rule ``max_per_category``; then in six worlds of single
choices.
"""

import sys
from typing import Any, Final, NamedTuple

import numpy as np

from benchmarks.offpolicy_coverage import COMPARED_LOGS, LOGS, measure_coverage
from streams.contract.arrays import BoolArray
from streams.core.policies.slates import CategoryLimit, Probabilities, draw_slates
from streams.core.policies.squarecb import inverse_gap_weighting
from streams.core.retrieval.item_table import NO_CATEGORY
from streams.evaluation.offpolicy.intervals import likelihood_interval, value_comparison
from streams.evaluation.offpolicy.slates import (
    SlateLog,
    full_slate,
    full_slate_terms,
    of_slates,
    reward_interaction,
    reward_interaction_terms,
)
from streams.evaluation.offpolicy.sums import Float64Array, Int64Array, RewardRange, Sums, Terms

SEEDS: Final = 100
DECISIONS: Final = 50_000
N_ITEMS: Final = 20
N_SLOTS: Final = 5
N_FEATURES: Final = 6
DECISIONS_PER_USER: Final = 5
_EXAMINATION: Final = np.array([1.0, 0.8, 0.65, 0.55, 0.5])
_TASTE: Final = np.array([1.0, -0.8, 0.6, -0.4, 0.2, 0.0])
_LOGGING: Final = (np.array([0.4, -0.6, 0.5, 0.2, -0.2, 0.3]), 1.0)
_EVALUATED: Final = (np.array([0.9, -0.7, 0.7, -0.5, 0.0, 0.1]), 1.5)
"""Estimated taste and gamma of the logging and of the evaluated policy; neither is the true taste."""
_CATEGORY_BOUNDS: Final = np.array([-1.0, 0.0, 0.7])
"""An item's category goes by its first feature; the lowest have none. With one of each, 15 % of slates are short."""


class Log(NamedTuple):
    """Decisions with their clicks, ``users`` numbered densely; what follows a short slate has no click."""

    features: Float64Array
    slates: Int64Array
    propensities: Float64Array
    clicks: Float64Array
    users: Int64Array
    limit: CategoryLimit | None

    def slate_log(self, target: Float64Array) -> SlateLog:
        """Returns the log beside the probabilities of the evaluated policy."""
        return SlateLog(np.where(self.slates < 0, 1.0, self.propensities), target, self.clicks)


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


def simulate(
    seed: int, n_decisions: int, policy: tuple[Float64Array, float] = _LOGGING, max_per_category: int = 0
) -> Log:
    """Draws decisions of a policy and clicks on them.

    A click depends on the item, the user and the position, and on the slots above it: what is like the item above is
    clicked less, and so is what stands below a click.

    Args:
        max_per_category: Items of one category in a slate; 0 for any number.
    """
    random = np.random.default_rng(seed)
    features = random.normal(size=(n_decisions, N_ITEMS, N_FEATURES))
    users = np.arange(n_decisions) // DECISIONS_PER_USER
    there: BoolArray = np.ones((n_decisions, N_ITEMS), bool)
    uniforms = random.random((n_decisions, N_SLOTS))
    limit = None
    if max_per_category:
        categories = np.digitize(features[:, :, 0], _CATEGORY_BOUNDS) + NO_CATEGORY
        limit = CategoryLimit(categories, np.full(n_decisions, max_per_category))
    slates, propensities = draw_slates(there, there, squarecb(features, policy), uniforms, limit)
    shown = np.take_along_axis(features, slates[:, :, None], axis=1)
    appeal = shown @ _TASTE - 1.8 + 0.7 * random.normal(size=int(users[-1]) + 1)[users, None]
    clicks = np.zeros((n_decisions, N_SLOTS))
    for slot in range(N_SLOTS):
        chance = _EXAMINATION[slot] / (1.0 + np.exp(-appeal[:, slot]))
        if slot:
            alike = (shown[:, slot] * shown[:, slot - 1]).sum(axis=1) > 1.0
            chance = chance * np.where(alike, 0.6, 1.0) * np.where(clicks[:, slot - 1] > 0.0, 0.5, 1.0)
        clicks[:, slot] = random.random(n_decisions) < np.where(slates[:, slot] >= 0, chance, 0.0)
    return Log(features, slates, propensities, clicks, users, limit)


def true_value(n_decisions: int = 1_000_000, max_per_category: int = 0) -> tuple[float, float]:
    """Returns the clicks a slate that the evaluated policy really gets, and the standard error of that."""
    parts = [
        simulate(10_000 + part, DECISIONS, _EVALUATED, max_per_category).clicks.sum(axis=1).mean()
        for part in range(n_decisions // DECISIONS)
    ]
    return float(np.mean(parts)), float(np.std(parts, ddof=1) / np.sqrt(len(parts)))


def naive(log: SlateLog) -> Sums:
    """Weights each slot by its own conditional ratio, as if the slots above were drawn as the evaluated policy would.

    What many do with the conditional propensities of a log; biased, since the prefixes are the logging policy's.
    """
    weights = log.target / log.propensities
    return Sums((weights * log.rewards).sum(axis=1), np.ones(len(weights)), weights[:, -1])


def naive_terms(log: SlateLog, rewards: RewardRange) -> Terms:
    """Returns the terms of :func:`naive`."""
    weights = log.target / log.propensities
    gains, losses = (weights * log.rewards).sum(axis=1), (weights * (rewards.high - log.rewards)).sum(axis=1)
    return reward_interaction_terms(log, rewards)._replace(
        below=gains, above=gains, gains=gains, losses=losses, weights=weights
    )


def estimate(seed: int, n_decisions: int = DECISIONS, max_per_category: int = 0) -> dict[str, Estimate]:
    """Estimates the evaluated policy's value on one log of the other policy's decisions."""
    log = simulate(seed, n_decisions, max_per_category=max_per_category)
    there: BoolArray = np.ones((n_decisions, N_ITEMS), bool)
    slates = log.slate_log(of_slates(log.slates, there, squarecb(log.features, _EVALUATED), log.limit))
    click = RewardRange(0.0, 1.0)
    estimates = {
        "reward_interaction": (reward_interaction(slates), reward_interaction_terms(slates, click)),
        "full_slate": (full_slate(slates), full_slate_terms(slates, click)),
        "naive": (naive(slates), naive_terms(slates, click)),
    }
    found = {}
    for name, (sums, terms) in estimates.items():
        low, high = likelihood_interval(value_comparison(terms, log.users), log.users)
        found[name] = Estimate(sums.value, low, high)
    return found


def measure_offpolicy(quick: bool) -> dict[str, Any]:
    """Evaluates one policy on logs of another, a log a seed, and counts how often the truth is within the interval."""
    seeds = SEEDS // 10 if quick else SEEDS
    numbers: dict[str, Any] = {"seeds": seeds, "decisions_per_seed": DECISIONS}
    numbers |= _measured(seeds, 0, "") | _measured(seeds, 1, "limited_")
    return numbers | measure_coverage(LOGS // 10 if quick else LOGS, COMPARED_LOGS)


def _measured(seeds: int, max_per_category: int, prefix: str) -> dict[str, Any]:
    truth, error = true_value(max_per_category=max_per_category)
    found = []
    for seed in range(seeds):
        found.append(estimate(seed, max_per_category=max_per_category))
        print(f"seed {seed}: {found[-1]['reward_interaction'].value / truth - 1:+.1%}", file=sys.stderr, flush=True)
    logged = simulate(0, DECISIONS, max_per_category=max_per_category).clicks.sum(axis=1).mean()
    numbers: dict[str, Any] = {"true_value": round(truth, 5), "true_value_se": round(error, 5)}
    numbers["logged_value"] = round(float(logged), 5)
    for name in found[0]:
        errors = np.array([each[name].value / truth - 1.0 for each in found])
        numbers[f"{name}_mean_error"] = round(float(errors.mean()), 4)
        numbers[f"{name}_largest_error"] = round(float(np.abs(errors).max()), 4)
        numbers[f"{name}_covered"] = sum(each[name].low <= truth <= each[name].high for each in found)
    return {f"{prefix}{name}": number for name, number in numbers.items()}
