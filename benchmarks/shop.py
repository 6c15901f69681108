"""A clickstream for benchmarks: sessions of many shoppers at once, and answers to what is recommended."""

from collections.abc import Iterator
from random import Random
from typing import Any, Final

from streams.contract.event_kinds import Kind
from streams.contract.events import Event
from streams.contract.records import Recommendation

START_MS: Final = 1_767_225_600_000
_KINDS: Final[tuple[Kind, ...]] = ("view", "search", "add_to_cart", "remove_from_cart", "purchase")
_WEIGHTS: Final = (80, 6, 9, 2, 3)
_CATEGORIES: Final = 40
_EVENTS_A_SESSION: Final = 12
_SESSIONS_AT_ONCE: Final = 400


class Shop:
    """Seeded; at any time some hundred shoppers have a session, the others are idle.

    Args:
        users: How many shoppers there are.
        items: How many items there are; few are looked at often, most seldom.
    """

    def __init__(self, users: int = 20_000, items: int = 5_000, seed: int = 1) -> None:
        self.now_ms = START_MS
        self._random = Random(seed)
        self._users = users
        self._items = items
        self._number = 0
        self._active = [self._shopper() for _ in range(_SESSIONS_AT_ONCE)]

    def events(self, count: int) -> Iterator[Event]:
        """Yields what shoppers do of their own accord."""
        random = self._random
        for _ in range(count):
            self.now_ms += random.randrange(120)
            self._number += 1
            place = random.randrange(len(self._active))
            if random.random() < 1 / _EVENTS_A_SESSION:
                self._active[place] = self._shopper()
            user, taste = self._active[place]
            kind = random.choices(_KINDS, _WEIGHTS)[0]
            item = self._item(taste)
            yield Event(
                event_id=f"e{self._number}",
                timestamp_ms=self.now_ms,
                kind=kind,
                user_id=f"user-{user}",
                item_id=None if kind == "search" else f"item-{item}",
                category=None if kind == "search" else f"category-{item % _CATEGORIES}",
                price=None if kind == "search" else 5.0 + item % 97,
                query="shoes" if kind == "search" else None,
            )

    def answers(self, recommended: Recommendation) -> Iterator[Event]:
        """Yields the impression of a slate that is seen, and now and then a click."""
        random = self._random
        if not recommended.items or random.random() < 0.5:
            return
        self._number += 1
        common: dict[str, Any] = {"user_id": recommended.user_id, "decision_id": recommended.decision_id}
        yield Event(event_id=f"i{self._number}", timestamp_ms=self.now_ms, kind="impression", **common)
        if random.random() < 0.3:
            slot = random.randrange(len(recommended.items))
            item_id = recommended.items[slot].item_id
            yield Event(
                event_id=f"c{self._number}",
                timestamp_ms=self.now_ms,
                kind="click",
                item_id=item_id,
                position=slot,
                **common,
            )

    def _shopper(self) -> tuple[int, int]:
        return self._random.randrange(self._users), self._random.randrange(_CATEGORIES)

    def _item(self, taste: int) -> int:
        item = int(self._items * self._random.random() ** 3)
        return item if self._random.random() < 0.4 else item - item % _CATEGORIES + taste
