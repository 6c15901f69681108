"""Update of a shopper's state by an event of their own: windows, session and affinities."""

from collections.abc import Sequence
from typing import Final, NamedTuple

from streams.contract.events import Event
from streams.core.behaviour.row import UserRow
from streams.core.features.windows import COLUMNS, SPEND, Windows

_AFFINITY_WEIGHTS: Final = {"view": 1.0, "click": 1.0, "add_to_cart": 3.0, "purchase": 5.0}


class StateUpdate(NamedTuple):
    """Result of an update, for the feature vector and the item signals.

    Attributes:
        item_views_before: Number of the shopper's earlier views of the item.
        is_signal: Whether the event is a signal of its item.
        related: Earlier items of the session, viewed like it or bought like it, nearest first.
    """

    item_views_before: int = 0
    is_signal: bool = False
    related: Sequence[str] = ()


_NOTHING: Final = StateUpdate()


def update_state(offset: int, row: UserRow, event: Event, now_ms: int, windows: Windows) -> StateUpdate:
    """Applies an event to windows, session and affinities, in place.

    Args:
        now_ms: Time of the shopper's latest event, this one included.
    """
    kind, session = event.kind, row.session
    column = COLUMNS.get(kind)
    if column is None:
        windows.slide(row.rings, now_ms)
    else:
        windows.add(row.rings, event.timestamp_ms, now_ms, column, 1)
    if kind == "purchase" and event.price is not None:
        windows.add(row.rings, event.timestamp_ms, now_ms, SPEND, event.price * (event.quantity or 1))
    session.last_ms = max(session.last_ms, event.timestamp_ms)
    session.events += 1
    session.last_kind = kind
    session.last_offset = offset
    if weight := _AFFINITY_WEIGHTS.get(kind):
        row.affinities.add_weight(now_ms, event.category, event.price, weight)
    if kind == "search":
        session.searches += 1
        return _NOTHING
    return _NOTHING if event.item_id is None else _update_item(row, kind, event.item_id, now_ms)


def _update_item(row: UserRow, kind: str, item_id: str, now_ms: int) -> StateUpdate:
    session, affinities = row.session, row.affinities
    match kind:
        case "view":
            session.views += 1
            related = session.record_view(item_id)
            return StateUpdate(affinities.record_view(item_id), is_signal=True, related=related)
        case "add_to_cart":
            session.carts += 1
            row.cart_ms = now_ms
            affinities.add_to_cart(item_id)
            return StateUpdate(is_signal=True)
        case "remove_from_cart":
            session.removals += 1
            affinities.remove_from_cart(item_id)
        case "purchase":
            session.purchases += 1
            row.purchase_ms = now_ms
            affinities.remove_from_cart(item_id)
            return StateUpdate(is_signal=True, related=session.record_purchase(item_id))
    return _NOTHING
