"""What a shopper's own event leaves in the row: windows, session, leanings, and what it says of items."""

from typing import Final

from streams.contract.events import Event
from streams.core.features.windows import Windows
from streams.core.relating import Relating
from streams.core.row import UserRow

_WINDOWED: Final = {"view": 0, "search": 1, "add_to_cart": 2, "purchase": 3}
_SPEND: Final = 4
_LEANING: Final = {"view": 1.0, "click": 1.0, "add_to_cart": 3.0, "purchase": 5.0}


def remember(offset: int, row: UserRow, event: Event, now_ms: int, windows: Windows, relating: Relating) -> int:
    """Applies an event to windows, session and affinities, and tells of its item.

    Args:
        now_ms: Time of the shopper's latest event, this one included.

    Returns:
        How often the item had been looked at before.
    """
    kind = event.kind
    column = _WINDOWED.get(kind)
    if column is None:
        windows.slide(row.rings, now_ms)
    else:
        windows.add(row.rings, event.timestamp_ms, now_ms, column, 1)
    if kind == "purchase" and event.price is not None:
        windows.add(row.rings, event.timestamp_ms, now_ms, _SPEND, event.price * (event.quantity or 1))
    session = row.session
    session.last_ms = max(session.last_ms, event.timestamp_ms)
    session.events += 1
    session.last_kind = kind
    session.last_offset = offset
    if weight := _LEANING.get(kind):
        row.affinities.lean(now_ms, event.category, event.price, weight)
    if kind == "search":
        session.searches += 1
        return 0
    return _remember_item(offset, row, event, now_ms, relating)


def _remember_item(offset: int, row: UserRow, event: Event, now_ms: int, relating: Relating) -> int:
    session, affinities, kind, item_id = row.session, row.affinities, event.kind, event.item_id
    if item_id is None:
        return 0
    if kind == "view":
        session.views += 1
        relating.add(offset, event, item_id, kind, session.look(item_id))
        return affinities.look(item_id)
    if kind == "add_to_cart":
        session.carts += 1
        row.cart_ms = now_ms
        affinities.put_in_cart(item_id)
        relating.add(offset, event, item_id, kind, [])
    elif kind == "remove_from_cart":
        session.removals += 1
        affinities.take_from_cart(item_id)
    elif kind == "purchase":
        session.purchases += 1
        row.purchase_ms = now_ms
        affinities.take_from_cart(item_id)
        relating.add(offset, event, item_id, kind, session.buy(item_id))
    return 0
