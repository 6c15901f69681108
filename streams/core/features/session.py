"""The running session of a shopper."""

from typing import Final

import msgspec

MAX_SESSION_ITEMS: Final = 32
MAX_SESSION_BOUGHT: Final = 8


class Session(msgspec.Struct, array_like=True):
    """Counts since the session began.

    Attributes:
        items: Distinct items looked at, most recent last, at most :data:`MAX_SESSION_ITEMS`.
        last_kind: Kind of the last event.
        bought: Distinct items bought, last one last, at most :data:`MAX_SESSION_BOUGHT`.
        last_offset: Its offset in the source partition.
        ended: Whether its end has been predicted at.
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

    def look(self, item: str) -> list[str]:
        """Notes an item that is looked at; returns those before it, nearest first, none where it is looked at again.

        The same item twice in a row is a page that was loaded again and says nothing of what leads to it.
        """
        if self.items and self.items[-1] == item:
            return []
        if item in self.items:
            self.items.remove(item)
        before = self.items[:-4:-1]
        self.items.append(item)
        del self.items[:-MAX_SESSION_ITEMS]
        return before

    def buy(self, item: str) -> list[str]:
        """Notes an item that is bought; returns what was bought before, last first, none if it is bought again."""
        if item in self.bought:
            return []
        before = self.bought[::-1]
        self.bought.append(item)
        del self.bought[:-MAX_SESSION_BOUGHT]
        return before
