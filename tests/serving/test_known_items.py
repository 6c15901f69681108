"""What a fallback shows: popular items that the shop offers."""

from streams.contract.catalogue import CatalogueItem, Delisted
from streams.contract.records import ItemSummary
from streams.contract.settings import Settings
from streams.serving.outputs import KnownItems


def seen(item_id: str, popularity: float) -> ItemSummary:
    return ItemSummary(item_id, "shoes", 79.9, 0, 0, popularity, 0.0, 0.0, [], [])


def test_popular_items_that_are_not_offered_are_left_out() -> None:
    items = KnownItems(Settings())
    items.apply([seen("boots", 1.0), seen("sandals", 3.0), seen("socks", 2.0)])
    assert items.popular(2) == ["sandals", "socks"]
    assert items.ordered(["boots", "new", "sandals"]) == ["sandals", "boots", "new"]

    items.apply_listing([CatalogueItem(item_id="socks"), CatalogueItem(item_id="sandals", available=False)])
    items.apply_listing([Delisted("boots")])
    assert items.popular(3) == ["socks"]
    assert items.ordered(["sandals", "socks"]) == ["socks"]


def test_a_callers_candidates_are_left_out_as_workers_do() -> None:
    items = KnownItems(Settings())
    items.apply([seen("boots", 1.0), seen("old", 2.0)])
    items.apply_listing([CatalogueItem(item_id="boots"), CatalogueItem(item_id="new", available=False)])
    assert items.ordered(["new", "boots", "old"]) == ["old", "boots"]
