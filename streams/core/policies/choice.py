"""The choice: every decision of a batch gets its slate by its own policy, and its exact probabilities."""

from collections.abc import Sequence
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from streams.contract.arrays import unpack_arrays
from streams.contract.errors import BrokenInvariant
from streams.contract.records import Parameters
from streams.contract.settings import Decisions
from streams.contract.topics import BANDIT, POLICY_LEARNERS, POPULAR, Q_AGENT
from streams.core.policies import squarecb, uniform
from streams.core.policies.features import FINGERPRINT, N_FEATURES
from streams.core.policies.q_agent import N_ACTIONS, N_STATES, NO_KIND, NOTHING, choose_kinds
from streams.core.policies.slates import Slates

Float64Array = NDArray[np.float64]
Int64Array = NDArray[np.int64]

CONTROL: Final = "control"


class PolicyModels:
    """What the policies have learned, from the models feed; before anything came, all is equally good.

    Attributes:
        theta: The bandit's weights, ``(N_FEATURES,)``.
        examples: How many examples these were learned from.
        table: The Q agent's values, ``(N_STATES, N_ACTIONS)``.
        versions: Learner to the version that is used, 0 before any.
    """

    def __init__(self) -> None:
        self.theta = np.zeros(N_FEATURES)
        self.examples = 0
        self.table = np.zeros((N_STATES, N_ACTIONS))
        self.versions = dict.fromkeys(POLICY_LEARNERS, 0)

    def apply(self, parameters: Parameters) -> bool:
        """Takes a record of the models feed; returns whether it was a policy's, and learned on what is used here."""
        try:
            arrays = unpack_arrays(parameters.arrays)
        except (TypeError, ValueError):
            return False
        theta, table = arrays.get("theta"), arrays.get("table")
        if parameters.learner == BANDIT and parameters.schema == FINGERPRINT and _fits(theta, self.theta):
            self.theta, self.examples = arrays["theta"], parameters.examples
        elif parameters.learner == Q_AGENT and _fits(table, self.table):
            self.table = arrays["table"]
        else:
            return False
        # A new dictionary, since decisions keep the one they were made by.
        self.versions = {**self.versions, parameters.learner: parameters.version}
        return True


def _fits(sent: NDArray[np.generic] | None, used: Float64Array) -> bool:
    return sent is not None and sent.shape == used.shape and sent.dtype == used.dtype and bool(np.isfinite(sent).all())


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
    policies: Sequence[str],
    features: Float64Array,
    n_items: Int64Array,
    kinds: Int64Array,
    states: Int64Array,
    masks: Int64Array,
    uniforms: Float64Array,
    models: PolicyModels,
    settings: Decisions,
) -> Choices:
    """Chooses all slates of a batch; a decision is made alike, to the bit, in any batch.

    Args:
        policies: Who decides, ``(n_decisions,)``.
        features: ``(n_decisions, n_items, N_FEATURES)``.
        n_items: Length of each shortlist, ``(n_decisions,)``.
        kinds: Kind of each item, ``(n_decisions, n_items)``.
        states: The Q agent's, ``(n_decisions,)``; read where it decides.
        masks: The actions that are available to the Q agent, ``(n_decisions,)``.
        uniforms: In [0, 1): one a slot, then two for the kind, ``(n_decisions, n_slots + 2)``.
    """
    n_decisions, n_slots = len(policies), settings.slate
    choices = Choices(
        slates=np.full((n_decisions, n_slots), -1),
        propensities=np.full((n_decisions, n_slots), np.nan),
        scores=np.full((n_decisions, n_slots), np.nan),
        kinds=np.full(n_decisions, NO_KIND),
        kind_probabilities=np.ones(n_decisions),
    )
    # One product and sum a row; a matrix product's bits would depend on the size of the batch.
    scores: Float64Array = (features * models.theta).sum(axis=-1)
    gamma = squarecb.learning_gamma(settings.exploration, models.examples)
    decided_by = np.array(policies)
    for policy in sorted(set(policies)):
        rows = np.flatnonzero(decided_by == policy)
        slots, explores, picks = uniforms[rows, :n_slots], uniforms[rows, n_slots], uniforms[rows, n_slots + 1]
        if policy in (CONTROL, POPULAR):
            _show(choices, rows, uniform.choose(n_items[rows], slots, features.shape[1]))
        elif policy == BANDIT:
            _show(choices, rows, squarecb.choose(scores[rows], n_items[rows], gamma, slots), scores)
        elif policy == Q_AGENT:
            chosen = choose_kinds(models.table[states[rows]], masks[rows], settings.q_epsilon, explores, picks)
            choices.kinds[rows], choices.kind_probabilities[rows] = chosen
            of_kind = kinds[rows] == chosen.kinds[:, None]
            n_shown = np.where(chosen.kinds == NOTHING, 0, n_items[rows])
            _show(choices, rows, squarecb.choose(scores[rows], n_shown, gamma, slots, of_kind), scores)
        else:
            raise BrokenInvariant(f"there is no policy {policy!r}")
    return choices


def _show(choices: Choices, rows: Int64Array, slates: Slates, scores: Float64Array | None = None) -> None:
    choices.slates[rows], choices.propensities[rows] = slates
    if scores is not None:
        own = np.take_along_axis(scores[rows], np.maximum(slates.slates, 0), axis=1)
        choices.scores[rows] = np.where(slates.slates >= 0, own, np.nan)
