"""``[decisions.rules]``: items that may not be shown, and how many of one category."""

from typing import Annotated

from msgspec import Meta

from streams.contract.settings.sections import Section


class Rules(Section, frozen=True):
    """What keeps items out of slates, of retrieval's proposals and of a caller's candidates.

    ``max_per_category`` takes items out between the slots of a slate, the other rules before its first slot. Retrieval
    knows nothing of it and proposes at most 20 items, which may all be of one category. So in a small shop a slate will
    often have fewer items than slots.

    Attributes:
        exclude_tags: Tags of the shop's catalogue; an item that has one of them is shown to nobody.
        hide_purchased: A shopper does not see the last 32 items again that they purchased while this was set.
        max_per_category: Items of one category in a slate; 0 for any number. An item's category is that of the shop's
            catalogue, or of its events where the catalogue has none. Items without a category are not limited.
        no_repeat_s: A shopper does not see an item again for so long after its impression; 0 repeats any. Of the last
            64 items that were shown.
    """

    exclude_tags: tuple[str, ...] = ()
    hide_purchased: bool = False
    max_per_category: Annotated[int, Meta(ge=0)] = 0
    no_repeat_s: Annotated[int, Meta(ge=0)] = 0
