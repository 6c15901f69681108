"""Feedback joins its decision in the user's row: impressions, clicks, and a reward that is final in time."""

from streams.contract.events import Event
from streams.contract.settings import Decisions
from streams.core.row import MAX_DECISIONS, OpenDecision, UserRow


class Feedback:
    """Joins impressions and clicks to one shopper's open decisions, by the decision_id that the shop echoes."""

    def __init__(self, settings: Decisions) -> None:
        self._impression_window_ms = settings.impression_window_s * 1000
        self._click_window_ms = settings.click_window_s * 1000

    def open(self, row: UserRow, offset: int, now_ms: int) -> tuple[OpenDecision, OpenDecision | None]:
        """Opens a decision that is yet to be made.

        Returns:
            It, and the oldest one if that had to make room.
        """
        decision = OpenDecision(offset, now_ms, now_ms + self._impression_window_ms)
        row.decisions.append(decision)
        return decision, row.decisions.pop(0) if len(row.decisions) > MAX_DECISIONS else None

    def impression(self, row: UserRow, event: Event) -> tuple[OpenDecision, list[int]] | None:
        """Joins an impression.

        Returns:
            The decision and the slots that are seen for the first time; ``None`` where there is no such decision.
        """
        decision = _find(row, event)
        if decision is None:
            return None
        if event.item_id is not None and _slot(decision, event) is None:
            return None
        slots = range(len(decision.items)) if event.item_id is None else [_slot(decision, event) or 0]
        seen = [slot for slot in slots if not decision.seen >> slot & 1]
        for slot in seen:
            decision.seen |= 1 << slot
        if not decision.shown_ms:
            decision.shown_ms = event.timestamp_ms
            decision.deadline_ms = event.timestamp_ms + self._click_window_ms
        return decision, seen

    def click(self, row: UserRow, event: Event) -> tuple[OpenDecision, bool] | None:
        """Joins a click.

        Returns:
            The decision and whether this is the slot's first click; ``None`` where nothing that was shown fits.
        """
        decision = _find(row, event)
        slot = None if decision is None else _slot(decision, event)
        if decision is None or slot is None or not decision.seen >> slot & 1:
            return None
        first = not decision.clicked >> slot & 1
        decision.clicked |= 1 << slot
        return decision, first

    def mature(self, row: UserRow, watermark_ms: int) -> list[OpenDecision]:
        """Takes out the decisions whose window has closed; those that were shown have their reward."""
        due = [decision for decision in row.decisions if decision.deadline_ms <= watermark_ms]
        if due:
            row.decisions = [decision for decision in row.decisions if decision.deadline_ms > watermark_ms]
        return due


def _find(row: UserRow, event: Event) -> OpenDecision | None:
    """The decision that an event answers in time: the watermark may leave it in the row for longer than its window."""
    answered = (decision for decision in row.decisions if decision.decision_id == event.decision_id)
    return next((decision for decision in answered if event.timestamp_ms <= decision.deadline_ms), None)


def _slot(decision: OpenDecision, event: Event) -> int | None:
    position = event.position
    if position is None:
        return decision.items.index(event.item_id) if event.item_id in decision.items else None
    fits = position < len(decision.items) and decision.items[position] == event.item_id
    return position if fits else None
