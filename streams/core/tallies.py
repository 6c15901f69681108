"""Exact sums of a source partition: exposure by policy, clustered by user, and the funnel by category."""

from typing import Final

MAX_CATEGORIES: Final = 64
OTHER: Final = "(other)"
_FUNNEL: Final = {"view": 0, "add_to_cart": 1, "purchase": 2}

Tallies = dict[str, list[int]]


def count_exposure(tallies: Tallies, policy: str, exposure: list[int], impressions: int, clicks: int) -> None:
    """Adds slots shown to one user and clicks on them.

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


def count_funnel(tallies: Tallies, kind: str, category: str | None) -> None:
    """Adds a view, an addition to the cart or a purchase to its category; the number of categories is bounded."""
    step = _FUNNEL.get(kind)
    if step is None or category is None:
        return
    sums = tallies.get(name := f"funnel.{category}")
    if sums is None:
        if sum(key.startswith("funnel.") for key in tallies) >= MAX_CATEGORIES:
            name = f"funnel.{OTHER}"
        sums = tallies.setdefault(name, [0, 0, 0])
    sums[step] += 1
