"""User row: the whole state of one shopper."""

from collections.abc import Collection
from typing import Any, Final, Literal

import msgspec

from streams.contract.event_kinds import Kind
from streams.contract.events import Event
from streams.contract.row_format import RowFormat, VersionedRow
from streams.core.behaviour.recent_ids import TIME_BYTES, id_hash
from streams.core.features.affinities import Affinities
from streams.core.features.session import Session
from streams.core.features.windows import Ring
from streams.core.retrieval.context import ShopperContext

MAX_PREDICTION_POINTS: Final = 128
"""Prediction points that wait for labels; what is served beyond is counted as dropped."""

MAX_DECISIONS: Final = 8
MAX_CLOSED: Final = 8
MAX_PURCHASED: Final = 32
MAX_SHOWN: Final = 64


class LearningSample(msgspec.Struct, array_like=True):
    """What the models of a prediction point's targets will learn from.

    Attributes:
        targets: Bit ``k`` is set if target ``k`` learns from this point.
        vector: float32, ``(n_features,)``.
        scores: Target's number to the probabilities, or amounts, of its models, what served first; NaN before the
            models had learned.
        models: Target's number to the names of these models.
    """

    targets: int
    vector: bytes = b""
    scores: dict[int, list[float]] = msgspec.field(default_factory=dict)
    models: dict[int, list[str]] = msgspec.field(default_factory=dict)

    def keep(self, vector: bytes, scores: dict[int, list[float]], models: dict[int, list[str]]) -> None:
        """Stores the vector, and of the sampled targets the scores."""
        self.vector = vector
        self.scores = {number: each for number, each in scores.items() if self.targets >> number & 1}
        self.models = {number: each for number, each in models.items() if self.targets >> number & 1}


class PredictionPoint(msgspec.Struct, array_like=True):
    """An event at which predictions were served whose labels are not final; targets are numbered as in the settings.

    Attributes:
        offset: Source offset of the event.
        waiting: Bit ``k`` is set while the label of target ``k`` is not final.
        subject: Category viewed at the event, if a label rule compares with it.
        shown_ms: Event time of the impression of the decision made at the event; 0 before.
        served: float32, ``(n_targets,)``: what was served, NaN where nothing was predicted.
        from_prior: Bit ``k`` is set if target ``k`` had no model yet and its prior was served.
        labels: Target's number to its label, where an event has changed it.
        sample: ``None`` at a point that no target learns from.
    """

    offset: int
    opened_ms: int
    waiting: int
    subject: str = ""
    shown_ms: int = 0
    served: bytes = b""
    from_prior: int = 0
    labels: dict[int, float | None] = msgspec.field(default_factory=dict)
    sample: LearningSample | None = None

    def serve(self, served: bytes, from_prior: int) -> None:
        """Stores what was served."""
        self.served, self.from_prior = served, from_prior


class Credit(msgspec.Struct, array_like=True):
    """A reward that a slot has earned so far.

    Attributes:
        type: Index into :data:`~streams.contract.settings.rewards.REWARD_TYPES`.
        at_ms: Event time of the event that earned it.
    """

    slot: int
    type: int
    value: float
    at_ms: int


class OpenDecision(msgspec.Struct, array_like=True):
    """A decision that waits for its impression, then for rewards.

    Attributes:
        offset: Source offset of the event that it answers.
        decision_id: Id that feedback must echo.
        decided_ms: Event time of the decision.
        shown_ms: Event time of its impression, 0 before.
        deadline_ms: When its rewards are final; before the impression, when it is dropped.
        items: The slate, ``(n_slots,)``.
        features: A row for each slot, as :data:`~streams.core.policies.slate_features.SLOT_PACKING` packs it.
        seen: Bit ``k`` is set if slot ``k`` was shown.
        clicked: Bit ``k`` is set if slot ``k`` was clicked.
        policy: Policy that decided.
        credits: Rewards earned, at most one for each slot and type.
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

    def decide(self, decision_id: str, items: list[str], features: bytes) -> None:
        """Stores the slate."""
        self.decision_id, self.items, self.features = decision_id, items, features


class Transition(msgspec.Struct, array_like=True):
    """A decision of the Q agent, as the start of a transition; see :mod:`streams.core.behaviour.transitions`.

    Attributes:
        offset: Source offset of the event that it answers.
        decided_ms: Event time of the decision.
        state: State of the session.
        action: Candidate source that was chosen, or to show nothing; -1 until the decision is made.
        mask: Actions that were available.
        reward: Reward since the decision.
        shown: Whether its slate was seen.
    """

    offset: int
    decided_ms: int
    state: int
    action: int = -1
    mask: int = 0
    reward: float = 0.0
    shown: bool = False

    def decide(self, action: int, mask: int) -> None:
        """Stores the action."""
        self.action, self.mask = action, mask


class LastEvent(msgspec.Struct, array_like=True):
    """The last event with a prediction: the fields that the feature vector reads; the other state is in the row.

    Attributes:
        previous_ms: Time of the event before it, 0 for none.
        item_views_before: Views of its item before it.
        slate_score: Expected rewards of the slate decided at it; ``None`` before, and where none is decided.
    """

    kind: Kind
    category: str | None
    price: float | None
    previous_ms: int
    item_views_before: int
    slate_score: float | None = None

    def decide(self, slate_score: float) -> None:
        """Stores the slate's score."""
        self.slate_score = slate_score


class UserRow(VersionedRow):
    """One shopper.

    Attributes:
        applied_offset: Highest source offset applied to this row.
        deadline_ms: Earliest deadline of open predictions, open decisions and the session's end; 0 for none.
        open_transitions: The Q agent's open transition, and the decision that may take effect next.
        exposures: Policy to the number of slots that it has shown to this shopper, and of clicks on them; confidence
            intervals are clustered by shopper.
        recent_ids: Ids of the last events, see :mod:`streams.core.behaviour.recent_ids`.
        closed: Offsets of the last decisions that were closed, to distinguish late feedback from unjoinable feedback.
        minute: Latest minute of event time, since the epoch.
        minute_events: Events counted in that minute.
        last_event: Last event with a prediction, ``None`` before the first.
        purchased: Items that were purchased, last one last; kept for the rule ``hide_purchased`` only.
        shown: Item to the event time of its last impression, last one last; kept for the rule ``no_repeat_s`` only.
    """

    schema: Literal[3] = 3
    last_ms: int = 0
    cart_ms: int = 0
    purchase_ms: int = 0
    session: Session = msgspec.field(default_factory=Session)
    affinities: Affinities = msgspec.field(default_factory=Affinities)
    rings: list[Ring] = msgspec.field(default_factory=list)
    recent_ids: bytes = b""
    prediction_points: list[PredictionPoint] = msgspec.field(default_factory=list)
    decisions: list[OpenDecision] = msgspec.field(default_factory=list)
    open_transitions: list[Transition] = msgspec.field(default_factory=list)
    exposures: dict[str, list[int]] = msgspec.field(default_factory=dict)
    closed: list[int] = msgspec.field(default_factory=list)
    minute: int = 0
    minute_events: int = 0
    last_event: LastEvent | None = None
    purchased: list[str] = msgspec.field(default_factory=list)
    shown: dict[str, int] = msgspec.field(default_factory=dict)


_RECENT_IDS: Final = UserRow.__struct_fields__.index("recent_ids")


def _with_hashes(fields: list[Any]) -> list[Any]:
    """Hashes the ids of schema 1, which were the last 8, without their times."""
    fields[_RECENT_IDS] = b"".join(id_hash(event_id) + bytes(TIME_BYTES) for event_id in fields[_RECENT_IDS])
    return fields


def _as_they_are(fields: list[Any]) -> list[Any]:
    """Leaves the fields of schema 2, to which schema 3 adds some at the end."""
    return fields


USER_ROWS: Final = RowFormat(UserRow, "a shopper's row", [_with_hashes, _as_they_are])


def shopper_context(row: UserRow, event: Event, now_ms: int, excluded: Collection[str] = ()) -> ShopperContext:
    """Returns the context of an event that has been applied; it shares dictionaries with the row and changes with it.

    Args:
        excluded: Items that may not be shown.
    """
    affinities = row.affinities
    return ShopperContext(
        item_id=event.item_id,
        category=event.category,
        views=affinities.items,
        cart_items=affinities.cart,
        session_items=row.session.items[::-1],
        category_shares=affinities.shares(),
        usual_log_price=affinities.log_price,
        timestamp_ms=now_ms,
        excluded=excluded,
    )
