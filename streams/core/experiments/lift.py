"""Lift over a control: the ratio of two click rates, clustered by user, with bounds that hold at any time.

It compares sums over users, see :mod:`streams.core.behaviour.tallies`. The log of the ratio is close to
normal, and its variance comes from the residuals of whole users, since one shopper's slots are not independent.

References:
    Deng, Knoblich and Lu (2018), "Applying the delta method in metric analytics", KDD, section 3: the variance.
    Howard, Ramdas, McAuliffe and Sekhon (2021), "Time-uniform, nonparametric, nonasymptotic confidence sequences",
    Annals of Statistics 49(2), section 3.2: the normal mixture boundary.
    Waudby-Smith, Arbour, Sinha, Kennedy and Ramdas (2021), "Time-uniform central limit theory and asymptotic confidence
    sequences", arXiv 2103.06476: the same with an estimated variance.
"""

from collections.abc import Collection, Mapping, Sequence
from math import exp, log, sqrt
from statistics import NormalDist
from typing import Final, NamedTuple

from streams.contract.metrics import Interval, Lift

LEVEL: Final = 0.05
"""Probability that any policy's bound misses the truth, at any time."""
MIN_USERS: Final = 30
MIN_CLICKS: Final = 30
"""Fewer users or clicks of either policy say nothing yet of the variance between users."""

_LARGEST_LOG: Final = 700.0
"""Bounds of a log ratio beyond this say nothing, and their exponential would overflow."""
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
        control: Likewise; returns ``None`` before both have enough users and clicks.
    """
    for users, _, clicks, *_ in (treated, control):
        if users < MIN_USERS or clicks < MIN_CLICKS:
            return None
    estimate = log(treated[2] / treated[1]) - log(control[2] / control[1])
    variance = _relative_variance(treated) + _relative_variance(control)
    return LogRatio(estimate, variance) if variance > 0.0 else None


def fixed_half_width(variance: float, level: float) -> float:
    """Computes the half width of the interval of a log ratio that is looked at once, at a time set before."""
    return NormalDist().inv_cdf(1.0 - level / 2.0) * sqrt(variance)


def anytime_half_width(variance: float, level: float) -> float:
    """Computes the half width of the bound of a log ratio that holds at all times at once.

    With information I = 1 / variance, the score I * (estimate - truth) leaves
    ``sqrt((I + h) * log((I + h) / (h * level²)))`` at any time with a probability of at most ``level``, for any h > 0
    that is set before.
    """
    information, mixture = 1.0 / variance, _mixture(level)
    growth = log((information + mixture) / mixture) - 2.0 * log(level)
    return sqrt((information + mixture) * growth) / information


def lifts(exposures: Mapping[str, Sequence[float]], controls: Collection[str]) -> dict[str, dict[str, Lift | None]]:
    """Compares every policy with every control.

    Over one control, the bounds of all policies hold at :data:`LEVEL` together (Bonferroni). Several controls need no
    more: a policy is better than all of them only if each of its lower bounds is above 0, and the chance that the one
    over its strongest control is so by mistake is at most the level.

    Args:
        exposures: Policy to its sums over users, see :func:`log_ratio`.

    Returns:
        Policy to control to lift, for those that were shown, without the controls themselves; ``None`` where it is too
        early.

    References:
        Berger (1982), "Multiparameter hypothesis testing and acceptance sampling", Technometrics 24: the
        intersection-union test.
    """
    shown = {policy: sums for policy, sums in exposures.items() if sums[1]}
    treated = [policy for policy in shown if policy not in controls]
    found: dict[str, dict[str, Lift | None]] = {policy: {} for policy in treated}
    for control in controls:
        for policy in treated if control in shown else ():
            ratio = log_ratio(shown[policy], shown[control])
            found[policy][control] = _lift(ratio, LEVEL / len(treated)) if ratio else None
    return found


def _lift(ratio: LogRatio, level: float) -> Lift:
    return Lift(
        estimate=exp(ratio.estimate) - 1.0,
        ci95=_bounds(ratio.estimate, fixed_half_width(ratio.variance, level)),
        anytime95=_bounds(ratio.estimate, anytime_half_width(ratio.variance, level)),
    )


def _relative_variance(sums: Sequence[float]) -> float:
    users, impressions, clicks, nn, nc, cc = sums
    rate = clicks / impressions
    spread = max(cc - 2.0 * rate * nc + rate * rate * nn, 0.0)
    return spread * users / (users - 1) / clicks**2


def _mixture(level: float) -> float:
    """Returns the h that makes the bound nearly tightest where the standard error is :data:`_TIGHTEST_AT`."""
    return 1.0 / _TIGHTEST_AT**2 / (-2.0 * log(level) + log(1.0 - 2.0 * log(level)))


def _bounds(estimate: float, half: float) -> Interval:
    return exp(max(estimate - half, -_LARGEST_LOG)) - 1.0, exp(min(estimate + half, _LARGEST_LOG)) - 1.0
