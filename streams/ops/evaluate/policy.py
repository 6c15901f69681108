"""``headrace evaluate policy``: what a frozen policy would have earned on decisions that others made."""

from math import inf
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np

from streams.contract.errors import ConfigurationError, UnreadableSource
from streams.contract.settings import Settings
from streams.contract.topics import BANDIT
from streams.core.offpolicy import estimators, slates
from streams.core.offpolicy.expectations import by_action, fit_by_action, predict_by_action, shared
from streams.core.offpolicy.frozen import of_slates
from streams.core.offpolicy.report import Refused, judge
from streams.core.offpolicy.sums import Float64Array, Sums
from streams.core.policies.kinds import new_policy
from streams.core.policies.policy import Estimates
from streams.core.policies.slates import BoolArray, Chances
from streams.ops.evaluate.bandit_log import ChoiceLog, read_choices, read_table
from streams.ops.evaluate.decision_log import DecisionLog, read_decisions

POLICIES: Final = ("uniform", "control", "greedy", "epsilon-greedy", "bandit", "table")
"""Uniform and the control are one; the bandit is SquareCB; a table gives each action its probability."""

_LEARNER: Final = "bandit"
_UNIFORM: Final = frozenset({"uniform", "control"})


class Options(NamedTuple):
    """How to evaluate.

    Attributes:
        table: The file of the policy ``table``.
        epsilon: Of ``epsilon-greedy``.
        cap: No importance weight is above it.
        least_effective: An estimate of a smaller effective sample size is refused.
    """

    policy: str
    table: Path | None = None
    epsilon: float = 0.1
    cap: float = inf
    least_effective: float = 500.0
    resamples: int = 1000
    seed: int = 0


def evaluate_policy(settings: Settings, log: Path, options: Options) -> dict[str, Any]:
    """Estimates a policy's value from a log.

    Returns:
        What was logged, and each estimate or why it is refused.

    Raises:
        ConfigurationError: The policy and the log do not go together.
        UnreadableSource: The log cannot be read, or every estimate would stand on too few decisions.
    """
    if options.policy not in POLICIES:
        raise ConfigurationError(f"there is no policy {options.policy!r}; there are {', '.join(POLICIES)}")
    if (options.policy == "table") != (options.table is not None):
        raise ConfigurationError("--policy table and --table FILE go together")
    if log.suffix in {".jsonl", ".ndjson"}:
        report = _evaluate_slates(settings, read_decisions(log), log, options)
    else:
        report = _evaluate_choices(settings, read_choices(log), options)
    weighted = report["estimates"]
    if all(isinstance(found, Refused) for name, found in weighted.items() if name != "direct_method"):
        sizes = "; ".join(f"{name}: {found.refused}" for name, found in weighted.items() if isinstance(found, Refused))
        raise UnreadableSource(f"{log} cannot tell what {options.policy} is worth. {sizes}")
    plain = {name: found._asdict() for name, found in weighted.items()}
    return {"policy": options.policy, **report, "estimates": plain}


def _evaluate_slates(settings: Settings, log: DecisionLog, path: Path, options: Options) -> dict[str, Any]:
    chances = _chances(settings, log, path, options)
    users = log.users
    first = estimators.Choices(log.slates[:, 0], log.propensities[:, 0], log.rewards[:, 0], chances(log.there))
    target = of_slates(log.slates, log.there, chances)
    whole = slates.SlateLog(log.propensities, target, log.rewards)
    expected = shared(log.features, first.actions, first.rewards, users)
    is_uniform = np.allclose(first.propensities * log.there.sum(axis=1), 1.0)
    of_first, refused = _of_choices(first, expected, options.cap, is_uniform=is_uniform)
    sums = {f"first_slot_{name}": each for name, each in of_first.items()} | {
        "reward_interaction": slates.reward_interaction(whole, options.cap),
        "full_slate": slates.full_slate(whole, options.cap),
    }
    judged = judge(sums, users, options.least_effective, options.resamples, options.seed)
    judged |= {f"first_slot_{name}": Refused(why) for name, why in refused.items()}
    judged["independent_positions"] = Refused(
        "the log has propensities given the slots before, and this estimator takes marginal ones"
    )
    report: dict[str, Any] = {
        "decisions": len(users),
        "users": int(users.max()) + 1,
        "logged_by": log.policies,
        "left_out": {"by_kind": log.by_kind, "empty": log.empty},
        "logged_value": float(log.rewards.sum(axis=1).mean()),
        "logged_first_slot": float(first.rewards.mean()),
        "estimates": judged,
    }
    if options.cap < inf:
        report["cap"] = {
            "weight": options.cap,
            "bias_first_slot": estimators.cap_bias(first, options.cap),
            "bias_reward_interaction": slates.cap_bias(whole, options.cap),
        }
    return report


def _evaluate_choices(settings: Settings, log: ChoiceLog, options: Options) -> dict[str, Any]:
    log, target = _target(settings, log, options)
    choices = estimators.Choices(log.actions, log.propensities, log.rewards, target)
    n_actions = target.shape[1]
    expected = by_action(log.contexts, log.actions, log.rewards, log.users, n_actions)
    is_uniform = bool(np.allclose(log.propensities, log.propensities[0]))
    sums, refused = _of_choices(choices, expected, options.cap, is_uniform=is_uniform)
    if log.positions is not None:
        sums["independent_positions"] = _summed_positions(choices, log.positions, options.cap)
    users = np.unique(log.users, return_inverse=True)[1]
    judged = judge(sums, users, options.least_effective, options.resamples, options.seed)
    judged |= {name: Refused(why) for name, why in refused.items()}
    report: dict[str, Any] = {
        "rows": len(users),
        "users": int(users.max()) + 1,
        "actions": n_actions,
        "logged_value": float(log.rewards.mean()),
        "estimates": judged,
    }
    if options.cap < inf:
        report["cap"] = {"weight": options.cap, "bias_ips": estimators.cap_bias(choices, options.cap)}
    return report


def _of_choices(
    choices: estimators.Choices, expected: Float64Array, cap: float, *, is_uniform: bool
) -> tuple[dict[str, Sums], dict[str, str]]:
    """Returns the estimates of single choices, and those that the log or the policy does not admit."""
    sums = {
        "ips": estimators.inverse_propensity(choices, cap),
        "snips": estimators.self_normalised(choices, cap),
        "direct_method": estimators.direct_method(choices, expected),
        "doubly_robust": estimators.doubly_robust(choices, expected, cap),
    }
    if not is_uniform:
        return sums, {"replay": "the log is not uniform"}
    if not (choices.target.max(axis=1) == 1.0).all():
        return sums, {"replay": "the policy randomises"}
    return sums | {"replay": estimators.replay(choices)}, {}


def _summed_positions(choices: estimators.Choices, positions: list[str], cap: float) -> Sums:
    """Adds up the positions, each by the mean of its own rows."""
    _, codes, counts = np.unique(positions, return_inverse=True, return_counts=True)
    weights = choices.weights(cap)
    share = len(codes) / counts[codes]
    return Sums(share * weights * choices.rewards, np.ones(len(codes)), weights)


def _chances(settings: Settings, log: DecisionLog, path: Path, options: Options) -> Chances:
    """Returns the policy's draws on the logged shortlists."""
    if options.policy == "table":
        raise ConfigurationError("a table of actions cannot be evaluated on shortlists; it takes a CSV")
    if options.policy in _UNIFORM:
        return _equal
    model = log.models.get(_LEARNER)
    if model is None:
        raise ConfigurationError(
            f'{path} has no line {{"model": "{_LEARNER}", "theta": [...]}}: the log does not say what'
            f" {options.policy} knew"
        )
    if len(model.theta) != log.features.shape[2]:
        raise ConfigurationError(
            f"{path}: {options.policy} has {len(model.theta)} weights, and {log.features.shape[2]} features were logged"
        )
    scores = log.features @ np.array(model.theta)
    return _by_scores(scores, model.examples, settings, options)


def _by_scores(scores: Float64Array, examples: float, settings: Settings, options: Options) -> Chances:
    if options.policy == "bandit":
        configured = settings.decisions.policies.get(BANDIT)
        bandit = None if configured is None else new_policy(configured)
        if bandit is None or bandit.needs_deviations:
            raise ConfigurationError(
                f"decisions.policies.{BANDIT} has to be of a kind that needs estimates only, such as squarecb"
            )
        estimates = Estimates(scores, np.zeros(scores.shape), examples)
        return lambda eligible: bandit.chances(estimates, eligible)
    epsilon = options.epsilon if options.policy == "epsilon-greedy" else 0.0

    def chances(eligible: BoolArray) -> Float64Array:
        best = np.where(eligible, scores, -np.inf).argmax(axis=1)
        greedy = np.zeros(scores.shape)
        np.put_along_axis(greedy, best[:, None], 1.0, axis=1)
        return np.asarray((1.0 - epsilon) * greedy * eligible + epsilon * _equal(eligible), np.float64)

    return chances


def _equal(eligible: BoolArray) -> Float64Array:
    return np.asarray(eligible / np.maximum(eligible.sum(axis=1), 1)[:, None], np.float64)


def _target(settings: Settings, log: ChoiceLog, options: Options) -> tuple[ChoiceLog, Float64Array]:
    """Returns the part of a log that a policy is evaluated on, and its probabilities there.

    A policy that looks at rewards learns from the first half of the rows and is evaluated, frozen, on the second.
    """
    n_rows, n_actions = len(log.actions), len(log.names)
    if options.policy in _UNIFORM:
        return log, np.full((n_rows, n_actions), 1.0 / n_actions)
    if options.table is not None:
        return _tabulated(log, options.table)
    half = n_rows // 2
    learned, scored = _part(log, slice(0, half)), _part(log, slice(half, n_rows))
    weights, mean = fit_by_action(learned.contexts, learned.actions, learned.rewards, n_actions)
    scores = predict_by_action(scored.contexts, weights, mean)
    everything = np.ones(scores.shape, bool)
    return scored, _by_scores(scores, half, settings, options)(everything)


def _tabulated(log: ChoiceLog, file: Path) -> tuple[ChoiceLog, Float64Array]:
    table = read_table(file)
    names = [*log.names, *sorted({action for action, _ in table} - set(log.names))]
    by_position = any(position is not None for _, position in table)
    if by_position and log.positions is None:
        raise ConfigurationError(f"{file} depends on the position, which the log does not have")
    positions: list[str | None] = [*log.positions] if by_position and log.positions is not None else [None]
    rows = {position: [table.get((name, position), 0.0) for name in names] for position in set(positions)}
    if empty := sorted(str(position) for position, row in rows.items() if not any(row)):
        raise ConfigurationError(f"{file} has no probabilities for position {empty[0]}")
    everywhere = positions if by_position else positions * len(log.actions)
    return log._replace(names=names), np.array([rows[position] for position in everywhere])


def _part(log: ChoiceLog, rows: slice) -> ChoiceLog:
    return log._replace(
        actions=log.actions[rows],
        propensities=log.propensities[rows],
        rewards=log.rewards[rows],
        positions=None if log.positions is None else log.positions[rows],
        contexts=log.contexts[rows],
        users=log.users[rows],
    )
