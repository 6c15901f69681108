"""Band 1: each policy's lift over the controls, from the totals of the metrics topic."""

from math import ceil, inf, log1p
from typing import Final

from streams.contract.metrics import Interval, Lift, PolicyTotals
from streams.contract.settings.policies import CONTROLS
from streams.observability.metrics_view import MetricsView
from streams.serving.page.document import LiftOver, PolicyWorth, Worth

_OUT_OF_REACH: Final = 100.0
"""A lift for which so many times the users are needed is as good as none."""


def worth(metrics: MetricsView) -> Worth:
    """Compares policies; those that are no controls come first, the one with the most decisions at the top."""
    totals = metrics.totals()
    others = [name for name in totals.policies if name not in CONTROLS]
    others.sort(key=lambda name: -totals.policies[name].decisions)
    controls = [name for name in CONTROLS if name in totals.policies]
    policies = [_policy(name, totals.policies[name], totals.policies) for name in others + controls]
    return Worth(others[0] if others else None, policies, totals.rewards, bool(metrics.ground_truth()))


def _policy(name: str, totals: PolicyTotals, policies: dict[str, PolicyTotals]) -> PolicyWorth:
    return PolicyWorth(
        name,
        totals.decisions,
        totals.users,
        totals.impressions,
        totals.clicks,
        totals.ctr,
        [_over(control, lift, totals, policies[control].users) for control, lift in totals.lift.items()],
    )


def _over(control: str, lift: Lift | None, totals: PolicyTotals, control_users: int) -> LiftOver:
    if lift is None:
        return LiftOver(control, None, None, None, None)
    extra, low, high = (extra_clicks(totals.clicks, each) for each in (lift.estimate, *lift.anytime95))
    return LiftOver(control, lift, lift.verdict, more_users(lift, totals.users + control_users), (extra, (low, high)))


def extra_clicks(clicks: int, lift: float) -> float:
    """Returns the clicks above those that the control's rate would have brought.

    >>> extra_clicks(120, 0.2)
    20.0
    """
    return clicks - clicks / (1.0 + lift) if lift > -1.0 else -inf


def more_users(lift: Lift, users: int) -> int | None:
    """Estimates how many more users it takes until the bound for any time leaves 0 out, if the estimate stays.

    The half width of the bound, on the log of the ratio, falls with the root of the users; a little faster in truth.

    Args:
        users: Of the policy and the control so far.

    >>> more_users(Lift(0.1, (-0.05, 0.27), (-0.1, 0.35)), 1000)
    3433
    >>> more_users(Lift(0.1, (0.05, 0.15), (0.01, 0.2)), 1000) is None
    True
    """
    estimate = log1p(lift.estimate)
    nearest: Interval = lift.anytime95
    half = abs(estimate - log1p(max(nearest[0] if estimate > 0.0 else nearest[1], -1.0 + 1e-9)))
    if not abs(estimate) < half < abs(estimate) * _OUT_OF_REACH**0.5:
        return None
    return ceil(users * ((half / estimate) ** 2 - 1.0))
