"""Attribution of impressions, clicks, carts and purchases to the decisions of a shopper, and their final rewards.

An impression and a click echo the decision's id. A cart or a purchase needs no echo: it is credited once, to the open
decision that showed the item last, among those whose impression is not later than it.
"""

from enum import Enum
from typing import Final, NamedTuple

from streams.contract.events import Event
from streams.contract.records import event_ref
from streams.contract.settings import Decisions
from streams.contract.settings.rewards import REWARD_TYPES, Reward
from streams.contract.topics import CLICKSTREAM
from streams.core.behaviour.row import MAX_CLOSED, MAX_DECISIONS, Credit, OpenDecision, UserRow
from streams.core.sums import float_sum

_CLICK, _CART, _PURCHASE, _MARGIN = range(len(REWARD_TYPES))
EARNED_BY: Final = {"add_to_cart": (_CART,), "purchase": (_PURCHASE, _MARGIN)}


class JoinFailure(Enum):
    """Reason why feedback was not joined: its window is over, or it echoes no decision of this shopper."""

    LATE = "late"
    UNJOINABLE = "unjoinable"


class Credited(NamedTuple):
    """What became of a cart or a purchase.

    Attributes:
        counters: Names of the counters that go up by one.
        policy: That of the decision which showed the item; ``None`` where none did in time.
    """

    counters: list[str]
    policy: str | None = None


class SlotReward(NamedTuple):
    """Final reward of one slot of a slate.

    Attributes:
        reward: Weighted sum, as declared in the settings.
        by_type: Reward of each of :data:`~streams.contract.settings.rewards.REWARD_TYPES`.
    """

    slot: int
    reward: float
    by_type: list[float]


class Attribution:
    """Joins a shopper's events with their open decisions.

    Args:
        partition: Clickstream partition; its offsets identify the decisions.
    """

    def __init__(self, settings: Decisions, partition: int) -> None:
        self._impression_window_ms = settings.impression_window_s * 1000
        self._rewards = settings.rewards.by_type
        self._windows_ms = [reward.window_s * 1000 for reward in self._rewards]
        self._margin_rate = settings.rewards.margin_rate
        self._partition = partition

    def open(self, row: UserRow, offset: int, now_ms: int, policy: str) -> tuple[OpenDecision, OpenDecision | None]:
        """Opens a decision, still without a slate; returns it, and the oldest one if that was displaced."""
        decision = OpenDecision(offset, now_ms, now_ms + self._impression_window_ms, policy=policy)
        row.decisions.append(decision)
        if len(row.decisions) <= MAX_DECISIONS:
            return decision, None
        displaced = row.decisions.pop(0)
        _close(row, [displaced])
        return decision, displaced

    def join_impression(self, row: UserRow, event: Event) -> tuple[OpenDecision, list[int]] | JoinFailure:
        """Joins an impression; returns the decision and the slots that were seen for the first time."""
        decision = self._find(row, event)
        if isinstance(decision, JoinFailure):
            return decision
        slot = None if event.item_id is None else _slot(decision, event)
        if event.item_id is not None and slot is None:
            return JoinFailure.UNJOINABLE
        if event.timestamp_ms > decision.deadline_ms:
            return JoinFailure.LATE
        slots = range(len(decision.items)) if slot is None else (slot,)
        seen = [slot for slot in slots if not decision.seen >> slot & 1]
        for slot in seen:
            decision.seen |= 1 << slot
        if not decision.shown_ms:
            decision.shown_ms = event.timestamp_ms
            decision.deadline_ms = event.timestamp_ms + max(self._windows_ms)
        return decision, seen

    def join_click(self, row: UserRow, event: Event) -> tuple[OpenDecision, bool] | JoinFailure:
        """Joins a click; returns the decision and whether this is the slot's first click."""
        decision = self._find(row, event)
        if isinstance(decision, JoinFailure):
            return decision
        slot = _slot(decision, event)
        if slot is None or not decision.seen >> slot & 1:
            return JoinFailure.UNJOINABLE
        if not self._credit(decision, slot, _CLICK, 1.0, event.timestamp_ms):
            return JoinFailure.LATE
        first = not decision.clicked >> slot & 1
        decision.clicked |= 1 << slot
        return decision, first

    def credit(self, row: UserRow, event: Event) -> Credited:
        """Credits a cart or a purchase to the decision that showed the item last."""
        types = EARNED_BY.get(event.kind)
        if types is None:
            return Credited([])
        at_ms = event.timestamp_ms
        showed = [
            (decision.shown_ms, place, slot)
            for place, decision in enumerate(row.decisions)
            if decision.shown_ms <= at_ms
            for slot, item_id in enumerate(decision.items)
            if item_id == event.item_id and decision.seen >> slot & 1
        ]
        if not showed:
            return Credited([])
        _, place, slot = max(showed)
        counters, policy = [], None
        for type_ in types:
            value = 1.0
            if type_ == _MARGIN:
                if event.price is None:
                    counters.append("margins_unknown")
                    continue
                value = event.price * (event.quantity or 1) * self._margin_rate
            earned = self._credit(row.decisions[place], slot, type_, value, at_ms)
            counters.append(f"{'rewards' if earned else 'late_rewards'}.{REWARD_TYPES[type_]}")
            if earned and type_ != _MARGIN:
                policy = row.decisions[place].policy
        return Credited(counters, policy)

    def mature(self, row: UserRow, watermark_ms: int) -> list[OpenDecision]:
        """Removes and returns the decisions whose last window has closed; the rewards of shown ones are final."""
        due = [decision for decision in row.decisions if decision.deadline_ms <= watermark_ms]
        if due:
            row.decisions = [decision for decision in row.decisions if decision.deadline_ms > watermark_ms]
            _close(row, due)
        return due

    def rewards(self, decision: OpenDecision) -> list[SlotReward]:
        """Sums the rewards of each slot that was seen."""
        earned = {slot: [0.0] * len(REWARD_TYPES) for slot in range(len(decision.items)) if decision.seen >> slot & 1}
        for credit in decision.credits:
            earned[credit.slot][credit.type] = credit.value
        weights = [reward.weight for reward in self._rewards]
        return [
            SlotReward(slot, float_sum(weight * value for weight, value in zip(weights, values, strict=True)), values)
            for slot, values in earned.items()
        ]

    def _credit(self, decision: OpenDecision, slot: int, type_: int, value: float, at_ms: int) -> bool:
        """Adds a reward to a slot; returns ``False`` if its window is over."""
        if at_ms > decision.shown_ms + self._windows_ms[type_]:
            return False
        for credit in decision.credits:
            if (credit.slot, credit.type) == (slot, type_):
                _aggregate(credit, self._rewards[type_], value, at_ms)
                return True
        decision.credits.append(Credit(slot, type_, value, at_ms))
        return True

    def _find(self, row: UserRow, event: Event) -> OpenDecision | JoinFailure:
        echoed = event.decision_id or ""
        for decision in row.decisions:
            if decision.decision_id == echoed:
                return decision
        closed = (f"{event_ref(CLICKSTREAM, self._partition, offset)}." for offset in row.closed)
        return JoinFailure.LATE if echoed.startswith(tuple(closed)) else JoinFailure.UNJOINABLE


def _aggregate(credit: Credit, reward: Reward, value: float, at_ms: int) -> None:
    match reward.aggregation:
        case "sum":
            credit.value += value
        case "earliest" if at_ms < credit.at_ms:
            credit.value, credit.at_ms = value, at_ms
        case "last" if at_ms >= credit.at_ms:
            credit.value, credit.at_ms = value, at_ms


def _close(row: UserRow, decisions: list[OpenDecision]) -> None:
    row.closed += [decision.offset for decision in decisions]
    del row.closed[:-MAX_CLOSED]


def _slot(decision: OpenDecision, event: Event) -> int | None:
    position = event.position
    if position is None:
        return decision.items.index(event.item_id) if event.item_id in decision.items else None
    fits = position < len(decision.items) and decision.items[position] == event.item_id
    return position if fits else None
