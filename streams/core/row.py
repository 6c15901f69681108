"""The user's row: all that Headrace remembers of one shopper, as one value."""

from typing import Final

import msgspec

from streams.contract.events import Event, Kind
from streams.core.features.affinities import Affinities
from streams.core.features.session import Session
from streams.core.features.vector import feature_vector
from streams.core.features.windows import Ring
from streams.core.retrieval.context import Context

ROW_SCHEMA: Final = 2
MAX_EVENT_IDS: Final = 8
MAX_MOMENTS: Final = 8
MAX_DECISIONS: Final = 8
MAX_CLOSED: Final = 8


class OpenPrediction(msgspec.Struct, array_like=True):
    """A prediction that waits for its label.

    Attributes:
        deadline_ms: Its horizon's end; 0 while it waits for the impression that starts it.
        label: As of now; ``None`` where there is none.
        probabilities: Of the family's members, champion first, as served.
        subject: What an answer is compared with: the category that was looked at.
    """

    target: str
    deadline_ms: int
    label: float | None = 0.0
    probabilities: list[float] = msgspec.field(default_factory=list)
    members: list[str] = msgspec.field(default_factory=list)
    subject: str = ""


class Moment(msgspec.Struct, array_like=True):
    """A moment at which predictions were opened; they share its vector.

    Attributes:
        offset: Of the event, in the source partition.
        vector: float32, ``(n_features,)``.
    """

    offset: int
    opened_ms: int
    vector: bytes = b""
    predictions: list[OpenPrediction] = msgspec.field(default_factory=list)


class Credit(msgspec.Struct, array_like=True):
    """A reward that a slot has earned so far.

    Attributes:
        type: Index into :data:`~streams.contract.rewards.REWARD_TYPES`.
        at_ms: Event time of what earned it.
    """

    slot: int
    type: int
    value: float
    at_ms: int


class OpenDecision(msgspec.Struct, array_like=True):
    """A decision that waits to be shown, then for rewards.

    Attributes:
        offset: Of the event that it answers, in the source partition.
        decision_id: What feedback must echo.
        decided_ms: Event time of the decision.
        shown_ms: Event time of its impression, 0 before.
        deadline_ms: When its rewards are final; before the impression, when it is dropped.
        items: The slate, ``(n_slots,)``.
        features: float32, ``(n_slots, n_columns)``: the bandit's features, position, and whether the control chose.
        seen: Bit ``k`` where slot ``k`` was shown.
        clicked: Bit ``k`` where it was clicked.
        policy: Who decided.
        credits: What was earned, at most one of a slot and type.
    """

    offset: int
    decided_ms: int
    deadline_ms: int
    decision_id: str = ""
    shown_ms: int = 0
    items: list[str] = msgspec.field(default_factory=list)
    features: bytes = b""
    seen: int = 0
    clicked: int = 0
    policy: str = ""
    credits: list[Credit] = msgspec.field(default_factory=list)


class Transition(msgspec.Struct, array_like=True):
    """A decision of the Q agent, as the start of a transition; see :mod:`streams.core.transitions`.

    Attributes:
        offset: Of the event that it answers, in the source partition.
        decided_ms: Event time of the decision.
        state: The session's.
        action: The kind that was chosen, or to show nothing; -1 until the decision is made.
        mask: The actions that could be chosen.
        reward: What happened since.
        shown: Whether its slate was seen.
    """

    offset: int
    decided_ms: int
    state: int
    action: int = -1
    mask: int = 0
    reward: float = 0.0
    shown: bool = False


class Seen(msgspec.Struct, array_like=True):
    """What the feature vector reads of the last event that was predicted at; the rest of it is in the row.

    Attributes:
        previous_ms: Time of the event before it, 0 for none.
        item_views_before: How often its item had been looked at.
    """

    kind: Kind
    category: str | None
    price: float | None
    previous_ms: int
    item_views_before: int


class UserRow(msgspec.Struct, array_like=True):
    """One shopper.

    Attributes:
        guard: Highest source offset applied to this row.
        deadline_ms: When the first falls due of: open predictions, open decisions, the session's end; 0 for none.
        walk: The Q agent's open transition, and the decision that may take effect next.
        exposures: Policy to the slots that it has shown to this shopper, and the clicks on them; what its intervals are
            clustered by.
        event_ids: The last few, to drop what a retrying producer sends twice.
        closed: Offsets of the last decisions that were closed, to tell feedback that is late from what never fits.
        minute: Of event time, since the epoch: the latest that an event came from.
        minute_events: Events that came since it began.
        seen: The last event that was predicted at, ``None`` before the first.
    """

    guard: int = -1
    deadline_ms: int = 0
    last_ms: int = 0
    cart_ms: int = 0
    purchase_ms: int = 0
    session: Session = msgspec.field(default_factory=Session)
    affinities: Affinities = msgspec.field(default_factory=Affinities)
    rings: list[Ring] = msgspec.field(default_factory=list)
    event_ids: list[str] = msgspec.field(default_factory=list)
    moments: list[Moment] = msgspec.field(default_factory=list)
    decisions: list[OpenDecision] = msgspec.field(default_factory=list)
    walk: list[Transition] = msgspec.field(default_factory=list)
    exposures: dict[str, list[int]] = msgspec.field(default_factory=dict)
    closed: list[int] = msgspec.field(default_factory=list)
    minute: int = 0
    minute_events: int = 0
    seen: Seen | None = None


def shopper_vector(row: UserRow, seen: Seen) -> list[float]:
    """Describes the shopper as of their last event, ``row.seen`` where that is known; ``(n_features,)``."""
    return feature_vector(
        seen,
        row.last_ms,
        row.rings,
        row.session,
        row.affinities,
        previous_ms=seen.previous_ms,
        cart_ms=row.cart_ms,
        purchase_ms=row.purchase_ms,
        item_views_before=seen.item_views_before,
    )


def shopper_context(row: UserRow, view: Event, now_ms: int) -> Context:
    """Describes the shopper at a view that has been applied; what it shares with the row changes with it."""
    affinities = row.affinities
    return Context(
        item_id=view.item_id,
        category=view.category,
        views=affinities.items,
        cart_items=affinities.cart,
        session_items=row.session.items[::-1],
        category_shares=affinities.shares(),
        usual_log_price=affinities.log_price,
        timestamp_ms=now_ms,
    )
