"""Policies as they are configured: a table of names, each with its kind and what that kind can be told."""

from typing import Annotated, Final, Literal

import msgspec
from msgspec import Meta

from streams.contract.topics import BANDIT

NotNegative = Annotated[float, Meta(ge=0.0)]
Share = Annotated[float, Meta(ge=0.0, le=1.0)]


class Floored(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="kind"):
    """What every kind can be told.

    Attributes:
        floor: Share of each draw that is uniform: none of K items that remain has less than ``floor / K``.
    """

    floor: Share = 0.01


class Uniform(Floored, frozen=True, tag="uniform"):
    """Draws uniformly, as the control does: an A/A test, or a second control."""


class Learned(Floored, frozen=True):
    """What every kind can be told that estimates rewards.

    Attributes:
        discount: What an example still weighs when the next one is learned; below 1 it forgets.
        learns_from: ``pooled``: from what any policy showed. ``own``: from what this one showed.
    """

    discount: Annotated[float, Meta(gt=0.0, le=1.0)] = 1.0
    learns_from: Literal["pooled", "own"] = "pooled"


class Greedy(Learned, frozen=True, tag="greedy"):
    """Shows what it estimates highest."""


class EpsilonGreedy(Learned, frozen=True, tag="epsilon-greedy"):
    """Shows what it estimates highest, and with probability ``epsilon`` any item."""

    epsilon: Share = 0.1


class LinUCB(Learned, frozen=True, tag="linucb"):
    """Shows the highest upper bound, ``alpha`` standard deviations above the estimate."""

    alpha: NotNegative = 0.5


class SquareCB(Learned, frozen=True, tag="squarecb"):
    """Draws an item the less often the further its estimate is behind the best.

    Attributes:
        exploration: Scales gamma, which grows with the root of the examples; a larger value explores less.
    """

    exploration: Annotated[float, Meta(gt=0.0)] = 20.0


class Thompson(Learned, frozen=True, tag="thompson"):
    """Draws an item as often as it would be the best if rewards were drawn from their posterior.

    Attributes:
        scale: Of the posterior's standard deviations.
    """

    scale: NotNegative = 0.3


Policy = Uniform | Greedy | EpsilonGreedy | LinUCB | SquareCB | Thompson

KINDS: Final[dict[str, type[Policy]]] = {
    "uniform": Uniform,
    "greedy": Greedy,
    "epsilon-greedy": EpsilonGreedy,
    "linucb": LinUCB,
    "squarecb": SquareCB,
    "thompson": Thompson,
}
"""Kind to its configuration."""

DEFAULT_POLICIES: Final[dict[str, Policy]] = {
    BANDIT: SquareCB(),
    "thompson": Thompson(),
    "epsilon": EpsilonGreedy(),
    "linucb": LinUCB(),
    "greedy": Greedy(),
}


def learner_of(name: str, policies: dict[str, Policy]) -> str | None:
    """Names what a policy learns with; ``None`` where it learns nothing.

    Pooled policies of one discount share a learner, which has the name of the first of them.

    >>> [learner_of(name, DEFAULT_POLICIES) for name in ("bandit", "thompson")]
    ['bandit', 'bandit']
    """
    policy = policies[name]
    if isinstance(policy, Uniform):
        return None
    if policy.learns_from == "own":
        return name
    return next(
        other
        for other, candidate in policies.items()
        if isinstance(candidate, Learned)
        and candidate.learns_from == "pooled"
        and candidate.discount == policy.discount
    )
