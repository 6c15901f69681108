"""Policies as the demo shows them: click rates, lift over the controls, and what was last recommended to whom."""

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, Final

from msgspec.structs import asdict
from rich.table import Table
from rich.text import Text

from streams.admin.tail import visible
from streams.contract.metrics import Lift, PolicyRegret, PolicyTotals, Verdict
from streams.contract.records import Recommendation
from streams.contract.settings.policies import CONTROLS
from streams.demo.table import new_table

_TOO_EARLY: Final = "too early"
_JOINED: Final[dict[Verdict, str]] = {"better": "than", "worse": "than", "not distinguishable": "from"}
_WIDEST: Final = 10.0
"""Bounds beyond it are not spelled out: a wide interval at the beginning must not widen the table."""
_LABEL: Final = "recommended to"
_LONGEST_USER: Final = 20


def leading_policy(policies: Mapping[str, PolicyTotals]) -> str | None:
    """Names the policy with the most decisions, of those that are no control; ``None`` if there is none."""
    others = [name for name in policies if name not in CONTROLS]
    return max(others, key=lambda name: policies[name].decisions, default=None)


def lift_report(policies: Mapping[str, PolicyTotals]) -> dict[str, dict[str, Any]]:
    """Reports the leading policy's lift over each control that was shown."""
    leader = leading_policy(policies)
    if leader is None:
        return {}
    too_early = dict.fromkeys(Lift.__struct_fields__)
    return {
        control: {
            "policy": leader,
            **(asdict(lift) if lift else too_early),
            "verdict": lift.verdict if lift else _TOO_EARLY,
        }
        for control, lift in policies[leader].lift.items()
    }


def policies_table(policies: Mapping[str, PolicyTotals], regrets: Mapping[str, PolicyRegret]) -> Table:
    """Draws each policy's click rate with its interval, its regret, and what the leading policy's lift over it is."""
    leader = leading_policy(policies)
    lifts = policies[leader].lift if leader else {}
    headers = ("shown", "clicks", "rate", "95 %", "regret", *((f"{leader} over it",) if leader else ()))
    table = new_table("policy", headers)
    for name, policy in policies.items():
        rate, lift = policy.ctr, lifts.get(name)
        table.add_row(
            name,
            f"{policy.impressions:,}",
            f"{policy.clicks:,}",
            f"{rate.estimate:.1%}" if rate else "-",
            f"{rate.ci95[0]:.1%}–{rate.ci95[1]:.1%}" if rate else "-",
            f"{regrets[name].regret_per_slate:.3f}" if name in regrets else "-",
            *((lift_text(lift) if name in lifts else "",) if leader else ()),
        )
    return table


def lift_line(policies: Mapping[str, PolicyTotals]) -> Text:
    """Says which controls the leading policy is better than, by bounds that hold at any time; empty while too early."""
    leader = leading_policy(policies)
    lifts = policies[leader].lift if leader else {}
    found = []
    for verdict, joined in _JOINED.items():
        if controls := [control for control, lift in lifts.items() if lift and lift.verdict == verdict]:
            found.append(f"{verdict} {joined} {_listed(controls)}")
    return Text(f"{leader} {', '.join(found)}" if found else "")


def lift_text(lift: Lift | None) -> str:
    """Formats a lift with its bounds for any time."""
    if lift is None:
        return _TOO_EARLY
    lower, upper = lift.anytime95
    return f"{_percent(lift.estimate)} ({_percent(lower)} to {_percent(upper)})"


def recommendations_grid(
    recommended: Sequence[Recommendation], width: int, titles: Mapping[str, str] = MappingProxyType({})
) -> Table:
    """Draws a line for each recommendation: the shopper, the policy, and as many items of the slate as fit.

    Args:
        titles: Item to its title in the shop's catalogue; an item without one is named by its id.
    """
    grid = Table.grid(padding=(0, 2))
    users = [_shortened(visible(each.user_id)) for each in recommended]
    policies = [visible(each.policy) for each in recommended]
    left = width - len(_LABEL) - max(map(len, users), default=0) - max(map(len, policies), default=0) - 3 * 2
    for place, each in enumerate(recommended):
        items = [visible(titles.get(item.item_id, item.item_id)) for item in each.items]
        grid.add_row("" if place else _LABEL, users[place], policies[place], _items(items, left), style="dim")
    return grid


def _items(items: Sequence[str], width: int) -> Text:
    """Joins the first items that fit, and counts the others."""
    if not items:
        return Text("nothing")
    for shown in range(len(items), 0, -1):
        more = f" +{len(items) - shown}" if shown < len(items) else ""
        text = ", ".join(items[:shown]) + more
        if len(text) <= width:
            return Text(text)
    return Text(f"{len(items)} items")


def _listed(names: Sequence[str]) -> str:
    *others, last = names
    return f"{', '.join(others)} and {last}" if others else last


def _percent(share: float) -> str:
    return f"{share:+.0%}" if share < _WIDEST else ">+999%"


def _shortened(text: str) -> str:
    return text if len(text) <= _LONGEST_USER else f"{text[: _LONGEST_USER - 1]}…"
