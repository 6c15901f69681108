"""Listing: which items may be shown, from the shop's catalogue."""

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
        self._available: dict[str, bool] = {}

    def __len__(self) -> int:
        return len(self._available)

    def apply(self, records: Iterable[CatalogueRecord]) -> set[str]:
        """Applies records, in order; returns the items of which something changed."""
        changed = set()
        for record in records:
            item_id = record.item_id
            before = self._available.get(item_id)
            if isinstance(record, CatalogueItem):
                self._available[item_id] = record.available and self._excluded.isdisjoint(record.tags)
            else:
                self._available.pop(item_id, None)
            if self._available.get(item_id) != before:
                changed.add(item_id)
        return changed

    def hides(self, item_id: str) -> bool:
        """Returns whether retrieval may not propose an item."""
        return bool(self._available) and not self._available.get(item_id, False)

    def accepted(self, candidates: Sequence[str]) -> list[str]:
        """Returns those candidates of a caller that may be shown, in their order."""
        return [item_id for item_id in candidates if self._available.get(item_id, True)]
