"""The exact totals of source partitions, added up for people: counts, policies with intervals, the funnel."""

from collections.abc import Iterable
from math import sqrt
from typing import Any, Final

from streams.contract.fold import PartitionRow
from streams.contract.topics import CONTROL
from streams.core.lift import lifts

_Z95: Final = 1.959963984540054


def summarise(rows: Iterable[PartitionRow]) -> dict[str, Any]:
    """Adds up partitions' rows, each of which must appear once.

    Returns:
        ``applied``, ``duplicates``, ``late`` (a part of applied), ``dead_letters`` by reason, ``kinds`` of events,
        ``unjoinable`` feedback, ``decisions``, ``shadows`` that were decided besides, ``rewards`` earned by type and
        ``late_rewards`` that were not, ``policies`` with clustered 95 % intervals of the click rate and their lift over
        the control, and ``funnel`` by category.
    """
    counts: dict[str, int] = {}
    tallies: dict[str, list[int]] = {}
    for row in rows:
        for name, count in row.counts.items():
            counts[name] = counts.get(name, 0) + count
        for name, sums in row.tallies.items():
            tallies[name] = [a + b for a, b in zip(tallies.get(name, [0] * len(sums)), sums, strict=True)]
    decisions = _with_prefix(counts, "decisions.")
    exposures = _with_prefix(tallies, "policy.")
    lift_over_control = lifts(exposures, CONTROL)
    return {
        "applied": counts.get("applied", 0),
        "duplicates": counts.get("duplicates", 0),
        "late": counts.get("late", 0),
        "dead_letters": _with_prefix(counts, "dead_letters."),
        "kinds": _with_prefix(counts, "kinds."),
        "skipped_offsets": counts.get("skipped_offsets", 0),
        "unjoinable": counts.get("unjoinable", 0),
        "decisions": sum(decisions.values()),
        "decisions_unshown": counts.get("decisions_unshown", 0),
        "shadows": _with_prefix(counts, "shadows."),
        "rewards": _with_prefix(counts, "rewards."),
        "late_rewards": _with_prefix(counts, "late_rewards."),
        "late_impressions": counts.get("late_impressions", 0),
        "policies": {
            policy: {
                "decisions": decisions.get(policy, 0),
                **click_rate(exposures.get(policy, [0] * 6)),
                **lift_over_control.get(policy, {}),
            }
            for policy in sorted({*decisions, *exposures})
        },
        "funnel": {
            category: dict(zip(("views", "carts", "purchases"), sums, strict=True))
            for category, sums in sorted(_with_prefix(tallies, "funnel.").items())
        },
    }


def click_rate(sums: list[int]) -> dict[str, Any]:
    """Estimates a click rate, a ratio of sums over users, with its 95 % interval clustered by user.

    Args:
        sums: Users, Σn, Σc, Σn², Σnc, Σc² over users, n slots shown and c clicks of one user.

    References:
        Deng, Knoblich and Lu (2018), "Applying the delta method in metric analytics", KDD, section 3.
    """
    users, impressions, clicks, nn, nc, cc = sums
    if not impressions:
        return {"users": 0, "impressions": 0, "clicks": 0, "ctr": None, "ctr_ci95": None}
    rate = clicks / impressions
    spread = max(cc - 2.0 * rate * nc + rate * rate * nn, 0.0)
    half = _Z95 * sqrt(spread * users / max(users - 1, 1)) / impressions
    return {
        "users": int(users),
        "impressions": int(impressions),
        "clicks": int(clicks),
        "ctr": rate,
        "ctr_ci95": [max(rate - half, 0.0), min(rate + half, 1.0)],
    }


def _with_prefix(named: dict[str, Any], prefix: str) -> dict[str, Any]:
    return {name.removeprefix(prefix): value for name, value in named.items() if name.startswith(prefix)}
