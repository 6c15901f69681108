"""Decisions of one batch: shortlist, features, choice, and what is said of each to the shop and to the log."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import isnan
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from streams.contract.outputs import Output
from streams.contract.records import (
    JSON,
    MSGPACK,
    LoggedDecision,
    Recommendation,
    RecommendedItem,
    event_ref,
)
from streams.contract.settings import Settings
from streams.contract.topics import CLICKSTREAM, CONTROL, DECISIONS, POPULAR, RECOMMENDATIONS
from streams.core.policies.choice import Deciding, decide
from streams.core.policies.decision_id import decision_id
from streams.core.policies.features import slate_features
from streams.core.policies.models import PolicyModels
from streams.core.policies.q_agent import action_mask
from streams.core.policies.uniforms import draw
from streams.core.retrieval.catalogue import Catalogue
from streams.core.retrieval.context import Context
from streams.core.retrieval.popular_only import popular_shortlist
from streams.core.retrieval.shortlist import KINDS, Shortlist, shortlists
from streams.core.row import OpenDecision, Transition
from streams.core.sampling import sampled

_LOG_SALT: Final = 101


@dataclass(slots=True)
class PendingDecision:
    """A decision to be made with the rest of its batch.

    Attributes:
        offset: Of the event that asks for it.
        decision: In the shopper's row; to be given its slate.
        state: The session's, to the Q agent.
        transition: The Q agent's that may begin with this decision.
    """

    offset: int
    user_id: str
    policy: str
    context: Context
    decision: OpenDecision
    state: int
    transition: Transition | None = None


class _Choice(NamedTuple):
    """What was chosen for one decision, as plain values."""

    slate: list[int]
    propensities: list[float]
    scores: list[float]
    kind: int
    kind_probability: float
    mask: int


class _Made(NamedTuple):
    """What one policy decided at one event."""

    ref: str
    found: Shortlist
    features: NDArray[np.float64]
    choice: _Choice


class Decider:
    """Makes the decisions of batches of one source partition."""

    def __init__(
        self,
        settings: Settings,
        partition: int,
        catalogue: Catalogue,
        models: PolicyModels,
        policies: Mapping[str, Deciding],
    ) -> None:
        self._settings = settings
        self._partition = partition
        self._catalogue = catalogue
        self._models = models
        self._policies = policies

    def decide(self, pending: Sequence[PendingDecision], shadows: Sequence[str]) -> list[Output]:
        """Makes all decisions, fills them into the rows, and returns what is published of them.

        Args:
            shadows: Policies that decide besides, where they are not the one that is shown, for the log only.
        """
        made = self._make(pending, [each.policy for each in pending])
        besides = [(shadow, self._make(pending, [shadow] * len(pending))) for shadow in shadows]
        outputs: list[Output] = []
        for place, (each, shown) in enumerate(zip(pending, made, strict=True)):
            outputs += self._settle(each, shown)
            for shadow, decisions in besides:
                if shadow != each.policy:
                    outputs += self._log(each, decisions[place], shadow)
        return outputs

    def _make(self, pending: Sequence[PendingDecision], policies: Sequence[str]) -> list[_Made]:
        refs = [event_ref(CLICKSTREAM, self._partition, each.offset) for each in pending]
        contexts = [each.context for each in pending]
        size = self._settings.decisions.shortlist
        found = shortlists(self._catalogue, contexts, size)
        for place, policy in enumerate(policies):
            if policy == POPULAR:
                found[place] = popular_shortlist(self._catalogue, contexts[place], size)
        features = slate_features(self._catalogue, contexts, found)
        choices = self._choose(pending, policies, refs, found, features)
        return [_Made(*parts) for parts in zip(refs, found, features, choices, strict=True)]

    def _choose(
        self,
        pending: Sequence[PendingDecision],
        policies: Sequence[str],
        refs: Sequence[str],
        shortlists: Sequence[Shortlist],
        features: NDArray[np.float64],
    ) -> list[_Choice]:
        settings = self._settings.decisions
        kinds = np.full(features.shape[:2], -1)
        for place, found in enumerate(shortlists):
            kinds[place, : len(found.kinds)] = found.kinds
        masks = [action_mask(found.kinds) for found in shortlists]
        chosen = decide(
            policies,
            features,
            np.array([len(found.items) for found in shortlists]),
            kinds,
            np.array([each.state for each in pending]),
            np.array(masks),
            np.array([draw(ref, self._settings.seed, settings.slate + 2) for ref in refs]),
            self._models,
            self._policies,
            settings,
        )
        lengths = (chosen.slates >= 0).sum(axis=1).tolist()
        columns = (chosen.slates, chosen.propensities, chosen.scores, chosen.kinds, chosen.kind_probabilities)
        rows: Any = zip(lengths, *(column.tolist() for column in columns), masks, strict=True)
        return [
            _Choice(slate[:length], propensities[:length], scores[:length], *of_kind)
            for length, slate, propensities, scores, *of_kind in rows
        ]

    def _settle(self, each: PendingDecision, made: _Made) -> list[Output]:
        """Fills a decision into the row, and tells the shop."""
        ref, found, features, choice = made
        if each.transition is not None:
            each.transition.action = choice.kind
            each.transition.mask = choice.mask
        items = [self._catalogue.ids[found.items[slot]] for slot in choice.slate]
        versions = self._models.versions
        decision = each.decision
        decision.items = items
        decision.decision_id = decision_id(ref, each.policy, items, choice.propensities, versions)
        decision.features = _with_position(features[choice.slate], is_control=each.policy == CONTROL).tobytes()
        recommendation = Recommendation(
            decision.decision_id,
            ref,
            each.user_id,
            each.context.timestamp_ms,
            each.policy,
            [
                RecommendedItem(item, None if isnan(score) else score, propensity, KINDS[found.kinds[slot]])
                for item, score, propensity, slot in zip(
                    items, choice.scores, choice.propensities, choice.slate, strict=True
                )
            ],
            versions,
        )
        return [
            Output(RECOMMENDATIONS, each.user_id.encode(), JSON.encode(recommendation)),
            *self._log(each, made, each.policy),
        ]

    def _log(self, each: PendingDecision, made: _Made, policy: str) -> list[Output]:
        """Says all that is needed to evaluate another policy on what ``policy`` decided, if this event is sampled."""
        ref, found, features, choice = made
        rate = self._settings.decisions.log_rate
        if not rate or not sampled(self._partition, each.offset, _LOG_SALT, rate):
            return []
        is_shadow = policy != each.policy
        logged = LoggedDecision(
            decision_id=f"{each.decision.decision_id}/{policy}" if is_shadow else each.decision.decision_id,
            event_ref=ref,
            user_id=each.user_id,
            timestamp_ms=each.context.timestamp_ms,
            policy=policy,
            shortlist=[self._catalogue.ids[item] for item in found.items],
            kinds=found.kinds,
            features=features[: len(found.items)].tobytes(),
            slate=choice.slate,
            propensities=choice.propensities,
            state=each.state,
            kind=choice.kind,
            kind_probability=choice.kind_probability,
            epsilon=self._settings.decisions.q_epsilon,
            mask=choice.mask,
            models=self._models.versions,
            sampling_rate=rate,
            shadow=is_shadow,
        )
        return [Output(DECISIONS, each.user_id.encode(), MSGPACK.encode(logged))]


def _with_position(features: NDArray[np.float64], *, is_control: bool) -> NDArray[np.float32]:
    """Appends the position and whether the control chose: what the bandit's learner corrects for."""
    n_slots, n_features = features.shape
    wide = np.empty((n_slots, n_features + 2), np.float32)
    wide[:, :-2] = features
    wide[:, -2] = np.arange(n_slots)
    wide[:, -1] = is_control
    return wide
