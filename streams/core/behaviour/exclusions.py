"""Items that the rules keep from a shopper: what they purchased, and what they were shown a short time ago."""

from typing import Final

from streams.contract.settings.rules import Rules
from streams.core.behaviour.row import MAX_PURCHASED, MAX_SHOWN, UserRow

HIDE_PURCHASED: Final = "hide_purchased"
NO_REPEAT: Final = "no_repeat_s"


class Exclusions:
    """The rules that depend on a shopper's past; a rule that is off keeps nothing in the row."""

    def __init__(self, rules: Rules) -> None:
        self._hides_purchased = rules.hide_purchased
        self._no_repeat_ms = rules.no_repeat_s * 1000

    def purchase(self, row: UserRow, item_id: str) -> None:
        """Remembers that an item was purchased."""
        if self._hides_purchased:
            if item_id in row.purchased:
                row.purchased.remove(item_id)
            row.purchased.append(item_id)
            del row.purchased[:-MAX_PURCHASED]

    def show(self, row: UserRow, item_id: str, at_ms: int) -> None:
        """Remembers that an item was shown."""
        if self._no_repeat_ms:
            at_ms = max(at_ms, row.shown.pop(item_id, 0))
            row.shown[item_id] = at_ms
            while len(row.shown) > MAX_SHOWN:
                del row.shown[next(iter(row.shown))]

    def excluded(self, row: UserRow, now_ms: int) -> dict[str, str]:
        """Returns the items that may not be shown now, each with its rule, and forgets what may be shown again."""
        if not (row.purchased or row.shown):
            return {}
        since_ms = now_ms - self._no_repeat_ms
        row.shown = {item_id: at_ms for item_id, at_ms in row.shown.items() if at_ms > since_ms}
        shown = dict.fromkeys(row.shown, NO_REPEAT)
        return shown | dict.fromkeys(row.purchased, HIDE_PURCHASED) if self._hides_purchased else shown
