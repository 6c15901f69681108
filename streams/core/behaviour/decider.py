"""Decisions of one batch: the records for the shop and for the log, and what a shopper's row keeps of them."""

from collections.abc import Mapping, Sequence
from hashlib import blake2b
from math import isnan
from typing import Final, NamedTuple

from streams.contract.outputs import Output
from streams.contract.records import JSON, MSGPACK, LoggedDecision, Recommendation, RecommendedItem
from streams.contract.settings import Settings
from streams.contract.topics import DECISIONS, RECOMMENDATIONS
from streams.core.behaviour.slate_choices import Chooser, DecisionRequest, SlateChoice
from streams.core.policies.choice import Deciding
from streams.core.policies.reward_models import PolicyModels
from streams.core.retrieval.item_table import ItemTable
from streams.core.retrieval.shortlist import reason_of
from streams.core.sampling import sampled

_LOG_SALT: Final = 101


class Decided(NamedTuple):
    """The decision of one request.

    Attributes:
        features: Features of each slot, as :class:`~streams.core.behaviour.row.OpenDecision` keeps them.
        slate_score: Sum of the slots' expected rewards, by the same reward model whoever decided.
        action: Candidate source that the Q agent chose; -1 for other policies.
        mask: Actions that were available to the Q agent.
    """

    decision_id: str
    items: list[str]
    features: bytes
    slate_score: float
    action: int
    mask: int
    outputs: list[Output]


class Decider:
    """Decisions for the batches of one source partition.

    Args:
        policies: Every policy that can decide, by name.
    """

    def __init__(
        self,
        settings: Settings,
        partition: int,
        item_table: ItemTable,
        models: PolicyModels,
        policies: Mapping[str, Deciding],
    ) -> None:
        self._settings = settings
        self._partition = partition
        self._models = models
        self._policies = policies
        self._chooser = Chooser(settings, item_table, models, policies)

    def decide(self, requests: Sequence[DecisionRequest], shadows: Sequence[str]) -> list[Decided]:
        """Makes all decisions.

        Args:
            shadows: Policies that decide for the log only, except for requests that they decide anyway.
        """
        if not requests:
            return []  # Arrays without a row cost half as much as those of one decision.
        shown = self._chooser.choose(requests, [each.policy for each in requests])
        shadowed = [(shadow, self._chooser.choose(requests, [shadow] * len(requests))) for shadow in shadows]
        return [
            self._decided(
                request, choice, [(name, choices[place]) for name, choices in shadowed if name != request.policy]
            )
            for place, (request, choice) in enumerate(zip(requests, shown, strict=True))
        ]

    def _decided(
        self, request: DecisionRequest, choice: SlateChoice, shadowed: Sequence[tuple[str, SlateChoice]]
    ) -> Decided:
        """Makes the decision's id and its records: for the shop and, with those of the shadows, for the log."""
        items = [choice.shortlist[place] for place in choice.slate]
        versions = self._models.versions
        id_ = decision_id(request.event_ref, request.policy, items, choice.propensities, versions)
        recommendation = Recommendation(
            id_,
            request.event_ref,
            request.key.decode(),
            request.context.timestamp_ms,
            request.policy,
            [
                RecommendedItem(item, None if isnan(score) else score, propensity, reason_of(choice.sources[place]))
                for item, score, propensity, place in zip(
                    items, choice.scores, choice.propensities, choice.slate, strict=True
                )
            ],
            versions,
            request.event_id,
            request.surface,
        )
        outputs = [
            Output(RECOMMENDATIONS, request.key, JSON.encode(recommendation)),
            *self._log(request, choice, request.policy, id_),
        ]
        for shadow, shadow_choice in shadowed:
            outputs += self._log(request, shadow_choice, shadow, id_)
        return Decided(id_, items, choice.slot_features, choice.slate_score, choice.source, choice.mask, outputs)

    def _log(self, request: DecisionRequest, choice: SlateChoice, policy: str, shown_id: str) -> list[Output]:
        """Makes the log record for off-policy evaluation, if this event is sampled."""
        rate = self._settings.decisions.log_rate
        if not rate or not sampled(self._partition, request.offset, _LOG_SALT, rate):
            return []
        is_shadow = policy != request.policy
        kind, learner = self._policies[policy]
        model = None if learner is None else self._models.rewards[learner]
        logged = LoggedDecision(
            decision_id=f"{shown_id}/{policy}" if is_shadow else shown_id,
            event_ref=request.event_ref,
            user_id=request.key.decode(),
            timestamp_ms=request.context.timestamp_ms,
            policy=policy,
            shortlist=choice.shortlist,
            sources=choice.sources,
            features=choice.features,
            slate=choice.slate,
            propensities=choice.propensities,
            state=request.state,
            source=choice.source,
            source_probability=choice.source_probability,
            epsilon=self._settings.decisions.q_epsilon,
            mask=choice.mask,
            model_versions=self._models.versions,
            sampling_rate=rate,
            shadow=is_shadow,
            event_id=request.event_id,
            surface=request.surface,
            theta=b"" if model is None else model.theta.astype("<f8").tobytes(),
            examples=0.0 if model is None else model.examples,
            deviations=choice.deviations if kind.needs_deviations else b"",
            left_out=choice.left_out,
            categories=choice.categories,
            max_per_category=self._settings.decisions.rules.max_per_category,
        )
        return [Output(DECISIONS, request.key, MSGPACK.encode(logged))]


def decision_id(
    event_ref: str, policy: str, items: Sequence[str], propensities: Sequence[float], versions: Mapping[str, int]
) -> str:
    """Makes the id of a decision: its event, and a digest of the answer, which may differ when it is decided again.

    >>> decision_id("clickstream-3-41", "bandit", ["a"], [1.0], {"bandit": 2}).rpartition(".")[0]
    'clickstream-3-41'
    """
    answer = MSGPACK.encode((policy, items, propensities, sorted(versions.items())))
    return f"{event_ref}.{blake2b(answer, digest_size=6).hexdigest()}"
