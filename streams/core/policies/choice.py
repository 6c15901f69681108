"""The choice: every decision of a batch gets its slate by its own policy, and its exact probabilities."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from streams.contract.errors import BrokenInvariant
from streams.contract.policies import learner_of
from streams.contract.settings import Decisions
from streams.contract.topics import CONTROL, POPULAR, Q_AGENT
from streams.core.policies.kinds import new_policy
from streams.core.policies.models import UNTRAINED, PolicyModels
from streams.core.policies.policy import Policy
from streams.core.policies.q_agent import NO_KIND, NOTHING, choose_kinds
from streams.core.policies.slates import Slates
from streams.core.policies.uniform import UniformPolicy

Float64Array = NDArray[np.float64]
Int64Array = NDArray[np.int64]


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
    n_decisions, n_slots = len(deciders), settings.slate
    choices = Choices(
        slates=np.full((n_decisions, n_slots), -1),
        propensities=np.full((n_decisions, n_slots), np.nan),
        scores=np.full((n_decisions, n_slots), np.nan),
        kinds=np.full(n_decisions, NO_KIND),
        kind_probabilities=np.ones(n_decisions),
    )
    decided_by = np.array(deciders)
    for name in sorted(set(deciders)):
        if name not in policies:
            raise BrokenInvariant(f"there is no policy {name!r}")
        policy, learner = policies[name]
        rows = np.flatnonzero(decided_by == name)
        n_shown, of_kind = n_items[rows], None
        if name == Q_AGENT:
            explores, picks = uniforms[rows, n_slots], uniforms[rows, n_slots + 1]
            chosen = choose_kinds(models.table[states[rows]], masks[rows], settings.q_epsilon, explores, picks)
            choices.kinds[rows], choices.kind_probabilities[rows] = chosen
            of_kind = kinds[rows] == chosen.kinds[:, None]
            n_shown = np.where(chosen.kinds == NOTHING, 0, n_shown)
        model = UNTRAINED if learner is None else models.rewards[learner]
        estimates = model.estimate(features[rows], deviations=policy.needs_deviations)
        slates = policy.choose(estimates, n_shown, uniforms[rows, :n_slots], of_kind)
        choices.slates[rows], choices.propensities[rows] = slates
        if learner is not None:
            choices.scores[rows] = _of_slots(estimates.means, slates)
    return choices


def _of_slots(scores: Float64Array, slates: Slates) -> Float64Array:
    own = np.take_along_axis(scores, np.maximum(slates.slates, 0), axis=1)
    return np.where(slates.slates >= 0, own, np.nan)
