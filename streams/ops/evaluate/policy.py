"""``headrace evaluate policy``: what a frozen policy would have earned on decisions that others made."""

from math import inf
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from streams.contract.errors import ConfigurationError, UnreadableSource
from streams.contract.settings import Settings
from streams.core.offpolicy import estimators, slates
from streams.core.offpolicy.expectations import by_action, shared
from streams.core.offpolicy.frozen import of_slates
from streams.core.offpolicy.report import Refused, judge
from streams.core.offpolicy.sums import Float64Array, Sums
from streams.ops.evaluate.bandit_log import ChoiceLog, read_choices
from streams.ops.evaluate.decision_log import DecisionLog, read_decisions
from streams.ops.evaluate.targets import TABLE, on_choices, on_shortlists


class Options(NamedTuple):
    """How to evaluate.

    Attributes:
        table: The file of the policy :data:`TABLE`.
        cap: No importance weight is above it.
        least_effective: An estimate of a smaller effective sample size is refused.
    """

    policy: str
    table: Path | None = None
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
    if (options.policy == TABLE) != (options.table is not None):
        raise ConfigurationError(f"--policy {TABLE} and --table FILE go together")
    if log.suffix in {".jsonl", ".ndjson"}:
        report = _evaluate_slates(settings, read_decisions(log), options)
    else:
        report = _evaluate_choices(settings, read_choices(log), options)
    weighted = report["estimates"]
    if all(isinstance(found, Refused) for name, found in weighted.items() if name != "direct_method"):
        sizes = "; ".join(f"{name}: {found.refused}" for name, found in weighted.items() if isinstance(found, Refused))
        raise UnreadableSource(f"{log} cannot tell what {options.policy} is worth. {sizes}")
    plain = {name: found._asdict() for name, found in weighted.items()}
    return {"policy": options.policy, **report, "estimates": plain}


def _evaluate_slates(settings: Settings, log: DecisionLog, options: Options) -> dict[str, Any]:
    chances = on_shortlists(settings.decisions, log, options.policy)
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
        "left_out": {"by_kind": log.by_kind, "elsewhere": log.elsewhere, "empty": log.empty},
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
    log, target = on_choices(settings.decisions, log, options.policy, options.table)
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
