"""Kinds of events: the only list, with what each needs and what becomes of it."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final, Literal, NamedTuple

Kind = Literal[
    "view", "search", "add_to_cart", "remove_from_cart", "purchase", "impression", "click", "rating", "decide", "tick"
]
Role = Literal["behaviour", "opinion", "feedback", "request", "time"]
"""Behaviour and opinions change the shopper's row; predictions are made at behaviour. Feedback joins a decision. A
request asks for one and is nothing that the shopper did. Time passes with every event; a kind of role ``time`` does
nothing else."""


class EventKind(NamedTuple):
    """One kind of event.

    Attributes:
        required: Fields that it needs besides ``event_id``, ``timestamp_ms`` and ``kind``.
    """

    role: Role
    required: tuple[str, ...] = ()


KINDS: Final[Mapping[Kind, EventKind]] = MappingProxyType(
    {
        "view": EventKind("behaviour", ("user_id", "item_id")),
        "search": EventKind("behaviour", ("user_id", "query")),
        "add_to_cart": EventKind("behaviour", ("user_id", "item_id")),
        "remove_from_cart": EventKind("behaviour", ("user_id", "item_id")),
        "purchase": EventKind("behaviour", ("user_id", "item_id")),
        "impression": EventKind("feedback", ("user_id", "decision_id")),
        "click": EventKind("feedback", ("user_id", "decision_id", "item_id", "position")),
        "rating": EventKind("opinion", ("user_id", "item_id", "rating")),
        "decide": EventKind("request", ("user_id",)),
        "tick": EventKind("time"),
    }
)
EVENT_KINDS: Final[tuple[Kind, ...]] = tuple(KINDS)


def kinds_of(*roles: Role) -> tuple[Kind, ...]:
    """Returns the kinds of these roles.

    >>> kinds_of("feedback", "request")
    ('impression', 'click', 'decide')
    """
    return tuple(kind for kind, each in KINDS.items() if each.role in roles)


PREDICTED: Final = frozenset(kinds_of("behaviour"))
"""Kinds at which predictions are made."""
ASKING: Final = kinds_of("behaviour", "request")
"""Kinds at which ``decisions.at`` may have a decision made."""
