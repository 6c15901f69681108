"""``headrace evaluate policy``: estimates a frozen policy's reward from logged decisions of other policies."""

from math import inf
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from streams.contract.errors import ConfigurationError, UnreadableSource
from streams.contract.settings import Settings
from streams.evaluation.offpolicy import estimators, slates
from streams.evaluation.offpolicy.bandit_log import ChoiceLog, read_choices
from streams.evaluation.offpolicy.decision_log import DecisionLog, read_decisions
from streams.evaluation.offpolicy.expectations import by_action, shared
from streams.evaluation.offpolicy.sums import Float64Array, Int64Array, Sums, intervals
from streams.evaluation.offpolicy.target_policies import TABLE, on_choices, on_shortlists


class Options(NamedTuple):
    """Options of the evaluation.

    Attributes:
        table: File of the policy :data:`TABLE`.
        cap: Largest importance weight.
        least_effective: Smallest effective sample size; estimates below it are refused.
    """

    policy: str
    table: Path | None = None
    cap: float = inf
    least_effective: float = 500.0
    resamples: int = 1000
    seed: int = 0


class Estimated(NamedTuple):
    """One estimate.

    Attributes:
        ci95: 95 % interval, by the bootstrap over users.
        effective_size: Effective sample size of the importance weights, in decisions.
        mean_weight: Its expectation is 1; a value far from 1 means wrong propensities or another policy.
    """

    value: float
    ci95: list[float]
    effective_size: float
    mean_weight: float


class Refused(NamedTuple):
    """A refused estimate, with the reason."""

    refused: str


def evaluate_policy(settings: Settings, log: Path, options: Options) -> dict[str, Any]:
    """Estimates a policy's value from a log.

    Returns:
        Figures of the log, and each estimate or the reason of its refusal.

    Raises:
        ConfigurationError: The policy cannot be evaluated on this log.
        UnreadableSource: The log cannot be read, or is too small for every estimate.
    """
    if (options.policy == TABLE) != (options.table is not None):
        raise ConfigurationError(f"--policy {TABLE} and --table FILE go together: give both or neither")
    if log.suffix in {".jsonl", ".ndjson"}:
        report = _evaluate_slates(settings, read_decisions(log), options)
    else:
        report = _evaluate_choices(settings, read_choices(log), options)
    weighted = report["estimates"]
    if all(isinstance(each, Refused) for name, each in weighted.items() if name != "direct_method"):
        reasons = "; ".join(f"{name}: {each.refused}" for name, each in weighted.items() if isinstance(each, Refused))
        raise UnreadableSource(f"{log} allows no estimate of {options.policy}. {reasons}")
    plain = {name: each._asdict() for name, each in weighted.items()}
    return {"policy": options.policy, **report, "estimates": plain}


def judge(
    estimates: dict[str, Sums], users: Int64Array, least_effective: float, resamples: int, seed: int
) -> dict[str, Estimated | Refused]:
    """Computes each estimate's interval, and refuses those with too small an effective sample size."""
    accepted = {name: sums for name, sums in estimates.items() if sums.effective_size >= least_effective}
    bounds = intervals(accepted, users, resamples, seed) if accepted else {}
    judged: dict[str, Estimated | Refused] = {}
    for name, sums in estimates.items():
        size = sums.effective_size
        judged[name] = (
            Estimated(sums.value, bounds[name], size, float(sums.weights.mean()))
            if name in accepted
            else Refused(f"the effective sample size is {size:.1f}, below {least_effective:g}")
        )
    return judged


def _evaluate_slates(settings: Settings, log: DecisionLog, options: Options) -> dict[str, Any]:
    probabilities = on_shortlists(settings.decisions, log, options.policy)
    users = log.users
    first = estimators.Choices(log.slates[:, 0], log.propensities[:, 0], log.rewards[:, 0], probabilities(log.there))
    target = slates.of_slates(log.slates, log.there, probabilities, log.limit)
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
        "the log has propensities given the slots before, but this estimator needs marginal ones"
    )
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
    """Returns the estimates for single choices, and the reasons for those that are not possible."""
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
    """Sums the positions' values, each the mean over its own rows."""
    _, codes, counts = np.unique(positions, return_inverse=True, return_counts=True)
    weights = choices.weights(cap)
    share = len(codes) / counts[codes]
    return Sums(share * weights * choices.rewards, np.ones(len(codes)), weights)
