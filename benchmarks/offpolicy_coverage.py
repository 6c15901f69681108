"""Coverage and width of off-policy intervals in worlds whose values are known exactly.

A world has contexts, arms, a logging policy with a floor and an evaluated policy. Users make several decisions, and
some of them click more than others. A log is as long as its effective size needs on average.
"""

from typing import Any, Final, NamedTuple

import numpy as np
from scipy.stats import beta

from streams.contract.arrays import BoolArray
from streams.evaluation.offpolicy import estimators
from streams.evaluation.offpolicy.betting import betting_interval
from streams.evaluation.offpolicy.expectations import by_action
from streams.evaluation.offpolicy.intervals import likelihood_interval, value_comparison
from streams.evaluation.offpolicy.judgement import Evaluated, Group, Refused, Rules, judge
from streams.evaluation.offpolicy.sums import Float64Array, Int64Array, RewardRange, Sums, Terms, by_user

FLOORS: Final = (0.2, 0.05, 0.02)
RATES: Final = (0.01, 0.1)
LOGS: Final = 1_000
COMPARED_LOGS: Final = 100
"""Logs of each world on which the slow bootstrap and the bets are measured, too."""
EFFECTIVE_SIZE: Final = 500
RESAMPLES: Final = 400
_N_ARMS: Final = 5
_N_CONTEXTS: Final = 40
_DECISIONS_PER_USER: Final = 3
_CLICK: Final = RewardRange(0.0, 1.0)
_WORLD_SEED: Final = 41
_PERCENTILES: Final = (97.5, 2.5)


class World(NamedTuple):
    """Tables by context and arm, ``(n_contexts, n_arms)``.

    Attributes:
        value: Click rate of the evaluated policy.
        n_users: Users of a log.
    """

    logging: Float64Array
    evaluated: Float64Array
    clicks: Float64Array
    value: float
    n_users: int


class Log(NamedTuple):
    """A log with the terms of its estimates."""

    choices: estimators.Choices
    users: Int64Array

    def terms(self) -> Terms:
        """Returns the terms of the weighted estimates."""
        return estimators.weighted_terms(self.choices, self._logged(), _CLICK)

    def robust_terms(self) -> Terms:
        """Returns the terms of the doubly robust estimate."""
        choices = self.choices
        n_arms = choices.target.shape[1]
        nothing = np.zeros((len(self.users), 0))
        expected = by_action(nothing, choices.actions, choices.rewards, self.users, n_arms)
        return estimators.doubly_robust_terms(choices, expected, self._logged(), _CLICK)

    def _logged(self) -> BoolArray:
        return np.ones(self.choices.target.shape, bool)


def new_world(floor: float, rate: float, seed: int = _WORLD_SEED, effective_size: int = EFFECTIVE_SIZE) -> World:
    """Draws a world.

    Args:
        floor: Share of the logging policy that is uniform.
        rate: Click rate of the evaluated policy.
    """
    random = np.random.default_rng(seed)
    old, new, taste = random.normal(size=(3, _N_CONTEXTS, _N_ARMS))
    logging = (1.0 - floor) * _softmax(2.0 * old) + floor / _N_ARMS
    evaluated = _softmax(1.5 * (0.7 * old + 0.7 * new))
    clicks = np.exp(0.5 * taste + 0.5 * new)
    clicks *= rate / (evaluated * clicks).sum(axis=1).mean()
    second_moment = float((evaluated**2 / logging).sum(axis=1).mean())
    n_users = round(effective_size * second_moment / _DECISIONS_PER_USER)
    return World(logging, evaluated, clicks, rate, n_users)


def draw_log(world: World, seed: int) -> Log:
    """Draws a log of a world's logging policy."""
    random = np.random.default_rng([seed, world.n_users])
    n_decisions = random.poisson(_DECISIONS_PER_USER - 1, world.n_users) + 1
    users = np.repeat(np.arange(world.n_users), n_decisions)
    # A user clicks up to twice as often as the mean.
    eagerness = random.uniform(0.0, 2.0, world.n_users)[users]
    contexts = random.integers(0, _N_CONTEXTS, len(users))
    actions = (random.random(len(users))[:, None] > world.logging.cumsum(axis=1)[contexts]).sum(axis=1)
    actions = np.minimum(actions, _N_ARMS - 1)
    clicks = random.random(len(users)) < np.minimum(world.clicks[contexts, actions] * eagerness, 1.0)
    choices = estimators.Choices(
        actions, world.logging[contexts, actions], clicks.astype(np.float64), world.evaluated[contexts]
    )
    return Log(choices, users)


def measure_coverage(n_logs: int, n_compared: int) -> dict[str, Any]:
    """Counts, in each world, how often intervals hold the value."""
    return {
        f"floor {floor:g}, {rate:.0%} clicks": _measured(new_world(floor, rate), n_logs, min(n_compared, n_logs))
        for floor in FLOORS
        for rate in RATES
    }


def _measured(world: World, n_logs: int, n_compared: int) -> dict[str, Any]:
    found: dict[str, list[list[float]]] = {"likelihood": [], "doubly_robust": [], "betting": [], "bootstrap_t": []}
    sizes = []
    refused = {"weights": 0, "tail": 0}
    for seed in range(n_logs):
        log = draw_log(world, seed)
        terms, robust = log.terms(), log.robust_terms()
        found["likelihood"].append(likelihood_interval(value_comparison(terms, log.users), log.users))
        found["doubly_robust"].append(likelihood_interval(value_comparison(robust, log.users), log.users))
        snips = estimators.self_normalised(log.choices)
        sizes.append(snips.effective_size)
        judged = judge(Evaluated("", [Group({"": snips}, terms, "not needed")], "", {}), log.users, Rules(1.0))[""]
        if isinstance(judged, Refused):
            refused["weights" if "mean" in judged.refused else "tail"] += 1
        if seed < n_compared:
            found["betting"].append(betting_interval(terms, log.users))
            found["bootstrap_t"].append(bootstrap_t(snips, log.users, RESAMPLES, seed))
    numbers: dict[str, Any] = {
        "mean_decisions": world.n_users * _DECISIONS_PER_USER,
        "median_effective_size": round(float(np.median(sizes))),
        "refused_mean_weight": refused["weights"],
        "refused_tail": refused["tail"],
    }
    for name, intervals in found.items():
        held = sum(low <= world.value <= high for low, high in intervals)
        numbers[f"{name}_coverage"] = round(held / len(intervals), 4)
        # Clopper and Pearson (1934), one-sided.
        numbers[f"{name}_coverage_at_least"] = round(float(beta.ppf(0.01, held, len(intervals) - held + 1)), 4)
        numbers[f"{name}_median_width"] = round(median_width(intervals), 5)
    compared = median_width(found["likelihood"][:n_compared]) / median_width(found["bootstrap_t"])
    return numbers | {"width_by_bootstrap_t": round(compared, 3)}


def median_width(intervals: list[list[float]]) -> float:
    """Returns the median width of intervals."""
    return float(np.median([high - low for low, high in intervals]))


def bootstrap_t(sums: Sums, users: Int64Array, resamples: int, seed: int) -> list[float]:
    """Bootstraps a 95 % interval in units of the standard error, on resamples of users.

    References:
        Hall (1988), "Theoretical comparison of bootstrap confidence intervals", Annals of Statistics 16.
        Field and Welsh (2007), "Bootstrapping clustered data", JRSS B 69: clusters are drawn whole.
    """
    n_users = int(users.max()) + 1
    numerators, denominators = by_user(sums.numerators, users), by_user(sums.denominators, users)
    products = (numerators * numerators, numerators * denominators, denominators * denominators)
    moments = np.stack([numerators, denominators, *products], axis=1)
    draws = np.random.default_rng(seed).multinomial(n_users, np.full(n_users, 1.0 / n_users), resamples)
    value, error = _ratio(moments.sum(axis=0)[None, :])
    values, errors = _ratio(np.asarray(draws @ moments, np.float64))
    counts = errors > 0.0
    above, below = np.percentile((values[counts] - value) / errors[counts], _PERCENTILES)
    return [float((value - above * error)[0]), float((value - below * error)[0])]


def _ratio(totals: Float64Array) -> tuple[Float64Array, Float64Array]:
    """Returns ratios and their linearised standard errors from sums of the moments."""
    numerators, denominators, nn, nd, dd = totals.T
    ratios = numerators / denominators
    return ratios, np.sqrt(np.maximum(nn - 2.0 * ratios * nd + ratios * ratios * dd, 0.0)) / denominators


def _softmax(scores: Float64Array) -> Float64Array:
    powers = np.exp(scores)
    return np.asarray(powers / powers.sum(axis=1, keepdims=True), np.float64)
