"""Explanation of a logged decision: why an item was shown in a slot, against the next best, in numbers and in words."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain
from types import MappingProxyType
from typing import Final, Literal, NamedTuple

import msgspec
import numpy as np

from streams.contract.arrays import BoolArray, Float64Array
from streams.contract.errors import UnreadableSource
from streams.contract.events import MAX_CANDIDATES
from streams.contract.records import BY_CALLER, NO_SOURCE, LoggedDecision
from streams.contract.settings import Decisions
from streams.contract.settings.policies import CONTROLS
from streams.contract.topics import Q_AGENT
from streams.core.features.groups import ITEM_GROUPS
from streams.core.policies.choice import Deciding, deciding_policies
from streams.core.policies.policy import Estimates
from streams.core.policies.reward_models import RewardModel
from streams.core.policies.slate_features import GROUPING, N_FEATURES, PACKING
from streams.core.policies.slates import CategoryLimit, Remaining
from streams.core.retrieval.shortlist import MAX_ITEMS, SOURCE_NAMES, reason_of

Choice = Literal["best", "exploration", "even", "only"]
"""Role of chance: none was more probable; another one was; all were equally probable; no other item was left."""

_CERTAIN: Final = 0.9995
_SAME: Final = 1e-9
"""Largest distance of a probability that was computed again: another processor may round the last bits differently."""
_REASONS_IN_WORDS: Final = 3
_SMALLEST_IN_WORDS: Final = 0.00005
"""A smaller contribution has no digit in words."""
_MAX_PER_CATEGORY: Final = "max_per_category"
_RULE_WORDS: Final = {
    "hide_purchased": "the shopper purchased it before",
    _MAX_PER_CATEGORY: "the slots before have all that a slate may have of its category",
    "no_repeat_s": "the shopper was shown it a short time ago",
    "not_available": "the shop's catalogue does not offer it",
}


class Contribution(msgspec.Struct, frozen=True):
    """Share of one group of features in the difference between the scores of two items.

    Attributes:
        group: Name of the group, see :data:`~streams.core.features.groups.ITEM_GROUPS`.
        words: The group in words.
        contribution: In units of the score: expected reward.
    """

    group: str
    words: str
    contribution: float


class SlotItem(msgspec.Struct, frozen=True):
    """An item that could have been drawn for the slot.

    Attributes:
        source: Candidate source that proposed it, or ``caller``.
        words: The source in words.
        probability: Of being drawn for this slot, given the slots before it and the source.
        score: The policy's estimate of the reward; ``None`` for a policy without estimates.
        deviation: Deviation of the estimate, in units of the noise; ``None`` for a policy that reads none.
    """

    item_id: str
    source: str
    words: str
    probability: float
    score: float | None
    deviation: float | None


class ShadowSlot(msgspec.Struct, frozen=True):
    """The same slot of a policy that decided for the log only.

    Attributes:
        item_id: ``None`` if it had nothing to show there.
        propensity: Probability of this draw.
    """

    policy: str
    item_id: str | None
    propensity: float | None


class LeftOut(msgspec.Struct, frozen=True):
    """Items that a rule kept out of the shortlist, or out of this slot."""

    rule: str
    words: str
    item_ids: list[str]


class SourceChoice(msgspec.Struct, frozen=True):
    """The Q agent's choice of a candidate source, before items were drawn from it.

    Attributes:
        probability: Of this source, given the state of the session.
        is_exploration: Whether another source had the highest value.
    """

    source: str
    probability: float
    is_exploration: bool


class DecisionExplanation(msgspec.Struct, frozen=True):
    """Explanation of one slot of a logged decision.

    Attributes:
        kind: Kind of the policy that drew the item.
        slot: Number of the slot, from 1.
        n_slots: Length of the slate.
        choice: See :data:`Choice`.
        shown: The item that was drawn; its probability is the logged propensity.
        next_best: The other item that was most probable; ``None`` if there was none.
        difference: Score of the shown item less that of the next best; ``None`` without estimates.
        contributions: Shares of the groups in ``difference``, largest first; they sum to it.
        items: Every item that could have been drawn for this slot, most probable first.
        source_choice: ``None`` for policies that choose no source.
        model: Name of the reward model; ``None`` for a policy without one.
        model_version: Version of the model's weights; 0 before the first.
        examples: Summed weight of the examples that the model had learned from.
        is_reproduced: Whether the logged propensities follow from the log and the settings.
        titles: Title of each item of the decision that has one in the shop's catalogue.
        sentences: The explanation in words.
    """

    decision_id: str
    event_ref: str
    user_id: str
    timestamp_ms: int
    policy: str
    kind: str
    slot: int
    n_slots: int
    choice: Choice
    shown: SlotItem
    next_best: SlotItem | None
    difference: float | None
    contributions: list[Contribution]
    items: list[SlotItem]
    source_choice: SourceChoice | None
    shadows: list[ShadowSlot]
    left_out: list[LeftOut]
    model: str | None
    model_version: int | None
    examples: float
    is_reproduced: bool
    titles: dict[str, str]
    sentences: list[str]


def explain_decision(
    decision: LoggedDecision,
    shadows: Sequence[LoggedDecision],
    slot: int,
    decisions: Decisions,
    titles: Mapping[str, str] = MappingProxyType({}),
) -> DecisionExplanation:
    """Explains the item in one slot of a decision.

    Args:
        shadows: Decisions of the same event that were made for the log only.
        slot: From 1.
        decisions: The worker's settings.
        titles: Item to its title in the shop's catalogue; the sentences name an item by both.

    Raises:
        UnreadableSource: There is no such slot, the settings have no such policy, or the log lacks its model.
    """
    if not 1 <= slot <= len(decision.slate):
        slots = f"it has slots 1 to {len(decision.slate)}" if decision.slate else "it showed nothing"
        raise UnreadableSource(f"decision {decision.decision_id} has no slot {slot}: {slots}")
    deciding = deciding_policies(decisions).get(decision.policy)
    if deciding is None:
        raise UnreadableSource(f"the settings have no policy {decision.policy!r}: use those of the worker")
    draws = _draws(decision, deciding)
    place, probabilities = decision.slate[slot - 1], draws.probabilities[slot - 1]
    eligible = np.flatnonzero(draws.eligible[slot - 1]).tolist()
    scores = draws.estimates.means[0]
    order = sorted(eligible, key=lambda each: (-probabilities[each], -scores[each], each))
    items = {each: _slot_item(decision, draws, slot, each) for each in order}
    others = [each for each in order if each != place]
    has_scores = deciding.learner is not None
    rival = others[0] if others else None
    explanation = DecisionExplanation(
        decision_id=decision.decision_id,
        event_ref=decision.event_ref,
        user_id=decision.user_id,
        timestamp_ms=decision.timestamp_ms,
        policy=decision.policy,
        kind=_kind(decision.policy, decisions),
        slot=slot,
        n_slots=len(decision.slate),
        choice=_choice([float(probabilities[each]) for each in order], float(probabilities[place])),
        shown=items[place],
        next_best=None if rival is None else items[rival],
        difference=float(scores[place] - scores[rival]) if has_scores and rival is not None else None,
        contributions=_contributions(decision, place, rival) if has_scores and rival is not None else [],
        items=[*items.values()],
        source_choice=_source_choice(decision),
        shadows=[_shadow_slot(each, slot) for each in shadows],
        left_out=_left_out(decision, draws, slot),
        model=deciding.learner,
        model_version=None if deciding.learner is None else decision.model_versions.get(deciding.learner),
        examples=decision.examples,
        is_reproduced=draws.is_reproduced,
        titles={item: titles[item] for item in _named_items([decision, *shadows]) if item in titles},
        sentences=[],
    )
    return msgspec.structs.replace(explanation, sentences=_sentences(explanation))


class _Draws(NamedTuple):
    """The draws of a decision, computed again from the log.

    Attributes:
        estimates: Of the one decision, ``(1, width)`` each.
        eligible: Items that could be drawn, ``(n_slots, width)``.
        full: Items that could not, since the slots before had enough of their category, same shape.
        probabilities: Of these draws, same shape.
    """

    deciding: Deciding
    estimates: Estimates
    eligible: BoolArray
    full: BoolArray
    probabilities: Float64Array
    is_reproduced: bool


def _draws(decision: LoggedDecision, deciding: Deciding) -> _Draws:
    """Computes the probabilities of each slot as the worker did, in arrays of the same shapes."""
    policy, learner = deciding
    n_items, slate = len(decision.shortlist), decision.slate
    n_asked = n_items + sum(map(len, decision.left_out.values()))
    is_given = NO_SOURCE in decision.sources
    width = MAX_CANDIDATES if is_given and n_asked > MAX_ITEMS else MAX_ITEMS
    features = np.zeros((1, width, N_FEATURES))
    theta, deviations = np.zeros(N_FEATURES), np.zeros((1, width))
    try:
        features[0, :n_items] = PACKING.unpack(decision.features)
        if learner is not None:
            theta[:] = np.frombuffer(decision.theta, "<f8")
        if policy.needs_deviations:
            deviations[0, :n_items] = np.frombuffer(decision.deviations, "<f8")
    except ValueError as error:
        raise UnreadableSource(
            f"decision {decision.decision_id} cannot be explained: it was logged with other features than this version"
            f" has, or without its model ({error})"
        ) from error
    model = RewardModel(theta, np.eye(N_FEATURES), decision.examples)
    estimates = model.estimate(features, deviations=False)._replace(deviations=deviations)
    there = np.arange(width) < n_items
    preferred = there.copy()
    if decision.source != NO_SOURCE:
        preferred[:n_items] = np.array(decision.sources) == decision.source
    remaining = Remaining(
        there[None], CategoryLimit.of_names([decision.categories], [decision.max_per_category], width)
    )
    eligible, full = np.zeros((2, len(slate), width), np.bool_)
    probabilities = np.zeros((len(slate), width))
    for slot, place in enumerate(slate):
        [left] = remaining.items
        eligible[slot] = left & preferred if (left & preferred).any() else left
        full[slot] = there & ~left
        full[slot, slate[:slot]] = False
        probabilities[slot] = policy.probabilities(estimates, eligible[slot][None])[0]
        remaining.take(np.array([0]), np.array([place]))
    drawn = probabilities[np.arange(len(slate)), slate]
    is_reproduced = bool(np.allclose(drawn, decision.propensities, rtol=0.0, atol=_SAME))
    return _Draws(deciding, estimates, eligible, full, probabilities, is_reproduced)


def _left_out(decision: LoggedDecision, draws: _Draws, slot: int) -> list[LeftOut]:
    full = [decision.shortlist[place] for place in np.flatnonzero(draws.full[slot - 1]).tolist()]
    by_rule = decision.left_out | ({_MAX_PER_CATEGORY: full} if full else {})
    return [LeftOut(rule, _RULE_WORDS.get(rule, rule), ids) for rule, ids in by_rule.items()]


def _slot_item(decision: LoggedDecision, draws: _Draws, slot: int, place: int) -> SlotItem:
    source = reason_of(decision.sources[place])
    is_shown = decision.slate[slot - 1] == place
    probability = decision.propensities[slot - 1] if is_shown else float(draws.probabilities[slot - 1, place])
    policy, learner = draws.deciding
    return SlotItem(
        item_id=decision.shortlist[place],
        source=source,
        words="named by the caller" if source == BY_CALLER else ITEM_GROUPS[source],
        probability=probability,
        score=None if learner is None else float(draws.estimates.means[0, place]),
        deviation=float(draws.estimates.deviations[0, place]) if policy.needs_deviations else None,
    )


def _choice(probabilities: Sequence[float], of_shown: float) -> Choice:
    """Names the role of chance by the probabilities of all items, highest first, and that of the shown one."""
    if len(probabilities) == 1:
        return "only"
    if probabilities[0] - probabilities[-1] < _SAME:
        return "even"
    return "best" if probabilities[0] - of_shown < _SAME else "exploration"


def _contributions(decision: LoggedDecision, place: int, rival: int) -> list[Contribution]:
    features = PACKING.unpack(decision.features).astype(np.float64)
    moved = (features[place] - features[rival]) * np.frombuffer(decision.theta, "<f8")
    sums = zip(GROUPING.names, GROUPING.sums(moved[None])[0].tolist(), strict=True)
    return sorted(
        (Contribution(group, ITEM_GROUPS[group], amount) for group, amount in sums if amount),
        key=lambda each: -abs(each.contribution),
    )


def _source_choice(decision: LoggedDecision) -> SourceChoice | None:
    if decision.source == NO_SOURCE:
        return None
    # The greedy action has 1 - epsilon more than the others.
    is_exploration = decision.source_probability < decision.epsilon / decision.mask.bit_count() + _SAME
    name = SOURCE_NAMES[decision.source]
    return SourceChoice(name, decision.source_probability, is_exploration and decision.epsilon < 1.0)


def _shadow_slot(shadow: LoggedDecision, slot: int) -> ShadowSlot:
    if slot > len(shadow.slate):
        return ShadowSlot(shadow.policy, None, None)
    return ShadowSlot(shadow.policy, shadow.shortlist[shadow.slate[slot - 1]], shadow.propensities[slot - 1])


def _named_items(decisions: Iterable[LoggedDecision]) -> Iterator[str]:
    for decision in decisions:
        yield from decision.shortlist
        yield from chain.from_iterable(decision.left_out.values())


def _kind(policy: str, decisions: Decisions) -> str:
    name = decisions.q_filled_by if policy == Q_AGENT else policy
    return str({**CONTROLS, **decisions.policies}[name].__struct_config__.tag)


def _sentences(explained: DecisionExplanation) -> list[str]:
    """Puts an explanation into words, a sentence for each thing that there is to say."""
    shown, rival = explained.shown, explained.next_best
    item = _named(shown.item_id, explained.titles)
    says = [f"{explained.policy} showed {item} to {explained.user_id} in slot {explained.slot} {_how(explained)}."]
    if (chosen := explained.source_choice) is not None:
        by = "by exploration" if chosen.is_exploration else "as the best in this state of the session"
        says.append(f"It first chose the source {chosen.source} {by}, {chance(chosen.probability)}.")
    if rival is None:
        says.append("No other item was left.")
    elif shown.score is None or rival.score is None or explained.difference is None:
        says.append(
            f"The next was {_named(rival.item_id, explained.titles)}, {chance(rival.probability)}."
            " The policy estimates no rewards."
        )
    else:
        says.append(
            f"The next best was {_named(rival.item_id, explained.titles)}, {chance(rival.probability)}."
            f" The expected reward was {shown.score:.4f} against {rival.score:.4f}."
        )
        says += _for_and_against(explained.contributions)
        if shown.deviation is not None and rival.deviation is not None:
            says.append(
                f"A {explained.kind} policy also weighs how uncertain an estimate is: its deviation was"
                f" {shown.deviation:.4f} against {rival.deviation:.4f}."
            )
    says.append(f"It was a candidate: {shown.words} ({shown.source}).")
    for shadow in explained.shadows:
        would = "nothing"
        if shadow.item_id is not None:
            would = f"{_named(shadow.item_id, explained.titles)}, {chance(shadow.propensity or 0.0)}"
        says.append(f"{shadow.policy} would have shown {would}.")
    for each in explained.left_out:
        items = ", ".join(_named(item_id, explained.titles) for item_id in each.item_ids)
        says.append(f"Left out: {items}; {each.words} ({each.rule}).")
    if explained.model is not None:
        learned = f"version {explained.model_version}, {explained.examples:,.0f} examples"
        says.append(f"The model was {explained.model}, {learned if explained.model_version else 'still untrained'}.")
    if not explained.is_reproduced:
        says.append(
            "The settings at hand do not give the logged propensities, so the chances of the other items are not those"
            " of the decision: use the worker's settings."
        )
    return says


def _named(item_id: str, titles: Mapping[str, str]) -> str:
    return f"{item_id} ({titles[item_id]})" if item_id in titles else item_id


def _how(explained: DecisionExplanation) -> str:
    probability = chance(explained.shown.probability)
    match explained.choice:
        case "only":
            return "because nothing else was left"
        case "even":
            return f"by an even draw, {probability}"
        case "exploration":
            return f"by exploration, {probability}"
        case "best":
            by = "the next in its order" if explained.model is None else "the best by the model"
            return f"as {by}, {probability}"


def _for_and_against(contributions: Sequence[Contribution]) -> list[str]:
    says = []
    for words, sign in (("For it", 1.0), ("Against it", -1.0)):
        named = [each for each in contributions if each.contribution * sign >= _SMALLEST_IN_WORDS][:_REASONS_IN_WORDS]
        if named:
            says.append(f"{words}: {', '.join(f'{each.words} {each.contribution:+.4f}' for each in named)}.")
    return says


def chance(probability: float) -> str:
    """Puts a probability into words.

    >>> chance(0.03), chance(0.0042), chance(0.997), chance(1.0)
    ('3 in 100', '4 in 1,000', '997 in 1,000', 'certain')
    """
    if probability >= _CERTAIN:
        return "certain" if probability >= 1.0 - _SAME else "almost certain"
    scale = 100 if 0.01 <= probability < 0.995 else 1000
    n = round(probability * scale)
    return f"{n} in {scale:,}" if n else "less than 1 in 1,000"
