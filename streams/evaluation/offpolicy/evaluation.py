"""``headrace evaluate policy``: estimates a frozen policy's reward from logged decisions of other policies."""

from math import inf
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np

from streams.contract.arrays import BoolArray
from streams.contract.errors import ConfigurationError, UnreadableSource
from streams.contract.settings import Settings
from streams.evaluation.offpolicy import estimators, slates
from streams.evaluation.offpolicy.bandit_log import ChoiceLog, read_choices
from streams.evaluation.offpolicy.decision_log import DecisionLog, read_decisions
from streams.evaluation.offpolicy.expectations import by_action, shared
from streams.evaluation.offpolicy.judgement import (
    LIKELIHOOD,
    Evaluated,
    Group,
    Method,
    Refused,
    Rules,
    differences,
    judge,
)
from streams.evaluation.offpolicy.sums import Float64Array, Int64Array, RewardRange, Sums, weighted_reward_terms
from streams.evaluation.offpolicy.support import alike_warning, logged_actions, missing_support
from streams.evaluation.offpolicy.target_policies import TABLE, Target, on_choices, on_shortlists

DIRECT_METHOD: Final = "direct_method"
_MODEL_BIAS: Final = "it is as biased as its model of rewards, which no interval shows"
_CAP_BIAS: Final = "a cap biases it, and the bias has no bound"
_INCOMPLETE: Final = "the log has only the policy's probability of the chosen action"


class Options(NamedTuple):
    """Options of the evaluation.

    Attributes:
        table: File of the policy :data:`TABLE`.
        cap: Largest importance weight.
        least_effective: Smallest effective sample size; estimates below it are refused.
        resamples: Draws for the critical value of several intervals at once.
        against: Policies to compare with.
        actions: List of the actions that exist.
    """

    policy: str
    table: Path | None = None
    cap: float = inf
    least_effective: float = 500.0
    resamples: int = 10_000
    seed: int = 0
    against: tuple[str, ...] = ()
    actions: Path | None = None
    interval: Method = LIKELIHOOD

    @property
    def policies(self) -> list[str]:
        """The evaluated policy, and those it is compared with."""
        return [self.policy, *self.against]


def evaluate_policy(settings: Settings, log: Path, options: Options) -> dict[str, Any]:
    """Estimates a policy's value from a log, and its difference from other policies' values.

    Returns:
        Figures of the log, and each estimate or the reason of its refusal.

    Raises:
        ConfigurationError: The policy cannot be evaluated on this log.
        UnreadableSource: The log cannot be read, or is too small for every estimate.
    """
    if (TABLE in options.policies) != (options.table is not None):
        raise ConfigurationError(f"--policy {TABLE} and --table FILE go together: give both or neither")
    if len(set(options.policies)) < len(options.policies):
        raise ConfigurationError("--against: a policy is named twice; compare different policies")
    if options.against and options.interval != LIKELIHOOD:
        raise ConfigurationError(f"--against has intervals by empirical likelihood only: use --interval {LIKELIHOOD}")
    if log.suffix in {".jsonl", ".ndjson"}:
        report, users, evaluated = _evaluate_slates(settings, read_decisions(log), options)
    else:
        choices = read_choices(log, options.policies, options.actions)
        report, users, evaluated = _evaluate_choices(settings, choices, options)
    rules = Rules(options.least_effective, options.interval, options.resamples, options.seed)
    judged = judge(evaluated[0], users, rules)
    if all(isinstance(each, Refused) for name, each in judged.items() if not name.endswith(DIRECT_METHOD)):
        reasons = "; ".join(f"{name}: {each.refused}" for name, each in judged.items() if isinstance(each, Refused))
        raise UnreadableSource(f"{log} allows no estimate of {options.policy}. {reasons}")
    report = {"policy": options.policy, **report, "estimates": {name: each.report() for name, each in judged.items()}}
    if options.against:
        report["against"] = differences(evaluated[0], judged, evaluated[1:], users, rules)
    return report


_Evaluation = tuple[dict[str, Any], Int64Array, list[Evaluated]]
"""Figures of the log, the user of each decision, and the estimates of each policy."""


def _evaluate_slates(settings: Settings, log: DecisionLog, options: Options) -> _Evaluation:
    probabilities = [on_shortlists(settings.decisions, log, name) for name in options.policies]
    users, first_rewards, n_items = log.users, log.rewards[:, 0], log.there.sum(axis=1)
    expected = shared(log.features, log.slates[:, 0], first_rewards, users)
    not_uniform = "" if np.allclose(log.propensities[:, 0] * n_items, 1.0) else "the log is not uniform"
    if not not_uniform and n_items.min() < n_items.max():
        not_uniform = (
            f"the shortlists have {n_items.min()} to {n_items.max()} items, and it would count short ones more often"
        )
    rewards = RewardRange(min(float(log.rewards.min()), 0.0), max(float(log.rewards.max()), 0.0))
    evaluated = []
    for name, next_draw in zip(options.policies, probabilities, strict=True):
        target = Target(name, next_draw(log.there))
        first = estimators.Choices(log.slates[:, 0], log.propensities[:, 0], first_rewards, target.probabilities)
        whole = slates.SlateLog(
            log.propensities, slates.of_slates(log.slates, log.there, next_draw, log.limit), log.rewards
        )
        groups, refused = _of_choices(first, target, expected, log.there, rewards, options.cap, not_uniform)
        groups = [
            Group({f"first_slot_{name}": each for name, each in sums.items()}, terms, why)
            for sums, terms, why in groups
        ] + [
            Group(
                {"reward_interaction": slates.reward_interaction(whole, options.cap)},
                slates.reward_interaction_terms(whole, rewards, options.cap),
            ),
            Group(
                {"full_slate": slates.full_slate(whole, options.cap)},
                slates.full_slate_terms(whole, rewards, options.cap),
            ),
        ]
        refused = {f"first_slot_{name}": why for name, why in refused.items()}
        refused["independent_positions"] = (
            "the log has propensities given the slots before, but this estimator needs marginal ones"
        )
        evaluated.append(Evaluated(name, groups, "", refused))
        if name == options.policy:
            bias = {
                "bias_first_slot": estimators.cap_bias(first, options.cap),
                "bias_reward_interaction": slates.cap_bias(whole, options.cap),
            }
    report: dict[str, Any] = {
        "decisions": len(users),
        "users": int(users.max()) + 1,
        "logged_by": log.policies,
        "left_out": {
            "by_source": log.by_source,
            "elsewhere": log.elsewhere,
            "deterministic": log.deterministic,
            "empty": log.empty,
        },
        "logged_value": float(log.rewards.sum(axis=1).mean()),
        "logged_first_slot": float(first_rewards.mean()),
    }
    if options.cap < inf:
        report["cap"] = {"weight": options.cap} | bias
    return report, users, evaluated


def _evaluate_choices(settings: Settings, log: ChoiceLog, options: Options) -> _Evaluation:
    warning = alike_warning(log.names)
    whole = log
    log, targets = on_choices(settings.decisions, log, options.policies, options.table)
    n_actions = len(log.names)
    logged = logged_actions(whole.actions, whole.positions, n_actions)[len(whole.actions) - len(log.actions) :]
    expected = by_action(log.contexts, log.actions, log.rewards, log.users, n_actions)
    is_uniform = bool(np.allclose(whole.propensities * len(whole.names), 1.0))
    rewards = RewardRange(float(log.rewards.min()), float(log.rewards.max()))
    evaluated = []
    for target in targets:
        choices = estimators.Choices(log.actions, log.propensities, log.rewards, target.probabilities)
        groups, refused = _of_choices(
            choices, target, expected, logged, rewards, options.cap, "" if is_uniform else "the log is not uniform"
        )
        if log.positions is not None:
            groups.append(_of_positions(choices, log.positions, logged, rewards, options.cap))
        unsupported = missing_support(target.name, target.probabilities, logged, log.names)
        evaluated.append(Evaluated(target.name, groups, unsupported, refused))
    users = np.unique(log.users, return_inverse=True)[1]
    own = estimators.Choices(log.actions, log.propensities, log.rewards, targets[0].probabilities)
    report: dict[str, Any] = {
        "rows": len(users),
        "users": int(users.max()) + 1,
        "actions": n_actions,
        "logged_value": float(log.rewards.mean()),
    }
    if warning:
        report["warning"] = warning
    if missing := float(estimators.never_logged(own, logged).mean()):
        report["never_logged"] = missing
    if options.cap < inf:
        report["cap"] = {"weight": options.cap, "bias_ips": estimators.cap_bias(own, options.cap)}
    return report, users, evaluated


def _of_choices(
    choices: estimators.Choices,
    target: Target,
    expected: Float64Array,
    logged: BoolArray,
    rewards: RewardRange,
    cap: float,
    not_uniform: str,
) -> tuple[list[Group], dict[str, str]]:
    """Returns the estimates for single choices, and the reasons for those that are not possible."""
    weighted = {
        "ips": estimators.inverse_propensity(choices, cap),
        "snips": estimators.self_normalised(choices, cap),
    }
    refused = {}
    if not target.is_complete:
        refused["replay"] = _INCOMPLETE
    elif not_uniform:
        refused["replay"] = not_uniform
    elif not (choices.target.max(axis=1) == 1.0).all():
        refused["replay"] = "the policy randomises"
    else:
        weighted["replay"] = estimators.replay(choices)
    groups = [Group(weighted, estimators.weighted_terms(choices, logged, rewards, cap))]
    if not target.is_complete:
        return groups, refused | {DIRECT_METHOD: _INCOMPLETE, "doubly_robust": _INCOMPLETE}
    robust = estimators.doubly_robust_terms(choices, expected, logged, rewards)
    return [
        *groups,
        Group({DIRECT_METHOD: estimators.direct_method(choices, expected)}, None, _MODEL_BIAS),
        Group(
            {"doubly_robust": estimators.doubly_robust(choices, expected, cap)},
            robust,
            _CAP_BIAS if (choices.weights() > cap).any() else "",
        ),
    ], refused


def _of_positions(
    choices: estimators.Choices, positions: list[str], logged: BoolArray, rewards: RewardRange, cap: float
) -> Group:
    """Sums the positions' values, each the mean over its own rows."""
    _, codes, counts = np.unique(positions, return_inverse=True, return_counts=True)
    weights, missing = choices.weights(cap), estimators.never_logged(choices, logged)
    share, n_positions = len(codes) / counts[codes], len(counts)
    terms = weighted_reward_terms(
        share * weights * (choices.rewards - rewards.low),
        share * weights * (rewards.high - choices.rewards),
        (share * choices.weights() / n_positions)[:, None],
        share * (1.0 - missing) / n_positions,
        share * rewards.span * (missing + choices.weights() - weights),
        rewards.times(n_positions),
    )
    sums = Sums(share * weights * choices.rewards, np.ones(len(codes)), weights)
    return Group({"independent_positions": sums}, terms)
