"""Choices of slates for the requests of one batch: shortlist, slate features, and the draw of each policy."""

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, Final, NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from streams.contract.arrays import BoolArray, Float32Array, Float64Array, Int64Array
from streams.contract.events import MAX_CANDIDATES
from streams.contract.settings import Settings
from streams.contract.settings.policies import CONTROLS, learner_of
from streams.contract.topics import POPULAR, RANDOM
from streams.core.policies.choice import Deciding, decide
from streams.core.policies.preranking import prerank
from streams.core.policies.q_agent import action_masks
from streams.core.policies.reward_models import UNTRAINED, PolicyModels
from streams.core.policies.slate_features import N_FEATURES, PACKING, SLOT_PACKING, padded, slate_features
from streams.core.policies.slates import CategoryLimit
from streams.core.retrieval.context import DecisionContext
from streams.core.retrieval.item_table import ItemTable
from streams.core.retrieval.shortlist import (
    MAX_ITEMS,
    Shortlist,
    given_shortlist,
    most_popular_first,
    popular_shortlist,
    shortlists,
)
from streams.core.sampling import draw

NOT_LISTED: Final = "not_available"
"""Rule of a caller's candidate that the shop's catalogue says is not available, or that has an excluded tag."""


class _Shape(NamedTuple):
    """What sizes the arrays of a decision, whose bits depend on them: never on the rest of the batch.

    Attributes:
        width: Longest shortlist.
        is_given: Whether the caller named the candidates.
    """

    width: int
    n_slots: int
    is_given: bool


class DecisionRequest(NamedTuple):
    """An event that asks for a decision, to be made with the rest of the batch.

    Attributes:
        offset: Its source offset.
        key: Key of the user.
        state: State of the session, as the Q agent numbers it.
        event_id: As its producer chose it.
        candidates: Items to choose from; ``None`` for those of retrieval.
        excluded: Items that may not be shown to this shopper, each with its rule.
    """

    event_ref: str
    offset: int
    key: bytes
    policy: str
    context: DecisionContext
    state: int
    event_id: str
    surface: str | None
    n_slots: int
    candidates: Sequence[str] | None = None
    excluded: Mapping[str, str] = MappingProxyType({})

    @property
    def shape(self) -> _Shape:
        """Requests of one shape are decided together."""
        is_wide = self.candidates is not None and len(self.candidates) > MAX_ITEMS
        return _Shape(MAX_CANDIDATES if is_wide else MAX_ITEMS, self.n_slots, self.candidates is not None)


class SlateChoice(msgspec.Struct, frozen=True, gc=False):
    """One policy's choice for one event, as plain values.

    Attributes:
        features: Features of each item of the shortlist, encoded as in the log.
        slot_features: Features of each slot, encoded as in the row.
        slate_score: Sum of the slots' expected rewards, by the same reward model whoever decided.
        slate: Places in the shortlist.
        deviations: Deviation of each item's estimate, float64, encoded; zeros for a policy that reads none.
        left_out: Rule to the items that it kept out of the shortlist.
        categories: Category of each item of the shortlist; empty without the rule ``max_per_category``.
    """

    shortlist: list[str]
    sources: list[int]
    features: bytes
    slot_features: bytes
    slate_score: float
    slate: list[int]
    propensities: list[float]
    scores: list[float]
    source: int
    source_probability: float
    mask: int
    deviations: bytes
    left_out: dict[str, list[str]]
    categories: list[str | None]


class _Listed(NamedTuple):
    """Shortlists of requests of one shape.

    Attributes:
        names: Of their items.
        left_out: Rule to the items that it kept out of each.
        features: Of each item, ``(n_decisions, width, N_FEATURES)``.
    """

    shortlists: list[Shortlist]
    names: list[list[str]]
    left_out: list[dict[str, list[str]]]
    features: Float64Array


class Chooser:
    """Choices by every policy.

    Args:
        policies: Every policy that can decide, by name.
    """

    def __init__(
        self, settings: Settings, item_table: ItemTable, models: PolicyModels, policies: Mapping[str, Deciding]
    ) -> None:
        self._settings = settings
        self._item_table = item_table
        self._models = models
        self._policies = policies
        self._scored_by = learner_of(settings.decisions.q_filled_by, settings.decisions.policies) or ""

    def choose(self, requests: Sequence[DecisionRequest], policies: Sequence[str]) -> list[SlateChoice]:
        """Makes the choice of each request by its policy."""
        alike: dict[_Shape, list[int]] = {}
        for place, request in enumerate(requests):
            alike.setdefault(request.shape, []).append(place)
        choices: dict[int, SlateChoice] = {}
        for shape, places in alike.items():
            made = self._choose_alike(
                shape, [requests[place] for place in places], [policies[place] for place in places]
            )
            choices.update(zip(places, made, strict=True))
        return [choices[place] for place in range(len(requests))]

    def _given(self, requests: Sequence[DecisionRequest], policies: Sequence[str], width: int) -> _Listed:
        """Lists the candidates of the callers."""
        item_table = self._item_table
        given = [each.candidates or () for each in requests]
        names = [
            item_table.listing.accepted([item for item in items if item not in each.excluded])
            for each, items in zip(requests, given, strict=True)
        ]
        dropped = [
            [item for item in items if item not in kept] if len(kept) < len(items) else []
            for items, kept in zip(given, names, strict=True)
        ]
        for place, policy in enumerate(policies):
            if policy == POPULAR:
                names[place] = most_popular_first(item_table, names[place])
        found = [given_shortlist(item_table, each) for each in names]
        features = slate_features(item_table, [each.context for each in requests], padded(found, width))
        return _Listed(found, names, [*map(_by_rule, requests, dropped)], features)

    def _retrieved(self, requests: Sequence[DecisionRequest], policies: Sequence[str]) -> _Listed:
        """Lists what retrieval proposes; shortlists of the controls know no model."""
        item_table, size = self._item_table, self._settings.decisions.shortlist
        model = self._models.rewards[self._scored_by]
        contexts = [each.context for each in requests]
        is_plain = [policy in CONTROLS or model is UNTRAINED for policy in policies]
        plain = [place for place, is_so in enumerate(is_plain) if is_so]
        learned = [place for place, is_so in enumerate(is_plain) if not is_so]
        of_plain = [contexts[place] for place in plain]
        found = dict(zip(plain, shortlists(item_table, of_plain, size), strict=True))
        for place in plain:
            if policies[place] == POPULAR:
                found[place] = popular_shortlist(item_table, contexts[place], size)
        chosen = prerank(item_table, [contexts[place] for place in learned], size, model)
        features = np.empty((len(requests), MAX_ITEMS, N_FEATURES))
        features[plain] = slate_features(item_table, of_plain, padded([found[place] for place in plain]))
        features[learned] = chosen.features
        found |= zip(learned, chosen.shortlists, strict=True)
        lists = [found[place] for place in range(len(requests))]
        names = [[*map(item_table.ids.__getitem__, each.items)] for each in lists]
        dropped = [[*map(item_table.ids.__getitem__, each.left_out)] for each in lists]
        return _Listed(lists, names, [*map(_by_rule, requests, dropped)], features)

    def _choose_alike(
        self, shape: _Shape, requests: Sequence[DecisionRequest], policies: Sequence[str]
    ) -> list[SlateChoice]:
        candidates, names, left_out, features = (
            self._given(requests, policies, shape.width) if shape.is_given else self._retrieved(requests, policies)
        )
        most = self._settings.decisions.rules.max_per_category
        categories = [self._item_table.category_names(each) if most else [] for each in names]
        listed = padded(candidates, shape.width)
        masks = None if shape.is_given else action_masks(listed.sources)
        chosen = decide(
            policies,
            features,
            listed.there.sum(axis=1),
            listed.sources,
            np.array([each.state for each in requests]),
            masks,
            draw([each.event_ref for each in requests], self._settings.seed, shape.n_slots + 2),
            self._models,
            self._policies,
            self._settings.decisions,
            CategoryLimit.of_names(categories, [most] * len(requests), shape.width),
        )
        is_control = np.array([policy == RANDOM for policy in policies])
        is_slot = chosen.slates >= 0
        lengths = is_slot.sum(axis=1).tolist()
        of_slots = _of_slots(features, chosen.slates, is_control)
        rewards = (
            self._models.rewards[self._scored_by]
            .estimate(of_slots[:, :, :N_FEATURES].astype(np.float64), deviations=False)
            .means
        )
        columns: Any = zip(
            names,
            [each.sources for each in candidates],
            _encoded(PACKING.pack(features), [len(each.items) for each in candidates]),
            _encoded(SLOT_PACKING.pack(of_slots), lengths),
            np.where(is_slot, rewards, 0.0).sum(axis=1).tolist(),
            _cut(chosen.slates, lengths),
            _cut(chosen.propensities, lengths),
            _cut(chosen.scores, lengths),
            chosen.sources.tolist(),
            chosen.source_probabilities.tolist(),
            [0] * len(requests) if masks is None else masks.tolist(),
            _encoded(chosen.deviations[:, :, None], [len(each.items) for each in candidates]),
            left_out,
            categories,
            strict=True,
        )
        return [SlateChoice(*values) for values in columns]


def _by_rule(request: DecisionRequest, dropped: Sequence[str]) -> dict[str, list[str]]:
    """Groups items that were left out by the rule; the catalogue does not list those that no other rule excludes."""
    rules: dict[str, list[str]] = {}
    for item in dropped:
        rules.setdefault(request.excluded.get(item, NOT_LISTED), []).append(item)
    return rules


def _of_slots(features: Float64Array, slates: Int64Array, is_control: BoolArray) -> Float32Array:
    """Gathers the learner's columns: each slot's features, its position, and whether the policy ``random`` chose."""
    n_decisions, n_slots = slates.shape
    wide = np.empty((n_decisions, n_slots, N_FEATURES + 2), np.float32)
    wide[:, :, :-2] = features[np.arange(n_decisions)[:, None], np.maximum(slates, 0)]
    wide[:, :, -2] = np.arange(n_slots)
    wide[:, :, -1] = is_control[:, None]
    return wide


def _encoded(rows: NDArray[Any], lengths: Sequence[int]) -> list[bytes]:
    """Encodes the first ``lengths`` rows of each decision, from ``(n_decisions, n_rows, n_columns)``."""
    encoded = rows.tobytes()
    row_bytes = rows.itemsize * rows.shape[2]
    begins = range(0, len(encoded), row_bytes * rows.shape[1])
    return [encoded[begin : begin + row_bytes * length] for begin, length in zip(begins, lengths, strict=True)]


def _cut(values: NDArray[Any], lengths: Sequence[int]) -> list[list[Any]]:
    return [row[:length] for row, length in zip(values.tolist(), lengths, strict=True)]
