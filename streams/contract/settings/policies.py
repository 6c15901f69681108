"""``[decisions.policies]``: a table of names, each with the kind of its policy and the parameters of that kind."""

from typing import Annotated, Final, Literal, get_args

import msgspec
from msgspec import Meta

from streams.contract.settings.sections import NotNegative, Share
from streams.contract.topics import BANDIT, POPULAR, RANDOM, RANKED


class Floored(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="kind"):
    """Parameters of every kind.

    Attributes:
        floor: Share of each draw that is uniform: none of K items that remain has less than ``floor / K``. A log of
            such draws has, for an estimate of the uniform policy, at least about this share of its size.
    """

    floor: Share = 0.1


class Uniform(Floored, frozen=True, tag="uniform"):
    """Draws uniformly, as the control ``random`` does: an A/A test."""


class Ranked(Floored, frozen=True, tag="ranked"):
    """Shows the items in the order of the shortlist."""


class Learned(Floored, frozen=True):
    """Parameters of every kind that estimates rewards.

    Attributes:
        discount: Factor on the weight of past examples when the next one is learned; below 1 it forgets.
        learns_from: ``pooled``: from the slates of all policies. ``own``: from its own slates.
    """

    discount: Annotated[float, Meta(gt=0.0, le=1.0)] = 1.0
    learns_from: Literal["pooled", "own"] = "pooled"


class Greedy(Learned, frozen=True, tag="greedy"):
    """Shows the items with the highest estimates."""


class EpsilonGreedy(Learned, frozen=True, tag="epsilon-greedy"):
    """Shows the items with the highest estimates, and with probability ``epsilon`` any item, which is a floor, too."""

    epsilon: Share = 0.1
    floor: Share = 0.01


class LinUCB(Learned, frozen=True, tag="linucb"):
    """Shows the highest upper bound, ``alpha`` standard deviations above the estimate."""

    alpha: NotNegative = 0.2


class SquareCB(Learned, frozen=True, tag="squarecb"):
    """Draws an item less often, the further its estimate is below the best.

    Attributes:
        exploration: Scales gamma, which grows with the root of the examples; a larger value explores less.
    """

    exploration: Annotated[float, Meta(gt=0.0)] = 1024.0


class Thompson(Learned, frozen=True, tag="thompson"):
    """Draws an item with the posterior probability that it is the best.

    Attributes:
        scale: Factor on the posterior's standard deviations.
    """

    scale: NotNegative = 0.05


Policy = Uniform | Ranked | Greedy | EpsilonGreedy | LinUCB | SquareCB | Thompson

POLICY_TYPES: Final[dict[str, type[Policy]]] = {each.__struct_config__.tag: each for each in get_args(Policy)}
"""Kind to its configuration."""

CONTROLS: Final[dict[str, Policy]] = {RANDOM: Uniform(), RANKED: Ranked(floor=0.0), POPULAR: Ranked(floor=0.0)}
"""Policies that learn nothing, to compare with: a shortlist that no model has picked, in random order, and in its own;
and the most popular items of the whole shop, for every shopper alike."""

DEFAULT_POLICIES: Final[dict[str, Policy]] = {
    BANDIT: SquareCB(),
    "thompson": Thompson(),
    "epsilon": EpsilonGreedy(),
    "linucb": LinUCB(),
    "greedy": Greedy(),
}


def learner_of(name: str, policies: dict[str, Policy]) -> str | None:
    """Names the learner of a policy; ``None`` if it learns nothing.

    Pooled policies of one discount share a learner, which has the name of the first of them.

    >>> [learner_of(name, DEFAULT_POLICIES) for name in ("bandit", "thompson")]
    ['bandit', 'bandit']
    """
    policy = policies[name]
    if not isinstance(policy, Learned):
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
