"""Lift over the control: the ratio of two click rates, clustered by user, with bounds that may be looked at any time.

What is compared are sums over users, see :mod:`streams.core.tallies`. The log of the ratio is close to normal, and its
variance comes from the residuals of whole users, since one shopper's slots are not independent.

References:
    Deng, Knoblich and Lu (2018), "Applying the delta method in metric analytics", KDD, section 3: the variance.
    Howard, Ramdas, McAuliffe and Sekhon (2021), "Time-uniform, nonparametric, nonasymptotic confidence sequences",
    Annals of Statistics 49(2), section 3.2: the normal mixture boundary.
    Waudby-Smith, Arbour, Sinha, Kennedy and Ramdas (2021), "Time-uniform central limit theory and asymptotic confidence
    sequences", arXiv 2103.06476: the same with an estimated variance.
"""

from collections.abc import Mapping, Sequence
from math import exp, log, sqrt
from statistics import NormalDist
from typing import Any, Final, NamedTuple

LEVEL: Final = 0.05
"""Probability that any policy's bound misses the truth, at any time."""
MIN_USERS: Final = 30
MIN_CLICKS: Final = 30
"""Fewer users or clicks of either policy say nothing yet of the variance between users."""

_TIGHTEST_AT: Final = 0.1
"""Standard error of the log ratio at which the bounds are as tight as they can be."""


class LogRatio(NamedTuple):
    """Log of the ratio of two click rates, and its variance."""

    estimate: float
    variance: float


def log_ratio(treated: Sequence[float], control: Sequence[float]) -> LogRatio | None:
    """Estimates the log of the ratio of two policies' click rates.

    Args:
        treated: Users, Σn, Σc, Σn², Σnc, Σc² over users, n slots shown and c clicks of one user.
        control: Likewise.

    Returns:
        ``None`` before there are enough users and clicks.
    """
    for users, _, clicks, *_ in (treated, control):
        if users < MIN_USERS or clicks < MIN_CLICKS:
            return None
    estimate = log(treated[2] / treated[1]) - log(control[2] / control[1])
    variance = _relative_variance(treated) + _relative_variance(control)
    return LogRatio(estimate, variance) if variance > 0.0 else None


def fixed_half_width(variance: float, level: float) -> float:
    """Half width of the interval of a log ratio that is looked at once, at a time that was set before."""
    return NormalDist().inv_cdf(1.0 - level / 2.0) * sqrt(variance)


def anytime_half_width(variance: float, level: float) -> float:
    """Half width of the bound of a log ratio that holds at all times at once.

    With information I = 1 / variance, the score I * (estimate - truth) leaves
    ``sqrt((I + h) * log((I + h) / (h * level²)))`` at any time with a probability of at most ``level``, for any h > 0
    that is set before.
    """
    information, mixture = 1.0 / variance, _mixture(level)
    growth = log((information + mixture) / mixture) - 2.0 * log(level)
    return sqrt((information + mixture) * growth) / information


def lifts(tallies: Mapping[str, Sequence[float]], control: str) -> dict[str, dict[str, Any]]:
    """Compares every policy with the control, all of them at :data:`LEVEL` together (Bonferroni).

    Args:
        tallies: Policy to its sums over users.

    Returns:
        Policy to ``lift``, 0.1 for 10 % more clicks a slot; ``lift_ci95``, which holds if it is looked at once; and
        ``lift_anytime95``, which holds whenever and however often it is looked at. ``None`` where it is too early.
    """
    others = [policy for policy, sums in tallies.items() if policy != control and sums[1]]
    found: dict[str, dict[str, Any]] = {}
    for policy in others:
        ratio = log_ratio(tallies[policy], tallies[control]) if control in tallies else None
        level = LEVEL / len(others)
        found[policy] = {"lift": None, "lift_ci95": None, "lift_anytime95": None}
        if ratio is not None:
            found[policy] = {
                "lift": exp(ratio.estimate) - 1.0,
                "lift_ci95": _bounds(ratio.estimate, fixed_half_width(ratio.variance, level)),
                "lift_anytime95": _bounds(ratio.estimate, anytime_half_width(ratio.variance, level)),
            }
    return found


def _relative_variance(sums: Sequence[float]) -> float:
    """Variance of the log of a click rate."""
    users, impressions, clicks, nn, nc, cc = sums
    rate = clicks / impressions
    spread = max(cc - 2.0 * rate * nc + rate * rate * nn, 0.0)
    return spread * users / (users - 1) / clicks**2


def _mixture(level: float) -> float:
    """The h that makes the bound tightest where the standard error is :data:`_TIGHTEST_AT`, nearly."""
    return 1.0 / _TIGHTEST_AT**2 / (-2.0 * log(level) + log(1.0 - 2.0 * log(level)))


def _bounds(estimate: float, half: float) -> list[float]:
    return [exp(estimate - half) - 1.0, exp(estimate + half) - 1.0]
