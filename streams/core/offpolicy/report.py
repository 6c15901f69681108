"""What is said of a set of estimates: value, interval, effective sample size, or why there is none."""

from typing import NamedTuple

from streams.core.offpolicy.sums import Int64Array, Sums, intervals


class Estimated(NamedTuple):
    """One estimate.

    Attributes:
        ci95: By the bootstrap over users.
        effective_size: Of the importance weights, in decisions.
        mean_weight: 1 but for chance; far from it, the propensities or the policy are not what was logged.
    """

    value: float
    ci95: list[float]
    effective_size: float
    mean_weight: float


class Refused(NamedTuple):
    """An estimate that would say nothing, and why."""

    refused: str


def judge(
    estimates: dict[str, Sums], users: Int64Array, least_effective: float, resamples: int, seed: int
) -> dict[str, Estimated | Refused]:
    """Gives each estimate its interval, and refuses those that stand on too few decisions."""
    stand = {name: sums for name, sums in estimates.items() if sums.effective_size >= least_effective}
    bounds = intervals(stand, users, resamples, seed) if stand else {}
    found: dict[str, Estimated | Refused] = {}
    for name, sums in estimates.items():
        size = sums.effective_size
        found[name] = (
            Estimated(sums.value, bounds[name], size, float(sums.weights.mean()))
            if name in stand
            else Refused(f"the effective sample size is {size:.1f}, and it takes {least_effective:g}")
        )
    return found
