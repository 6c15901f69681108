"""The running session of a shopper."""

from typing import Final

import msgspec

MAX_SESSION_ITEMS: Final = 32
MAX_SESSION_BOUGHT: Final = 8


class Session(msgspec.Struct, array_like=True):
    """Counts since the session began.

    Attributes:
        items: Distinct items viewed, most recent last, at most :data:`MAX_SESSION_ITEMS`.
        last_kind: Kind of the last event.
        bought: Distinct items bought, last one last, at most :data:`MAX_SESSION_BOUGHT`.
        last_offset: Its offset in the source partition.
        ended: Whether predictions were made at its end.
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
    bought: list[str] = msgspec.field(default_factory=list)
    last_offset: int = -1
    ended: bool = False

    def record_view(self, item: str) -> list[str]:
        """Adds a viewed item; returns the items before it, nearest first.

        The same item twice in a row is a reloaded page: it returns nothing.
        """
        if self.items and self.items[-1] == item:
            return []
        if item in self.items:
            self.items.remove(item)
        before = self.items[:-4:-1]
        self.items.append(item)
        del self.items[:-MAX_SESSION_ITEMS]
        return before

    def record_purchase(self, item: str) -> list[str]:
        """Adds a bought item; returns those bought before it, last first; none if it was bought already."""
        if item in self.bought:
            return []
        before = self.bought[::-1]
        self.bought.append(item)
        del self.bought[:-MAX_SESSION_BOUGHT]
        return before
