"""Feedback on a slate: what a shopper did with it, as the event that the worker joins."""

from hashlib import blake2b
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from streams.contract.event_kinds import KINDS
from streams.contract.events import Event, Identifier, Price, encode_event
from streams.contract.records import Recommendation
from streams.serving.problems import Problem
from streams.serving.slates import Slate, SlateMemory

RewardKind = Literal["impression", "click", "add_to_cart", "purchase"]


class RewardRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Body of ``POST /v1/reward``.

    Attributes:
        item_id: Left out for an ``impression`` of the whole slate.
        position: Slot of the item, 0 is the first; found in the slate if it is left out.
        value: Price of the item.
        user_id: Needed for a decision that this door does not remember.
        event_id: By default the same for the same decision, kind, item and slot, so that sending it again counts once.
    """

    decision_id: Identifier
    kind: RewardKind
    item_id: Identifier | None = None
    position: Annotated[int, Meta(ge=0, lt=100)] | None = None
    value: Price | None = None
    user_id: Identifier | None = None
    event_id: Identifier | None = None


def reward_event(request: RewardRequest, memory: SlateMemory, now_ms: int) -> bytes:
    """Makes the event of a reward, encoded.

    Raises:
        Problem: 409, the shopper or the slot of a click is not known.
    """
    slate: Slate | None = memory.decision(request.decision_id)
    decision = None if slate is None else slate.decoded()
    user_id = request.user_id if decision is None else decision.user_id
    if user_id is None:
        raise Problem(
            409, "unknown-decision", "this door does not remember the decision; send the user_id of the shopper, too"
        )
    position = _position(request, decision)
    if position is None and "position" in KINDS[request.kind].required:
        raise Problem(
            409, "unknown-slot", "the item is not in a slate that this door remembers; send its position, too"
        )
    event = Event(
        event_id=request.event_id or _event_id(request, position),
        timestamp_ms=now_ms,
        kind=request.kind,
        user_id=user_id,
        item_id=request.item_id,
        price=request.value,
        decision_id=request.decision_id,
        position=position,
    )
    return encode_event(event)


def _position(request: RewardRequest, decision: Recommendation | None) -> int | None:
    if request.position is not None or request.item_id is None or decision is None:
        return request.position
    if request.kind not in ("impression", "click"):
        return None
    items = [item.item_id for item in decision.items]
    return items.index(request.item_id) if request.item_id in items else None


def _event_id(request: RewardRequest, position: int | None) -> str:
    parts = (request.decision_id, request.kind, request.item_id, position)
    return f"reward-{blake2b(msgspec.json.encode(parts), digest_size=16).hexdigest()}"
