"""Tallies of source partitions, exact sums of exposure by policy and of the funnel; and the totals over partitions."""

from collections.abc import Iterable, Mapping, Sequence
from enum import IntEnum
from math import sqrt
from typing import Final, TypeVar

from streams.contract.events import Event
from streams.contract.fold import PartitionRow
from streams.contract.metrics import ClickRate, FunnelTotals, Lift, PartitionMetrics, PolicyTotals, Totals
from streams.contract.settings.policies import CONTROLS
from streams.core.experiments.lift import lifts
from streams.core.sums import int_sum

MAX_CATEGORIES: Final = 64
OTHER: Final = "(other)"
_FUNNEL: Final = {"view": 0, "add_to_cart": 1, "purchase": 2}
HUNDREDTHS: Final = 100
_MOST: Final = (1 << 63) - 1
_Z95: Final = 1.959963984540054
_NO_EXPOSURE: Final = (0, 0, 0, 0, 0, 0)
_NO_SALES: Final = (0, 0, 0)

Tallies = dict[str, list[int]]


class SlotStep(IntEnum):
    """What became of a slot, and its place in a tally."""

    DECIDED = 0
    SHOWN = 1
    CLICKED = 2


ValueT = TypeVar("ValueT")


def count_exposure(tallies: Tallies, policy: str, exposure: list[int], impressions: int, clicks: int) -> None:
    """Adds slots shown to one user, and clicks on them.

    With n and c a user's impressions and clicks, the tally holds users, Σn, Σc, Σn², Σnc, Σc²: enough for the click
    rate Σc / Σn and its variance clustered by user, without keeping a list of users.

    Args:
        exposure: The user's ``[n, c]`` under this policy so far; advanced in place.
    """
    sums = tallies.setdefault(f"policy.{policy}", [0] * 6)
    n, c = exposure
    exposure[0] = more_n = n + impressions
    exposure[1] = more_c = c + clicks
    sums[0] += not n and more_n > 0
    sums[1] += impressions
    sums[2] += clicks
    sums[3] += more_n * more_n - n * n
    sums[4] += more_n * more_c - n * c
    sums[5] += more_c * more_c - c * c


def count_slots(tallies: Tallies, policy: str, sources: Iterable[str], step: SlotStep) -> None:
    """Adds slots to what became of them, by the policy that decided and the candidate source of their item."""
    for source in sources:
        tallies.setdefault(f"slots.{source}.{policy}", [0, 0, 0])[step] += 1


def count_sale(tallies: Tallies, policy: str, event: Event) -> None:
    """Adds an addition to the cart, or a purchase and its money, to the policy whose decision showed the item.

    Money is a whole number of hundredths, so that the sum is exact in any order; without a price it counts nothing. It
    stops at the largest number that a row can hold.
    """
    sums = tallies.setdefault(f"sales.{policy}", [0, 0, 0])
    if event.kind == "add_to_cart":
        sums[0] += 1
    else:
        sums[1] += 1
        sums[2] = min(sums[2] + round((event.price or 0.0) * (event.quantity or 1) * HUNDREDTHS), _MOST)


def count_funnel(tallies: Tallies, kind: str, category: str | None) -> None:
    """Adds a view, an addition to the cart or a purchase to its category; the number of categories is bounded."""
    step = _FUNNEL.get(kind)
    if step is None or category is None:
        return
    sums = tallies.get(name := f"funnel.{category}")
    if sums is None:
        if int_sum(key.startswith("funnel.") for key in tallies) >= MAX_CATEGORIES:
            name = f"funnel.{OTHER}"
        sums = tallies.setdefault(name, [0, 0, 0])
    sums[step] += 1


def partition_metrics(row: PartitionRow, lag: int) -> PartitionMetrics:
    """Renders a partition's row for ``metrics``; ``lag`` is how many records are still to be applied."""
    exposures, funnel = _with_prefix(row.tallies, "policy."), _with_prefix(row.tallies, "funnel.")
    sales = _with_prefix(row.tallies, "sales.")
    slots: dict[str, dict[str, tuple[int, int, int]]] = {}
    for name, (decided, shown, clicked) in _with_prefix(row.tallies, "slots.").items():
        source, _, policy = name.partition(".")
        slots.setdefault(policy, {})[source] = decided, shown, clicked
    return PartitionMetrics(
        lag=lag,
        applied_offset=row.applied_offset,
        schema=row.rows_schema,
        watermark_ms=row.watermark_ms,
        applied_positions={name: each.last for name, each in row.applied_positions.items()},
        counts=row.counts,
        exposures={policy: (n, a, b, c, d, e) for policy, (n, a, b, c, d, e) in exposures.items()},
        funnel={category: (views, carts, purchases) for category, (views, carts, purchases) in funnel.items()},
        slots=slots,
        sales={policy: (carts, purchases, money) for policy, (carts, purchases, money) in sales.items()},
    )


def summarise(partitions: Iterable[PartitionMetrics]) -> Totals:
    """Adds up partitions of the clickstream, each of which must appear once."""
    counts: dict[str, int] = {}
    exposures: dict[str, Sequence[int]] = {}
    funnel: dict[str, Sequence[int]] = {}
    sales: dict[str, Sequence[int]] = {}
    for partition in partitions:
        for name, count in partition.counts.items():
            counts[name] = counts.get(name, 0) + count
        _add(exposures, partition.exposures)
        _add(funnel, partition.funnel)
        _add(sales, partition.sales)
    decisions = _with_prefix(counts, "decisions.")
    lift = lifts(exposures, CONTROLS)
    return Totals(
        applied=counts.get("applied", 0),
        duplicates=counts.get("duplicates", 0),
        late=counts.get("late", 0),
        dead_letters=_with_prefix(counts, "dead_letters."),
        kinds=_with_prefix(counts, "kinds."),
        skipped_offsets=counts.get("skipped_offsets", 0),
        unjoinable=counts.get("unjoinable", 0),
        decisions=int_sum(decisions.values()),
        decisions_unshown=counts.get("decisions_unshown", 0),
        shadows=_with_prefix(counts, "shadows."),
        rewards=_with_prefix(counts, "rewards."),
        late_rewards=_with_prefix(counts, "late_rewards."),
        late_impressions=counts.get("late_impressions", 0),
        predictions_dropped=_with_prefix(counts, "predictions_dropped."),
        policies={
            policy: _policy(
                decisions.get(policy, 0),
                exposures.get(policy, _NO_EXPOSURE),
                sales.get(policy, _NO_SALES),
                lift.get(policy, {}),
            )
            for policy in sorted({*decisions, *exposures})
        },
        funnel={category: FunnelTotals(*sums) for category, sums in sorted(funnel.items())},
    )


def _policy(
    decisions: int, exposure: Sequence[int], sales: Sequence[int], lift: dict[str, Lift | None]
) -> PolicyTotals:
    users, impressions, clicks, *_ = exposure
    carts, purchases, hundredths = sales
    return PolicyTotals(
        decisions=decisions,
        users=users,
        impressions=impressions,
        clicks=clicks,
        ctr=click_rate(exposure),
        lift=lift,
        carts=carts,
        purchases=purchases,
        money=hundredths / HUNDREDTHS,
    )


def click_rate(exposure: Sequence[int]) -> ClickRate | None:
    """Estimates a click rate, a ratio of sums over users, with its 95 % interval clustered by user.

    Args:
        exposure: Users, Σn, Σc, Σn², Σnc, Σc² over users, n slots shown and c clicks of one user.

    References:
        Deng, Knoblich and Lu (2018), "Applying the delta method in metric analytics", KDD, section 3.
    """
    users, impressions, clicks, nn, nc, cc = exposure
    if not impressions:
        return None
    rate = clicks / impressions
    spread = max(cc - 2.0 * rate * nc + rate * rate * nn, 0.0)
    half = _Z95 * sqrt(spread * users / max(users - 1, 1)) / impressions
    return ClickRate(rate, (max(rate - half, 0.0), min(rate + half, 1.0)))


def _add(sums: dict[str, Sequence[int]], more: Mapping[str, Sequence[int]]) -> None:
    for name, values in more.items():
        sums[name] = [a + b for a, b in zip(sums[name], values, strict=True)] if name in sums else values


def _with_prefix(named: Mapping[str, ValueT], prefix: str) -> dict[str, ValueT]:
    return {name.removeprefix(prefix): value for name, value in named.items() if name.startswith(prefix)}
