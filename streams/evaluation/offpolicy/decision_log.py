"""Logs of decisions with their rewards: lines of JSON, written by ``headrace decisions dump``."""

from pathlib import Path
from typing import Annotated, Final

import msgspec
import numpy as np
from msgspec import Meta

from streams.contract.arrays import BoolArray
from streams.contract.errors import UnreadableSource
from streams.contract.topics import POPULAR, Q_AGENT
from streams.core.policies.slates import CategoryLimit
from streams.evaluation.offpolicy.sums import Float64Array, Int64Array


class RewardedDecision(msgspec.Struct, frozen=True, kw_only=True):
    """One line: a shown decision with the reward of each slot.

    Attributes:
        features: Features of each item of the shortlist, ``(n_items, n_features)``.
        slate: Places in the shortlist, first slot first.
        propensities: Probability of each slot, given the slots before it.
        rewards: Reward of each slot.
        source_probability: Probability of the source that the Q agent chose; 1 for other policies.
        given: Whether the shortlist is the caller's; then every policy, the Q agent too, drew from all of it.
        titles: Title of each item of the shortlist that has one in the shop's catalogue; for readers.
        categories: Category of each item of the shortlist, ``None`` for none; needed with ``max_per_category`` only.
        max_per_category: Items of one category that the slate could have; 0 for any number.
    """

    decision_id: str
    user_id: str
    timestamp_ms: int
    policy: str
    shortlist: list[str]
    features: list[list[float]]
    slate: list[Annotated[int, Meta(ge=0)]]
    propensities: list[Annotated[float, Meta(gt=0.0, le=1.0)]]
    rewards: list[float]
    source_probability: float = 1.0
    given: bool = False
    titles: dict[str, str] = msgspec.field(default_factory=dict)
    categories: list[str | None] = msgspec.field(default_factory=list)
    max_per_category: Annotated[int, Meta(ge=0)] = 0


class FrozenModel(msgspec.Struct, frozen=True, kw_only=True):
    """A line before the decisions: the weights of a learner at the time when the log was written.

    Attributes:
        model: Name of the learner.
        theta: Weights, one for each feature.
        factor: Inverse of the precision's lower factor, one row for each feature; only some policies need it.
        examples: Number of examples learned from.
    """

    model: str
    theta: list[float]
    examples: float
    version: int = 0
    factor: list[list[float]] = msgspec.field(default_factory=list)


class DecisionLog(msgspec.Struct, frozen=True):
    """Decisions as arrays, padded to the longest shortlist and slate.

    Attributes:
        features: ``(n_decisions, n_items, n_features)``.
        there: Items of each shortlist, ``(n_decisions, n_items)``.
        slates: Places in the shortlist, -1 beyond a slate's end, ``(n_decisions, n_slots)``.
        propensities: 1 beyond a slate's end, same shape.
        rewards: 0 beyond a slate's end, same shape.
        users: Dense numbers, ``(n_decisions,)``.
        limit: Of items of one category in a slate; ``None`` if no decision had one.
        by_source: Omitted decisions of the Q agent: their propensities hold only given the source.
        elsewhere: Omitted decisions of the control ``popular``: it has another shortlist.
        deterministic: Omitted decisions without a random choice: nothing is known of what was not shown.
        empty: Omitted decisions that showed nothing.
    """

    features: Float64Array
    there: BoolArray
    slates: Int64Array
    propensities: Float64Array
    rewards: Float64Array
    users: Int64Array
    limit: CategoryLimit | None
    models: dict[str, FrozenModel]
    policies: dict[str, int]
    by_source: int
    elsewhere: int
    deterministic: int
    empty: int


_decode_decision: Final = msgspec.json.Decoder(RewardedDecision).decode
_decode_model: Final = msgspec.json.Decoder(FrozenModel).decode


def read_decisions(path: Path) -> DecisionLog:
    """Reads a log.

    Raises:
        UnreadableSource: It is missing, a line is not of the format, or it has no usable decision.
    """
    models: dict[str, FrozenModel] = {}
    decisions: list[RewardedDecision] = []
    seen: set[str] = set()
    by_source = elsewhere = deterministic = empty = 0
    try:
        with path.open("rb") as lines:
            for number, line in enumerate(lines, start=1):
                if not line.strip():
                    continue
                try:
                    if line.startswith(b'{"model"'):
                        model = _decode_model(line)
                        models[model.model] = model
                        continue
                    decision = _decode_decision(line)
                except (msgspec.DecodeError, UnicodeDecodeError) as error:
                    raise UnreadableSource(f"{path}, line {number}: {error}") from error
                # A decision may be repeated after a crash.
                if decision.decision_id in seen:
                    continue
                seen.add(decision.decision_id)
                _validate(path, number, decision, decisions[0] if decisions else decision)
                if (decision.policy == Q_AGENT and not decision.given) or decision.source_probability != 1.0:
                    by_source += 1
                elif decision.policy == POPULAR and not decision.given:
                    elsewhere += 1
                elif not decision.slate:
                    empty += 1
                elif is_deterministic(decision):
                    deterministic += 1
                else:
                    decisions.append(decision)
    except OSError as error:
        raise UnreadableSource(f"{path}: {error.strerror}") from error
    if not decisions:
        raise UnreadableSource(
            f"{path} has no usable decision: {by_source} are the Q agent's, whose propensities hold only given the"
            f" chosen source, {elsewhere} are from another shortlist, {deterministic} were made without a random"
            f" choice, and {empty} showed nothing"
        )
    return _as_arrays(decisions, models, (by_source, elsewhere, deterministic, empty))


def is_deterministic(decision: RewardedDecision) -> bool:
    """Tells whether every slot was certain although there was something to choose from.

    Such a decision supports no other slate, and to weight its rewards by inverse propensities is biased. It is known
    before any slot is drawn, so to leave it out selects decisions by their context only.
    """
    n_items = len(decision.shortlist)
    of_choices = decision.propensities[: n_items - 1]
    return bool(of_choices) and all(propensity == 1.0 for propensity in of_choices)


def _validate(path: Path, number: int, decision: RewardedDecision, first: RewardedDecision) -> None:
    n_items, slate = len(decision.shortlist), decision.slate
    wrong = ""
    if len(decision.features) != n_items:
        wrong = f"features has {len(decision.features)} rows for a shortlist of {n_items}"
    elif {len(row) for row in decision.features} - {len(row) for row in first.features[:1] or decision.features[:1]}:
        wrong = "the number of features differs from the lines before"
    elif decision.max_per_category and len(decision.categories) != n_items:
        wrong = f"categories has {len(decision.categories)} entries for a shortlist of {n_items}"
    elif not len(slate) == len(decision.propensities) == len(decision.rewards):
        wrong = "slate, propensities and rewards have different lengths"
    elif len(set(slate)) != len(slate) or any(place >= n_items for place in slate):
        wrong = f"slate {slate} is not a list of distinct places in the shortlist of {n_items}"
    if wrong:
        raise UnreadableSource(f"{path}, line {number}: {wrong}")


def _as_arrays(
    decisions: list[RewardedDecision], models: dict[str, FrozenModel], left_out: tuple[int, int, int, int]
) -> DecisionLog:
    n, n_items = len(decisions), max(len(decision.shortlist) for decision in decisions)
    n_slots = max(len(decision.slate) for decision in decisions)
    features = np.zeros((n, n_items, len(decisions[0].features[0])))
    there = np.zeros((n, n_items), bool)
    slates = np.full((n, n_slots), -1)
    propensities, rewards = np.ones((n, n_slots)), np.zeros((n, n_slots))
    users: dict[str, int] = {}
    policies: dict[str, int] = {}
    numbers = np.zeros(n, np.int64)
    for row, decision in enumerate(decisions):
        length = len(decision.slate)
        features[row, : len(decision.shortlist)] = decision.features
        there[row, : len(decision.shortlist)] = True
        slates[row, :length] = decision.slate
        propensities[row, :length] = decision.propensities
        rewards[row, :length] = decision.rewards
        numbers[row] = users.setdefault(decision.user_id, len(users))
        policies[decision.policy] = policies.get(decision.policy, 0) + 1
    limit = CategoryLimit.of_names(
        [decision.categories for decision in decisions], [decision.max_per_category for decision in decisions], n_items
    )
    return DecisionLog(features, there, slates, propensities, rewards, numbers, limit, models, policies, *left_out)
