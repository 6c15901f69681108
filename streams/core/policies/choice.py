"""The choice: every decision of a batch gets its slate by its own policy, and its exact probabilities."""

from collections.abc import Mapping, Sequence
from itertools import groupby
from typing import NamedTuple

import numpy as np

from streams.contract.errors import BrokenInvariant
from streams.contract.policies import learner_of
from streams.contract.settings import Decisions
from streams.contract.topics import CONTROL, POPULAR, Q_AGENT
from streams.core.policies.kinds import new_policy
from streams.core.policies.models import UNTRAINED, PolicyModels
from streams.core.policies.policy import Estimates, Policy
from streams.core.policies.q_agent import NO_KIND, NOTHING, choose_kinds
from streams.core.policies.slates import BoolArray, Float64Array, Int64Array, Slates, draw_slates, items_that_are
from streams.core.policies.squarecb import FEW
from streams.core.policies.uniform import UniformPolicy


class Deciding(NamedTuple):
    """A policy, and whose estimates it decides by; ``None`` where it needs none."""

    policy: Policy
    learner: str | None


def deciding_policies(settings: Decisions) -> dict[str, Deciding]:
    """Builds every policy that can decide; the Q agent's is the one that draws its items."""
    built = {
        name: Deciding(new_policy(configuration), learner_of(name, settings.policies))
        for name, configuration in settings.policies.items()
    }
    control = Deciding(UniformPolicy(0.0), None)
    return {CONTROL: control, POPULAR: control, Q_AGENT: built[settings.q_filled_by], **built}


class Choices(NamedTuple):
    """What is shown, by decision.

    Attributes:
        slates: Places in the shortlist, first slot first, -1 where nothing is left to show, ``(n_decisions, n_slots)``.
        propensities: Of each slot given the slots before it and the kind, NaN where there is none, same shape.
        scores: The policy's estimate of the reward of each, NaN where it has none, same shape.
        kinds: The kind that the Q agent chose, or to show :data:`NOTHING`; :data:`NO_KIND` where no kind was chosen,
            ``(n_decisions,)``.
        kind_probabilities: Of that choice, 1 where there was none, ``(n_decisions,)``.
    """

    slates: Int64Array
    propensities: Float64Array
    scores: Float64Array
    kinds: Int64Array
    kind_probabilities: Float64Array


def decide(
    deciders: Sequence[str],
    features: Float64Array,
    n_items: Int64Array,
    kinds: Int64Array,
    states: Int64Array,
    masks: Int64Array,
    uniforms: Float64Array,
    models: PolicyModels,
    policies: Mapping[str, Deciding],
    settings: Decisions,
) -> Choices:
    """Chooses all slates of a batch; a decision is made alike, to the bit, in any batch.

    Args:
        deciders: Name of the policy that decides, ``(n_decisions,)``.
        features: ``(n_decisions, n_items, N_FEATURES)``.
        n_items: Length of each shortlist, ``(n_decisions,)``.
        kinds: Kind of each item, ``(n_decisions, n_items)``.
        states: The Q agent's, ``(n_decisions,)``; read where it decides.
        masks: The actions that are available to the Q agent, ``(n_decisions,)``.
        uniforms: In [0, 1): one a slot, then two for the kind, ``(n_decisions, n_slots + 2)``.
        policies: What :func:`deciding_policies` makes of the settings.
    """
    n_slots = settings.slate
    kind_chosen, kind_probabilities = np.full(len(deciders), NO_KIND), np.ones(len(deciders))
    # One policy's decisions lie side by side, so that each has a part of every array.
    order = np.argsort(np.array(deciders), kind="stable")
    features, uniforms, n_shown = features[order], uniforms[order], n_items[order]
    preferred = items_that_are(n_shown, features.shape[1])
    shares: list[_Share] = []
    for name, part in _parts([deciders[place] for place in order.tolist()]):
        if name not in policies:
            raise BrokenInvariant(f"there is no policy {name!r}")
        policy, learner = policies[name]
        if name == Q_AGENT:
            rows = order[part]
            explores, picks = uniforms[part, n_slots], uniforms[part, n_slots + 1]
            chosen = choose_kinds(models.table[states[rows]], masks[rows], settings.q_epsilon, explores, picks)
            kind_chosen[rows], kind_probabilities[rows] = chosen
            preferred[part] = kinds[rows] == chosen.kinds[:, None]
            n_shown[part] = np.where(chosen.kinds == NOTHING, 0, n_shown[part])
        model = UNTRAINED if learner is None else models.rewards[learner]
        estimates = model.estimate(features[part], deviations=policy.needs_deviations)
        shares.append(_Share(part, policy, estimates, has_scores=learner is not None))
    drawn = _draw(shares, n_shown, uniforms[:, :n_slots], preferred)
    scores = np.full(drawn.slates.shape, np.nan)
    for part, _, estimates, has_scores in shares:
        if has_scores:
            scores[part] = _of_slots(estimates.means, drawn.slates[part])
    back = np.argsort(order)
    return Choices(drawn.slates[back], drawn.propensities[back], scores[back], kind_chosen, kind_probabilities)


class _Share(NamedTuple):
    """The decisions of one policy, side by side."""

    part: slice
    policy: Policy
    estimates: Estimates
    has_scores: bool


def _parts(names: Sequence[str]) -> list[tuple[str, slice]]:
    """Cuts a sorted list into the parts that are equal."""
    parts: list[tuple[str, slice]] = []
    for name, places in groupby(range(len(names)), key=names.__getitem__):
        begin, *others = places
        parts.append((name, slice(begin, begin + 1 + len(others))))
    return parts


def _draw(shares: Sequence[_Share], n_shown: Int64Array, uniforms: Float64Array, preferred: BoolArray) -> Slates:
    """Draws all slates slot by slot; few are drawn faster by each policy apart."""
    if len(n_shown) <= FEW:
        slates, propensities = np.full(uniforms.shape, -1), np.full(uniforms.shape, np.nan)
        for part, policy, estimates, _ in shares:
            slates[part], propensities[part] = policy.choose(estimates, n_shown[part], uniforms[part], preferred[part])
        return Slates(slates, propensities)

    def chances(eligible: BoolArray) -> Float64Array:
        return np.concatenate([policy.chances(estimates, eligible[part]) for part, policy, estimates, _ in shares])

    return draw_slates(items_that_are(n_shown, preferred.shape[1]), preferred, chances, uniforms)


def _of_slots(scores: Float64Array, slates: Int64Array) -> Float64Array:
    own = np.take_along_axis(scores, np.maximum(slates, 0), axis=1)
    return np.where(slates >= 0, own, np.nan)
