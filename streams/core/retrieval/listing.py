"""Listing: which items may be shown, and their categories, from the shop's catalogue."""

import sys
from collections.abc import Iterable, Sequence

from streams.contract.catalogue import CatalogueItem, CatalogueRecord


class Listing:
    """The catalogue global table, as far as it decides what is shown.

    A shop without a catalogue has an empty one: then everything may be shown. As soon as it lists anything, retrieval
    proposes listed items only, because the topic has no record of an item that was deleted long ago. A caller may name
    any item that is not listed as unavailable.

    Args:
        exclude_tags: An item with one of these tags counts as not available.
    """

    def __init__(self, exclude_tags: Iterable[str] = ()) -> None:
        self._excluded = frozenset(exclude_tags)
        self._listed: dict[str, str | None] = {}
        """Category of each listed item, empty for one without; ``None`` for an item that is not available."""

    def __len__(self) -> int:
        return len(self._listed)

    def apply(self, records: Iterable[CatalogueRecord]) -> set[str]:
        """Applies records, in order; returns the items whose availability or category changed."""
        changed = set()
        for record in records:
            item_id = record.item_id
            before = self._listed.get(item_id)
            if isinstance(record, CatalogueItem):
                is_available = record.available and self._excluded.isdisjoint(record.tags)
                # Items of one category share its name.
                self._listed[item_id] = sys.intern(record.category or "") if is_available else None
            else:
                self._listed.pop(item_id, None)
            if self._listed.get(item_id) != before:
                changed.add(item_id)
        return changed

    def hides(self, item_id: str) -> bool:
        """Returns whether retrieval may not propose an item."""
        return bool(self._listed) and self._listed.get(item_id) is None

    def accepted(self, candidates: Sequence[str]) -> list[str]:
        """Returns those candidates of a caller that may be shown, in their order."""
        return [item_id for item_id in candidates if self._listed.get(item_id, "") is not None]

    def category(self, item_id: str) -> str | None:
        """Returns the category that an available item is listed with."""
        return self._listed.get(item_id) or None
