"""What retrieval is measured against: a shortlist that knows nothing of the shopper."""

from typing import Final

from streams.core.retrieval.catalogue import Catalogue
from streams.core.retrieval.context import Context
from streams.core.retrieval.shortlist import KINDS, Shortlist

_POPULAR: Final = KINDS.index("popular")


def popular_shortlist(catalogue: Catalogue, context: Context, size: int) -> Shortlist:
    """Proposes the most popular items, at most ``size``, never the current one."""
    current = catalogue.find(context.item_id)
    items = [item for item in catalogue.popular if item != current][:size]
    return Shortlist(items, [_POPULAR] * len(items))
