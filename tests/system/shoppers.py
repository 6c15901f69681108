"""What a shopper's row must say, counted from the events by plain Python: no panes, no rings, no engine."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Any, Final

from streams.contract.events import Event
from streams.contract.settings import Settings

SUMMED: Final = {"view": "views", "search": "searches", "add_to_cart": "carts", "purchase": "purchases"}
ORGANIC: Final = frozenset({*SUMMED, "remove_from_cart", "rating"})
_IN_SESSION: Final = {**SUMMED, "remove_from_cart": "removals"}


def by_user(events: Iterable[Event]) -> dict[str, list[Event]]:
    """Events by user, each user's in order."""
    users: dict[str, list[Event]] = defaultdict(list)
    for event in events:
        if event.user_id is not None:
            users[event.user_id].append(event)
    return dict(users)


def windows(events: Sequence[Event], settings: Settings) -> dict[str, dict[str, float]]:
    """Sums over each declared window that ends with the pane of the user's last event."""
    organic = [event for event in events if event.kind in ORGANIC]
    last_ms = max(event.timestamp_ms for event in organic)
    sums = {}
    for window in settings.windows:
        pane_ms = window.pane_s * 1000
        first = last_ms // pane_ms - window.panes + 1
        inside = [event for event in organic if event.timestamp_ms // pane_ms >= first]
        sums[window.name] = {
            **{name: sum(event.kind == kind for event in inside) for kind, name in SUMMED.items()},
            "spend": sum((event.price or 0.0) * (event.quantity or 1) for event in inside if event.kind == "purchase"),
        }
    return sums


def session(events: Sequence[Event], settings: Settings) -> dict[str, Any]:
    """Counts since the last gap, of a shopper who was shown nothing."""
    gap_ms = settings.time.session_gap_s * 1000
    current: list[Event] = []
    last_ms = -gap_ms - 1.0
    for event in events:
        if event.timestamp_ms - last_ms > gap_ms:
            current = []
            last_ms = event.timestamp_ms
        current.append(event)
        last_ms = max(last_ms, event.timestamp_ms)
    counts = {name: sum(event.kind == kind for event in current) for kind, name in _IN_SESSION.items()}
    return {"start_ms": current[0].timestamp_ms, "last_ms": last_ms, "events": len(current), **counts}
