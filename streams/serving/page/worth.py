"""Band 1: each policy's lift over the controls, from the totals of the metrics topic."""

from math import ceil, inf, log1p
from typing import Final

from streams.contract.metrics import Interval, Lift, PolicyTotals
from streams.contract.settings.policies import CONTROLS
from streams.observability.metrics_view import MetricsView
from streams.serving.page.document import LiftOver, PolicyWorth, Sales, Worth

_OUT_OF_REACH: Final = 100.0
"""A lift for which so many times the users are needed is as good as none."""


def worth(metrics: MetricsView) -> Worth:
    """Compares policies; those that are no controls come first, the one with the most decisions at the top."""
    totals = metrics.totals()
    others = [name for name in totals.policies if name not in CONTROLS]
    others.sort(key=lambda name: -totals.policies[name].decisions)
    controls = [name for name in CONTROLS if name in totals.policies]
    policies = [_policy(name, totals.policies[name], totals.policies) for name in others + controls]
    return Worth(others[0] if others else None, policies, bool(metrics.ground_truth()))


def _policy(name: str, totals: PolicyTotals, policies: dict[str, PolicyTotals]) -> PolicyWorth:
    return PolicyWorth(
        name,
        totals.decisions,
        totals.users,
        totals.impressions,
        totals.clicks,
        totals.ctr,
        _sales(totals),
        [_over(control, lift, totals, policies[control]) for control, lift in totals.lift.items()],
    )


def _sales(totals: PolicyTotals) -> Sales:
    return Sales(totals.carts, totals.purchases, totals.money)


def _over(name: str, lift: Lift | None, totals: PolicyTotals, control: PolicyTotals) -> LiftOver:
    sales = extra_sales(totals, control)
    if lift is None:
        return LiftOver(name, None, None, None, None, sales)
    extra, low, high = (extra_clicks(totals.clicks, each) for each in (lift.estimate, *lift.anytime95))
    needed = more_users(lift, totals.users + control.users)
    return LiftOver(name, lift, lift.verdict, needed, (extra, (low, high)), sales)


def extra_clicks(clicks: int, lift: float) -> float:
    """Returns the clicks above those that the control's rate would have brought.

    >>> extra_clicks(120, 0.2)
    20.0
    """
    return clicks - clicks / (1.0 + lift) if lift > -1.0 else -inf


def extra_sales(policy: PolicyTotals, control: PolicyTotals) -> Sales | None:
    """Returns the sales above those that the control's rates by shown slot would have brought."""
    if not policy.impressions or not control.impressions:
        return None
    share = policy.impressions / control.impressions
    pairs = zip(_sales(policy), _sales(control), strict=True)
    return Sales(*(own - share * others for own, others in pairs))


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
