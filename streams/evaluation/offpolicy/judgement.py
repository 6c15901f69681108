"""Judgement of estimates: which are refused, and the intervals of the others."""

from collections.abc import Mapping, Sequence
from typing import Any, Final, Literal, NamedTuple

from streams.evaluation.offpolicy.betting import betting_interval
from streams.evaluation.offpolicy.intervals import (
    difference_comparison,
    likelihood_interval,
    simultaneous_critical,
    value_comparison,
    weight_interval,
)
from streams.evaluation.offpolicy.pareto import LARGEST_SHAPE, pareto_shape
from streams.evaluation.offpolicy.sums import Int64Array, Sums, Terms

Method = Literal["likelihood", "betting"]
LIKELIHOOD: Final[Method] = "likelihood"
BETTING: Final[Method] = "betting"

_CAUSES: Final = (
    "Likely causes: a deterministic log (propensities of 1, or actions that some contexts never get), percentages or"
    " logarithms instead of probabilities, or propensities of something else (another policy, another action, a whole"
    " slate)"
)
_ROUNDING: Final = 0.01
"""A mean weight that is this near to its expectation, by it, has rounded propensities at worst, such as 0.33."""


class Rules(NamedTuple):
    """Rules of the judgement.

    Attributes:
        least_effective: Smallest effective sample size; estimates below it are refused.
        resamples: Draws for the critical value of several intervals at once.
    """

    least_effective: float
    method: Method = LIKELIHOOD
    resamples: int = 10_000
    seed: int = 0


class Estimated(NamedTuple):
    """One estimate.

    Attributes:
        ci95: 95 % interval, clustered by user; ``None`` if none would hold, with the reason in ``no_interval``.
        effective_size: Effective sample size of the importance weights, in decisions.
        mean_weight: Mean of the weights without a cap; its expectation is 1, or the policy's share of choices that
            the log has.
        mean_weight_ci99: 99 % interval of it, clustered by user.
        pareto_k: Shape of the weights' tail; ``None`` if they have none.
    """

    value: float
    ci95: list[float] | None = None
    no_interval: str | None = None
    effective_size: float | None = None
    mean_weight: float | None = None
    mean_weight_ci99: list[float] | None = None
    pareto_k: float | None = None

    def report(self) -> dict[str, Any]:
        """Returns what is known of it."""
        return {name: each for name, each in self._asdict().items() if each is not None}


class Refused(NamedTuple):
    """A refused estimate, with the reason."""

    refused: str

    def report(self) -> dict[str, Any]:
        """Returns the reason."""
        return self._asdict()


class Group(NamedTuple):
    """Estimates whose expectation is the same and which, therefore, share an interval.

    Attributes:
        terms: ``None`` for estimates that are not weighted.
        no_interval: Why they have no interval; empty if they have one.
    """

    sums: dict[str, Sums]
    terms: Terms | None
    no_interval: str = ""


class Evaluated(NamedTuple):
    """Estimates of one policy.

    Attributes:
        unsupported: Why no weighted estimate is possible; empty if they are.
        refused: Reasons for estimates that are not possible.
    """

    name: str
    groups: list[Group]
    unsupported: str
    refused: dict[str, str]


def judge(evaluated: Evaluated, users: Int64Array, rules: Rules) -> dict[str, Estimated | Refused]:
    """Refuses what the log cannot tell, and computes the intervals of the other estimates.

    Args:
        users: Dense number of each decision's user, ``(n_decisions,)``.
    """
    judged: dict[str, Estimated | Refused] = {}
    for group in evaluated.groups:
        if group.terms is None:
            judged |= {name: Estimated(sums.value, None, group.no_interval) for name, sums in group.sums.items()}
        elif evaluated.unsupported:
            judged |= {name: Refused(evaluated.unsupported) for name in group.sums}
        else:
            judged |= _weighted(group.terms, group, users, rules)
    return judged | {name: Refused(why) for name, why in evaluated.refused.items()}


def _weighted(terms: Terms, group: Group, users: Int64Array, rules: Rules) -> dict[str, Estimated | Refused]:
    weights = terms.weights[:, -1]
    mean, expected = float(weights.mean()), float(terms.supported.mean())
    low, high = weight_interval(terms, users)
    # With a cap, nothing is left of a heavy tail.
    shape = pareto_shape(next(iter(group.sums.values())).weights)
    reason = ""
    if terms.largest <= terms.smallest:
        reason = f"every reward is {terms.largest:g}: there is nothing to estimate"
    elif not low - _ROUNDING * expected <= expected <= high + _ROUNDING * expected:
        reason = (
            f"the mean importance weight is {mean:.4g} (99 % interval {low:.4g} to {high:.4g}), but its expectation is"
            f" {expected:.4g}. {_CAUSES}"
        )
    elif shape is not None and shape > LARGEST_SHAPE:
        reason = (
            f"the weights have too heavy a tail: Pareto k is {shape:.2f}, above {LARGEST_SHAPE}; the policy chooses too"
            " often what the log hardly has, and --cap bounds what that may do"
        )
    judged: dict[str, Estimated | Refused] = {}
    accepted = {}
    for name, sums in group.sums.items():
        if reason:
            judged[name] = Refused(reason)
        elif sums.effective_size < rules.least_effective:
            judged[name] = Refused(
                f"the effective sample size is {sums.effective_size:.1f}, below {rules.least_effective:g}"
            )
        else:
            accepted[name] = sums
    if not accepted:
        return judged
    interval, why = _interval(terms, group.no_interval, users, rules)
    for name, sums in accepted.items():
        own = None if interval is None else _around(interval, sums.value)
        judged[name] = Estimated(sums.value, own, why, sums.effective_size, mean, [low, high], shape)
    return judged


def _interval(terms: Terms, no_interval: str, users: Int64Array, rules: Rules) -> tuple[list[float] | None, str | None]:
    if no_interval:
        return None, no_interval
    if rules.method == LIKELIHOOD:
        return likelihood_interval(value_comparison(terms, users), users), None
    if not terms.is_weighted_reward:
        return None, "bets are on weighted rewards only"
    return betting_interval(terms, users), None


def _around(interval: list[float], value: float) -> list[float]:
    """Widens an interval to its estimate, which may be outside if it ignores that the mean weight is not 1."""
    low, high = interval
    return [min(low, value), max(high, value)]


def differences(
    first: Evaluated,
    judged: Mapping[str, Estimated | Refused],
    others: Sequence[Evaluated],
    users: Int64Array,
    rules: Rules,
) -> dict[str, dict[str, Any]]:
    """Compares a policy with others on the same decisions.

    The intervals are by empirical likelihood; those of one estimator hold for all the policies at once.

    Args:
        judged: What :func:`judge` made of the first.

    Returns:
        Other policy to estimator to the policy's value less that of the other, or the reason of its refusal.
    """
    of_others = [judge(other, users, rules) for other in others]
    found: dict[str, dict[str, Any]] = {other.name: {} for other in others}
    for group in first.groups:
        for name, sums in group.sums.items():
            compared = []
            for other, of_other in zip(others, of_others, strict=True):
                refused = _refusal(first.name, judged[name], name) or _refusal(other.name, of_other.get(name), name)
                if refused:
                    found[other.name][name] = {"refused": refused}
                    continue
                theirs = next(each for each in other.groups if name in each.sums)
                found[other.name][name] = {"difference": sums.value - theirs.sums[name].value}
                if why := group.no_interval or theirs.no_interval:
                    found[other.name][name]["no_interval"] = why
                elif group.terms is not None and theirs.terms is not None:
                    compared.append((other.name, difference_comparison(group.terms, theirs.terms, users)))
            critical = simultaneous_critical([each for _, each in compared], users, rules.resamples, rules.seed)
            for of, comparison in compared:
                interval = likelihood_interval(comparison, users, critical)
                found[of][name]["ci95"] = _around(interval, found[of][name]["difference"])
    return found


def _refusal(policy: str, judged: Estimated | Refused | None, name: str) -> str:
    if judged is None:
        return f"{name} is not possible for {policy}"
    return f"{policy}: {judged.refused}" if isinstance(judged, Refused) else ""
