"""What retrieval is measured against: a shortlist that knows nothing of the shopper."""

from typing import Final

from streams.core.retrieval.catalogue import Catalogue
from streams.core.retrieval.context import Known
from streams.core.retrieval.shortlist import KINDS, Shortlist

_POPULAR: Final = KINDS.index("popular")


def popular_shortlist(catalogue: Catalogue, asked: Known, size: int) -> Shortlist:
    """Proposes the most popular items, at most ``size``, never the current one."""
    items = [item for item in catalogue.popular if item != asked.item][:size]
    return Shortlist(items, [_POPULAR] * len(items))
