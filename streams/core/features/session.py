"""The running session of a shopper."""

from typing import Final

import msgspec

MAX_SESSION_ITEMS: Final = 32


class Session(msgspec.Struct, array_like=True):
    """Counts since the session began.

    Attributes:
        items: Distinct items looked at, most recent last, at most :data:`MAX_SESSION_ITEMS`.
        last_kind: Kind of the last event.
    """

    start_ms: int = 0
    last_ms: int = 0
    events: int = 0
    views: int = 0
    searches: int = 0
    carts: int = 0
    removals: int = 0
    purchases: int = 0
    impressions: int = 0
    clicks: int = 0
    items: list[str] = msgspec.field(default_factory=list)
    last_kind: str = ""

    def look(self, item: str) -> list[str]:
        """Notes an item that is looked at; returns the items before it, nearest first, without itself."""
        if item in self.items:
            self.items.remove(item)
        before = self.items[:-4:-1]
        self.items.append(item)
        del self.items[:-MAX_SESSION_ITEMS]
        return before
