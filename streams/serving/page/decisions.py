"""Newest decisions, each with what its shopper did before and after."""

import re
from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from typing import Final, TypeVar

import msgspec

from streams.contract.errors import UnreadableSource
from streams.contract.records import LoggedDecision, Recommendation, RecommendedItem, decode_logged_decision
from streams.contract.settings import Decisions as Policies
from streams.core.retrieval.shortlist import reason_of
from streams.evaluation.decision_explanation import DecisionExplanation, explain_decision
from streams.serving.page.shoppers import Act, Shoppers

ValueT = TypeVar("ValueT")

KEPT: Final = 10_000
"""Decisions that are kept, and as many of their log: half a minute of 1,000 events/s, in about 40 MB."""
_PINNED: Final = 200
"""Decisions that somebody may look at, which are kept beyond it."""
_BEFORE: Final = 4
_FEEDBACK: Final = {"click": "clicked", "add_to_cart": "cart", "purchase": "bought"}


class Slot(msgspec.Struct, frozen=True):
    """One slot of a slate.

    Attributes:
        outcome: Furthest step of the shopper with the item since: clicked, cart or bought; empty for none.
    """

    item_id: str
    title: str
    score: float | None
    propensity: float
    reason: str
    outcome: str


class Before(msgspec.Struct, frozen=True):
    """An event before a decision."""

    kind: str
    what: str


class ListedDecision(msgspec.Struct, frozen=True):
    """A decision as the page lists it.

    Attributes:
        before: The shopper's last events up to the one that asked, oldest first.
        shown: Whether an impression was reported.
    """

    decision_id: str
    user_id: str
    timestamp_ms: int
    policy: str
    before: list[Before]
    slots: list[Slot]
    shown: bool
    surface: str | None


class LoggedItem(msgspec.Struct, frozen=True):
    """An item of a shortlist.

    Attributes:
        slot: Where it was shown, 0 is the first; ``None`` where it was not.
        propensity: Probability of that slot, given the slots before it; ``None`` where it was not drawn.
    """

    item_id: str
    title: str
    reason: str
    slot: int | None
    score: float | None
    propensity: float | None


class DecisionDetail(msgspec.Struct, frozen=True, kw_only=True):
    """All that the topics have of a decision.

    Attributes:
        why: Of each slot, sentences that say why its item was shown; empty where the log does not tell.
        shortlist: Empty where the decision was not logged.
        shadows: Policy to the slate that it would have shown, as titles.
        probabilities: Target to what was predicted of the shopper last.
        reasons: Target to the groups of features that moved it the most, in log-odds.
    """

    decision: ListedDecision
    why: list[list[str]]
    shortlist: list[LoggedItem]
    shadows: dict[str, list[str]]
    probabilities: dict[str, float]
    amounts: dict[str, float]
    reasons: dict[str, list[tuple[str, float]]]
    model_versions: dict[str, int]
    sampling_rate: float | None
    epsilon: float | None


class _Id(msgspec.Struct, frozen=True, array_like=True):
    """The first field of a logged decision; the rest is decoded when somebody asks for it."""

    decision_id: str


class _Kept:
    __slots__ = ("before", "decision", "outcomes", "shown")

    def __init__(self, decision: Recommendation) -> None:
        self.decision = decision
        self.before: list[Act] | None = None
        self.shown = False
        self.outcomes: dict[str, str] = {}


_decode_id: Final = msgspec.msgpack.Decoder(_Id).decode


class Decisions:
    """The last decisions, at most :data:`KEPT`.

    Args:
        titles: Item to its title in the shop's catalogue.
        policies: Settings of the policies.
    """

    def __init__(self, shoppers: Shoppers, titles: Mapping[str, str], policies: Policies) -> None:
        self._shoppers = shoppers
        self._titles = titles
        self._policies = policies
        self._kept: OrderedDict[str, _Kept] = OrderedDict()
        self._logged: OrderedDict[str, bytes] = OrderedDict()
        self._last_of: OrderedDict[str, str] = OrderedDict()
        self._pinned: OrderedDict[str, None] = OrderedDict()

    def take(self, decision: Recommendation) -> None:
        """Adds a decision; one that is there already keeps its outcome."""
        if decision.decision_id in self._kept:
            return
        self._put(self._kept, decision.decision_id, _Kept(decision))
        self._put(self._last_of, decision.user_id, decision.decision_id)

    def take_log(self, value: bytes) -> None:
        """Adds the log of a decision, or of what a shadow would have shown.

        Raises:
            msgspec.DecodeError: It is none.
        """
        self._put(self._logged, _decode_id(value).decision_id, value)

    def take_act(self, act: Act) -> None:
        """Adds what a shopper did to the decision that it followed."""
        decision_id = act.decision_id or self._last_of.get(act.user_id or "")
        kept = self._kept.get(decision_id or "")
        if kept is None:
            return
        if act.kind == "impression":
            kept.shown = True
        elif act.kind in _FEEDBACK and any(item.item_id == act.item_id for item in kept.decision.items):
            kept.outcomes[act.item_id or ""] = _FEEDBACK[act.kind]

    def newest(self, user_id: str | None = None, policy: str | None = None, source: str | None = None) -> Iterator[str]:
        """Yields the ids of decisions, newest first, of one user, policy or candidate source if they are given."""
        for decision_id, kept in reversed(self._kept.items()):
            decision = kept.decision
            if (
                (user_id is None or decision.user_id == user_id)
                and (policy is None or decision.policy == policy)
                and (source is None or any(item.reason == source for item in decision.items))
            ):
                yield decision_id

    def last_of(self, user_id: str) -> str | None:
        """Returns the id of a user's last decision."""
        return self._last_of.get(user_id)

    def listed(self, decision_id: str) -> ListedDecision | None:
        """Describes a decision; ``None`` for one that is not kept any more."""
        kept = self._kept.get(decision_id)
        if kept is None:
            return None
        decision = kept.decision
        return ListedDecision(
            decision.decision_id,
            decision.user_id,
            decision.timestamp_ms,
            decision.policy,
            [Before(act.kind, self._what(act)) for act in self._before(kept)],
            [self._slot(item, kept.outcomes) for item in decision.items],
            kept.shown,
            decision.surface,
        )

    def _before(self, kept: _Kept) -> list[Act]:
        """Returns the shopper's last events before a decision; they are kept once the one that asked is there."""
        if kept.before is not None:
            return kept.before
        at_ms, shopper = kept.decision.timestamp_ms, self._shoppers.find(kept.decision.user_id)
        acts = [act for act in shopper.acts if act.timestamp_ms <= at_ms][-_BEFORE:] if shopper else []
        if acts and acts[-1].timestamp_ms == at_ms:
            kept.before = acts
        return acts

    def detail(self, decision_id: str) -> DecisionDetail | None:
        """Collects what the topics have of a decision; ``None`` for one that is not kept any more."""
        listed = self.listed(decision_id)
        if listed is None:
            return None
        value = self._logged.get(decision_id)
        log = decode_logged_decision(value) if value is not None else None
        shadows = self._shadows(decision_id)
        explained = self._explained(log, shadows) if log else []
        shopper = self._shoppers.find(listed.user_id)
        expected = shopper.expected if shopper else None
        return DecisionDetail(
            decision=listed,
            why=[self._in_titles(each.sentences, log.shortlist if log else []) for each in explained],
            shortlist=self._shortlist(log, explained) if log else [],
            shadows={each.policy: [self.title(each.shortlist[place]) for place in each.slate] for each in shadows},
            probabilities=expected.probabilities if expected else {},
            amounts=expected.amounts if expected else {},
            reasons={
                target: [(reason.group, reason.contribution) for reason in reasons]
                for target, reasons in (expected.reasons if expected else {}).items()
            },
            model_versions=(expected.model_versions if expected else {}) | (log.model_versions if log else {}),
            sampling_rate=log.sampling_rate if log else None,
            epsilon=log.epsilon if log else None,
        )

    def pin(self, decision_id: str) -> None:
        """Keeps a decision until 200 others were pinned."""
        self._pinned[decision_id] = None
        if len(self._pinned) > _PINNED:
            self._pinned.popitem(last=False)

    def title(self, item_id: str) -> str:
        return self._titles.get(item_id, item_id)

    def _put(self, entries: OrderedDict[str, ValueT], key: str, value: ValueT) -> None:
        entries[key] = value
        while len(entries) > KEPT:
            oldest, kept = entries.popitem(last=False)
            # The log of a shadow has the decision's id, a slash and the policy.
            if oldest.partition("/")[0] in self._pinned:
                entries[oldest] = kept

    def _slot(self, item: RecommendedItem, outcomes: Mapping[str, str]) -> Slot:
        outcome = outcomes.get(item.item_id, "")
        return Slot(item.item_id, self.title(item.item_id), item.score, item.propensity, item.reason, outcome)

    def _what(self, act: Act) -> str:
        return self.title(act.item_id) if act.item_id is not None else act.query or ""

    def _explained(self, log: LoggedDecision, shadows: Sequence[LoggedDecision]) -> list[DecisionExplanation]:
        """Explains each slot; none where the settings or the log lack what was decided by."""
        try:
            return [explain_decision(log, shadows, slot + 1, self._policies) for slot in range(len(log.slate))]
        except (UnreadableSource, ValueError):
            return []

    def _in_titles(self, sentences: Sequence[str], items: Sequence[str]) -> list[str]:
        """Names items by their titles."""
        named = [re.escape(item) for item in sorted(items, key=len, reverse=True) if item in self._titles]
        if not named:
            return [*sentences]
        pattern = re.compile(rf"(?<![\w-])(?:{'|'.join(named)})(?![\w-])")
        return [pattern.sub(lambda found: self.title(found[0]), sentence) for sentence in sentences]

    def _shortlist(self, log: LoggedDecision, explained: Sequence[DecisionExplanation]) -> list[LoggedItem]:
        slots = {place: slot for slot, place in enumerate(log.slate)}
        scores = {item.item_id: item.score for item in explained[0].items} if explained else {}
        found = []
        for place, item_id in enumerate(log.shortlist):
            slot = slots.get(place)
            propensity = log.propensities[slot] if slot is not None else None
            reason = reason_of(log.sources[place])
            found.append(LoggedItem(item_id, self.title(item_id), reason, slot, scores.get(item_id), propensity))
        return found

    def _shadows(self, decision_id: str) -> list[LoggedDecision]:
        prefix = f"{decision_id}/"
        return [decode_logged_decision(value) for each, value in self._logged.items() if each.startswith(prefix)]
