"""Logs of decisions with their rewards: lines of JSON, as ``headrace decisions dump`` writes them."""

from pathlib import Path
from typing import Annotated, Final

import msgspec
import numpy as np
from msgspec import Meta

from streams.contract.errors import UnreadableSource
from streams.contract.topics import POPULAR, Q_AGENT
from streams.core.offpolicy.sums import Float64Array, Int64Array
from streams.core.policies.slates import BoolArray


class RewardedDecision(msgspec.Struct, frozen=True, kw_only=True):
    """One line: a decision that was shown, and what each slot of it earned.

    Attributes:
        features: Of each item of the shortlist, ``(n_items, n_features)``.
        slate: Places in the shortlist, first slot first.
        propensities: Of each slot, given the slots before it.
        rewards: Of each slot.
        kind_probability: Probability of the kind that the Q agent chose; 1 where no kind was chosen.
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
    kind_probability: float = 1.0


class FrozenModel(msgspec.Struct, frozen=True, kw_only=True):
    """A line before the decisions: the weights of a learner as they were when the log was written.

    Attributes:
        model: Name of the learner.
        theta: Weights, one a feature.
        factor: Inverse of the lower factor of its precision, a row a feature; only some policies need it.
        examples: How many examples they were learned from.
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
        by_kind: Decisions of the Q agent that were left out: the propensities of its slots are given the kind.
        elsewhere: Decisions of the second control that were left out: its shortlist is not that of the others.
        empty: Decisions that showed nothing and were left out.
    """

    features: Float64Array
    there: BoolArray
    slates: Int64Array
    propensities: Float64Array
    rewards: Float64Array
    users: Int64Array
    models: dict[str, FrozenModel]
    policies: dict[str, int]
    by_kind: int
    elsewhere: int
    empty: int


_decode_decision: Final = msgspec.json.Decoder(RewardedDecision).decode
_decode_model: Final = msgspec.json.Decoder(FrozenModel).decode


def read_decisions(path: Path) -> DecisionLog:
    """Reads a log.

    Raises:
        UnreadableSource: It is missing, a line is not of the format, or there is no decision to evaluate on.
    """
    models: dict[str, FrozenModel] = {}
    decisions: list[RewardedDecision] = []
    seen: set[str] = set()
    by_kind = elsewhere = empty = 0
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
                # What was made again after a crash is there twice.
                if decision.decision_id in seen:
                    continue
                seen.add(decision.decision_id)
                _refuse_misfit(path, number, decision, decisions[0] if decisions else decision)
                if decision.policy == Q_AGENT or decision.kind_probability != 1.0:
                    by_kind += 1
                elif decision.policy == POPULAR:
                    elsewhere += 1
                elif not decision.slate:
                    empty += 1
                else:
                    decisions.append(decision)
    except OSError as error:
        raise UnreadableSource(f"{path}: {error.strerror}") from error
    if not decisions:
        raise UnreadableSource(
            f"{path} has no decision to evaluate on: {by_kind} are the Q agent's, whose slots' propensities are given"
            f" the kind that it chose, {elsewhere} are from another shortlist, and {empty} showed nothing"
        )
    return _as_arrays(decisions, models, (by_kind, elsewhere, empty))


def _refuse_misfit(path: Path, number: int, decision: RewardedDecision, first: RewardedDecision) -> None:
    n_items, slate = len(decision.shortlist), decision.slate
    wrong = ""
    if len(decision.features) != n_items:
        wrong = f"there are features of {len(decision.features)} items for a shortlist of {n_items}"
    elif {len(row) for row in decision.features} - {len(row) for row in first.features[:1] or decision.features[:1]}:
        wrong = "its features are not as many as those of the lines before"
    elif not len(slate) == len(decision.propensities) == len(decision.rewards):
        wrong = "slate, propensities and rewards are not of one length"
    elif len(set(slate)) != len(slate) or any(place >= n_items for place in slate):
        wrong = "the slate is not of distinct places in the shortlist"
    if wrong:
        raise UnreadableSource(f"{path}, line {number}: {wrong}")


def _as_arrays(
    decisions: list[RewardedDecision], models: dict[str, FrozenModel], left_out: tuple[int, int, int]
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
    return DecisionLog(features, there, slates, propensities, rewards, numbers, models, policies, *left_out)
