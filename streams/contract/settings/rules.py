"""``[decisions.rules]``: items that may not be shown."""

from typing import Annotated

from msgspec import Meta

from streams.contract.settings.sections import Section


class Rules(Section, frozen=True):
    """Items that are taken out before a slate is drawn, of retrieval's proposals and of a caller's candidates.

    Attributes:
        exclude_tags: Tags of the shop's catalogue; an item that has one of them is shown to nobody.
        hide_purchased: A shopper does not see the last 32 items again that they purchased while this was set.
        no_repeat_s: A shopper does not see an item again for so long after its impression; 0 repeats any. Of the last
            64 items that were shown.
    """

    exclude_tags: tuple[str, ...] = ()
    hide_purchased: bool = False
    no_repeat_s: Annotated[int, Meta(ge=0)] = 0
