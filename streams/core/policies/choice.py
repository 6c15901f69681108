"""Choice of the slates of a batch, each by its own policy, with exact probabilities."""

from collections.abc import Mapping, Sequence
from itertools import groupby
from typing import NamedTuple

import numpy as np

from streams.contract.arrays import BoolArray, Float64Array, Int64Array
from streams.contract.errors import BrokenInvariant
from streams.contract.records import NO_SOURCE
from streams.contract.settings import Decisions
from streams.contract.settings.policies import CONTROLS, learner_of
from streams.contract.topics import Q_AGENT
from streams.core.policies.policy import Estimates, Policy
from streams.core.policies.q_agent import NOTHING, choose_sources
from streams.core.policies.registry import new_policy
from streams.core.policies.reward_models import UNTRAINED, PolicyModels
from streams.core.policies.slates import CategoryLimit, Slates, draw_slates, items_that_are
from streams.core.policies.squarecb import FEW


class Deciding(NamedTuple):
    """A policy, and the learner of the estimates that it uses; ``None`` if it uses none."""

    policy: Policy
    learner: str | None


def deciding_policies(settings: Decisions) -> dict[str, Deciding]:
    """Builds every policy that can decide; the Q agent's entry is the policy that draws items from its source."""
    configured = {**CONTROLS, **settings.policies}
    built = {
        name: Deciding(new_policy(configuration), learner_of(name, configured))
        for name, configuration in configured.items()
    }
    return {Q_AGENT: built[settings.q_filled_by], **built}


class Choices(NamedTuple):
    """The slates of a batch's decisions.

    Attributes:
        slates: Places in the shortlist, first slot first, -1 where nothing is left to show, ``(n_decisions, n_slots)``.
        propensities: Probability of each slot given the slots before it and the source, NaN for none, same shape.
        scores: The policy's estimate of each slot's reward, NaN for none, same shape.
        sources: Source that the Q agent chose, or :data:`NOTHING`; :data:`NO_SOURCE` for other policies,
            ``(n_decisions,)``.
        source_probabilities: Probability of that choice, 1 for other policies, ``(n_decisions,)``.
        deviations: Deviation of each item's estimate, 0 for a policy that reads none, ``(n_decisions, n_items)``.
    """

    slates: Int64Array
    propensities: Float64Array
    scores: Float64Array
    sources: Int64Array
    source_probabilities: Float64Array
    deviations: Float64Array


def decide(
    deciders: Sequence[str],
    features: Float64Array,
    n_items: Int64Array,
    sources: Int64Array,
    states: Int64Array,
    masks: Int64Array | None,
    uniforms: Float64Array,
    models: PolicyModels,
    policies: Mapping[str, Deciding],
    settings: Decisions,
    limit: CategoryLimit | None = None,
) -> Choices:
    """Chooses slates of one length; a decision has the same bits in any batch whose arrays are as wide.

    Args:
        deciders: Name of the policy that decides, ``(n_decisions,)``.
        features: ``(n_decisions, n_items, N_FEATURES)``.
        n_items: Length of each shortlist, ``(n_decisions,)``.
        sources: Candidate source of each item, ``(n_decisions, n_items)``.
        states: States of the Q agent, ``(n_decisions,)``; read where it decides.
        masks: Actions available to the Q agent, ``(n_decisions,)``; ``None`` where there are no sources to choose from:
            there it draws as the policy that fills its slates.
        uniforms: In [0, 1): one a slot, then two for the source, ``(n_decisions, n_slots + 2)``.
        policies: Result of :func:`deciding_policies`.
        limit: Of items of one category.

    Raises:
        BrokenInvariant: A decider is not among the policies.
    """
    n_slots = uniforms.shape[1] - 2
    source_chosen, source_probabilities = np.full(len(deciders), NO_SOURCE), np.ones(len(deciders))
    # Sorted by policy, so that each policy has one slice of every array.
    order = np.argsort(np.array(deciders), kind="stable")
    features, uniforms, n_shown = features[order], uniforms[order], n_items[order]
    limit = None if limit is None else limit.of(order)
    preferred = items_that_are(n_shown, features.shape[1])
    shares: list[_Share] = []
    for name, part in _parts([deciders[place] for place in order.tolist()]):
        if name not in policies:
            raise BrokenInvariant(f"there is no policy {name!r}, only {', '.join(sorted(policies))}")
        policy, learner = policies[name]
        if name == Q_AGENT and masks is not None:
            rows = order[part]
            explores, picks = uniforms[part, n_slots], uniforms[part, n_slots + 1]
            chosen = choose_sources(models.table[states[rows]], masks[rows], settings.q_epsilon, explores, picks)
            source_chosen[rows], source_probabilities[rows] = chosen
            preferred[part] = sources[rows] == chosen.sources[:, None]
            n_shown[part] = np.where(chosen.sources == NOTHING, 0, n_shown[part])
        model = UNTRAINED if learner is None else models.rewards[learner]
        estimates = model.estimate(features[part], deviations=policy.needs_deviations)
        shares.append(_Share(part, policy, estimates, has_scores=learner is not None))
    drawn = _draw(shares, n_shown, uniforms[:, :n_slots], preferred, limit)
    scores, deviations = np.full(drawn.slates.shape, np.nan), np.empty(preferred.shape)
    for part, _, estimates, has_scores in shares:
        deviations[part] = estimates.deviations
        if has_scores:
            scores[part] = _of_slots(estimates.means, drawn.slates[part])
    back = np.argsort(order)
    return Choices(
        drawn.slates[back],
        drawn.propensities[back],
        scores[back],
        source_chosen,
        source_probabilities,
        deviations[back],
    )


class _Share(NamedTuple):
    """Slice of the batch that one policy decides."""

    part: slice
    policy: Policy
    estimates: Estimates
    has_scores: bool


def _parts(names: Sequence[str]) -> list[tuple[str, slice]]:
    """Cuts a sorted list into slices of equal names."""
    parts: list[tuple[str, slice]] = []
    for name, places in groupby(range(len(names)), key=names.__getitem__):
        begin, *others = places
        parts.append((name, slice(begin, begin + 1 + len(others))))
    return parts


def _draw(
    shares: Sequence[_Share],
    n_shown: Int64Array,
    uniforms: Float64Array,
    preferred: BoolArray,
    limit: CategoryLimit | None,
) -> Slates:
    """Draws all slates slot by slot; a few decisions are drawn faster by each policy alone."""
    if len(n_shown) <= FEW:
        slates, propensities = np.full(uniforms.shape, -1), np.full(uniforms.shape, np.nan)
        for part, policy, estimates, _ in shares:
            own = None if limit is None else limit.of(part)
            slates[part], propensities[part] = policy.choose(
                estimates, n_shown[part], uniforms[part], preferred[part], own
            )
        return Slates(slates, propensities)

    def probabilities(eligible: BoolArray) -> Float64Array:
        return np.concatenate(
            [policy.probabilities(estimates, eligible[part]) for part, policy, estimates, _ in shares]
        )

    return draw_slates(items_that_are(n_shown, preferred.shape[1]), preferred, probabilities, uniforms, limit)


def _of_slots(scores: Float64Array, slates: Int64Array) -> Float64Array:
    own = scores[np.arange(len(slates))[:, None], np.maximum(slates, 0)]
    return np.where(slates >= 0, own, np.nan)
