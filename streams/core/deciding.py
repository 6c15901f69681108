"""Decisions of one batch: shortlist, features, choice, and what is said of each to the shop and to the log."""

from collections.abc import Mapping, Sequence
from math import isnan
from typing import Any, Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from streams.contract.outputs import Output
from streams.contract.records import (
    JSON,
    MSGPACK,
    LoggedDecision,
    Recommendation,
    RecommendedItem,
)
from streams.contract.settings import Settings
from streams.contract.topics import CONTROL, DECISIONS, POPULAR, RECOMMENDATIONS
from streams.core.policies.choice import Deciding, decide
from streams.core.policies.decision_id import decision_id
from streams.core.policies.features import N_FEATURES, padded, slate_features
from streams.core.policies.models import PolicyModels
from streams.core.policies.q_agent import action_masks
from streams.core.policies.uniforms import draw
from streams.core.retrieval.catalogue import Catalogue
from streams.core.retrieval.context import Known
from streams.core.retrieval.popular_only import popular_shortlist
from streams.core.retrieval.shortlist import KINDS, shortlists
from streams.core.row import OpenDecision, Transition
from streams.core.sampling import sampled

Float64Array = NDArray[np.float64]

_LOG_SALT: Final = 101


class PendingDecision(msgspec.Struct, gc=False):
    """A decision to be made with the rest of its batch.

    Attributes:
        event_ref: Of the event that asks for it, at this offset.
        key: The user's.
        decision: In the shopper's row; to be given its slate.
        state: The session's, to the Q agent.
        transition: The Q agent's that may begin with this decision.
    """

    event_ref: str
    offset: int
    key: bytes
    policy: str
    asked: Known
    decision: OpenDecision
    state: int
    transition: Transition | None = None


class _Made(msgspec.Struct, frozen=True, gc=False):
    """What one policy decided at one event, as plain values.

    Attributes:
        shortlist: Names of the items that could be shown.
        kinds: Of each of them.
        features: Of each of them, encoded as in the log.
        slot_features: Of each of the slate, encoded as in the row.
        slate: Places in the shortlist.
    """

    shortlist: list[str]
    kinds: list[int]
    features: bytes
    slot_features: bytes
    slate: list[int]
    propensities: list[float]
    scores: list[float]
    kind: int
    kind_probability: float
    mask: int


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
        refs = [each.event_ref for each in pending]
        asked = [each.asked for each in pending]
        size = self._settings.decisions.shortlist
        found = shortlists(self._catalogue, asked, size)
        for place, policy in enumerate(policies):
            if policy == POPULAR:
                found[place] = popular_shortlist(self._catalogue, asked[place], size)
        listed = padded(found)
        features = slate_features(self._catalogue, asked, listed)
        masks = action_masks(listed.kinds)
        settings = self._settings.decisions
        chosen = decide(
            policies,
            features,
            (listed.items >= 0).sum(axis=1),
            listed.kinds,
            np.array([each.state for each in pending]),
            masks,
            draw(refs, self._settings.seed, settings.slate + 2),
            self._models,
            self._policies,
            settings,
        )
        is_control = np.array([policy == CONTROL for policy in policies])
        name_of = self._catalogue.ids.__getitem__
        lengths = (chosen.slates >= 0).sum(axis=1).tolist()
        made: Any = zip(
            [[*map(name_of, each.items)] for each in found],
            [each.kinds for each in found],
            _encoded(features, [len(each.items) for each in found]),
            _encoded(_of_slots(features, chosen.slates, is_control), lengths),
            _cut(chosen.slates, lengths),
            _cut(chosen.propensities, lengths),
            _cut(chosen.scores, lengths),
            chosen.kinds.tolist(),
            chosen.kind_probabilities.tolist(),
            masks.tolist(),
            strict=True,
        )
        return [_Made(*values) for values in made]

    def _settle(self, each: PendingDecision, made: _Made) -> list[Output]:
        """Fills a decision into the row, and tells the shop."""
        if each.transition is not None:
            each.transition.action = made.kind
            each.transition.mask = made.mask
        items = [made.shortlist[slot] for slot in made.slate]
        versions = self._models.versions
        decision = each.decision
        decision.items = items
        decision.decision_id = decision_id(each.event_ref, each.policy, items, made.propensities, versions)
        decision.features = made.slot_features
        recommendation = Recommendation(
            decision.decision_id,
            each.event_ref,
            each.key.decode(),
            each.asked.timestamp_ms,
            each.policy,
            [
                RecommendedItem(item, None if isnan(score) else score, propensity, KINDS[made.kinds[slot]])
                for item, score, propensity, slot in zip(items, made.scores, made.propensities, made.slate, strict=True)
            ],
            versions,
        )
        return [
            Output(RECOMMENDATIONS, each.key, JSON.encode(recommendation)),
            *self._log(each, made, each.policy),
        ]

    def _log(self, each: PendingDecision, made: _Made, policy: str) -> list[Output]:
        """Says all that is needed to evaluate another policy on what ``policy`` decided, if this event is sampled."""
        rate = self._settings.decisions.log_rate
        if not rate or not sampled(self._partition, each.offset, _LOG_SALT, rate):
            return []
        is_shadow = policy != each.policy
        logged = LoggedDecision(
            decision_id=f"{each.decision.decision_id}/{policy}" if is_shadow else each.decision.decision_id,
            event_ref=each.event_ref,
            user_id=each.key.decode(),
            timestamp_ms=each.asked.timestamp_ms,
            policy=policy,
            shortlist=made.shortlist,
            kinds=made.kinds,
            features=made.features,
            slate=made.slate,
            propensities=made.propensities,
            state=each.state,
            kind=made.kind,
            kind_probability=made.kind_probability,
            epsilon=self._settings.decisions.q_epsilon,
            mask=made.mask,
            models=self._models.versions,
            sampling_rate=rate,
            shadow=is_shadow,
        )
        return [Output(DECISIONS, each.key, MSGPACK.encode(logged))]


def _of_slots(features: Float64Array, slates: NDArray[np.int64], is_control: NDArray[np.bool_]) -> NDArray[np.float32]:
    """Gathers what the bandit's learner reads: each slot's features, its position, and whether the control chose."""
    n_decisions, n_slots = slates.shape
    wide = np.empty((n_decisions, n_slots, N_FEATURES + 2), np.float32)
    wide[:, :, :-2] = np.take_along_axis(features, np.maximum(slates, 0)[:, :, None], axis=1)
    wide[:, :, -2] = np.arange(n_slots)
    wide[:, :, -1] = is_control[:, None]
    return wide


def _encoded(rows: NDArray[Any], lengths: Sequence[int]) -> list[bytes]:
    """Encodes the first rows of each decision, ``(n_decisions, n_rows, n_columns)``; so many as ``lengths`` says."""
    encoded = rows.tobytes()
    row_bytes = rows.itemsize * rows.shape[2]
    begins = range(0, len(encoded), row_bytes * rows.shape[1])
    return [encoded[begin : begin + row_bytes * length] for begin, length in zip(begins, lengths, strict=True)]


def _cut(values: NDArray[Any], lengths: Sequence[int]) -> list[list[Any]]:
    return [row[:length] for row, length in zip(values.tolist(), lengths, strict=True)]
