"""Newest decisions, each with what its shopper did before and after."""

from collections import OrderedDict
from collections.abc import Iterator, Mapping
from typing import Final, TypeVar

import msgspec

from streams.contract.records import LoggedDecision, Recommendation, RecommendedItem, decode_logged_decision
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
        shortlist: Empty where the decision was not logged.
        shadows: Policy to the slate that it would have shown, as titles.
        probabilities: Target to what was predicted of the shopper last.
        reasons: Target to the features that moved it the most, in log-odds.
    """

    decision: ListedDecision
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
        source_names: Names of the candidate sources, in the order of their numbers.
    """

    def __init__(self, shoppers: Shoppers, titles: Mapping[str, str], source_names: tuple[str, ...]) -> None:
        self._shoppers = shoppers
        self._titles = titles
        self._source_names = source_names
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
        shopper = self._shoppers.find(listed.user_id)
        expected = shopper.expected if shopper else None
        return DecisionDetail(
            decision=listed,
            shortlist=self._shortlist(log, listed) if log else [],
            shadows=self._shadows(decision_id),
            probabilities=expected.probabilities if expected else {},
            amounts=expected.amounts if expected else {},
            reasons={
                target: [(reason.feature, reason.contribution) for reason in reasons]
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

    def _shortlist(self, log: LoggedDecision, listed: ListedDecision) -> list[LoggedItem]:
        slots = {place: slot for slot, place in enumerate(log.slate)}
        found = []
        for place, item_id in enumerate(log.shortlist):
            slot, source = slots.get(place), log.sources[place]
            found.append(
                LoggedItem(
                    item_id,
                    self.title(item_id),
                    self._source_names[source] if source >= 0 else "caller",
                    slot,
                    listed.slots[slot].score if slot is not None and slot < len(listed.slots) else None,
                    log.propensities[slot] if slot is not None else None,
                )
            )
        return found

    def _shadows(self, decision_id: str) -> dict[str, list[str]]:
        prefix, found = f"{decision_id}/", {}
        for logged_id, value in self._logged.items():
            if logged_id.startswith(prefix):
                log = decode_logged_decision(value)
                found[log.policy] = [self.title(log.shortlist[place]) for place in log.slate]
        return found
