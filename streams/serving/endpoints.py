"""Endpoints of the door: the only list, from which routes and the OpenAPI document are made."""

from typing import Annotated, Any, Final, Literal, NamedTuple

import msgspec
from msgspec import UNSET, Meta, UnsetType

from streams.contract.catalogue import CatalogueItem
from streams.contract.events import Event, Identifier
from streams.serving.items import SomeItems
from streams.serving.ranking import Ranking, RankRequest, SlateSize
from streams.serving.rewards import RewardRequest
from streams.serving.submission import MAX_EVENTS, Receipt
from streams.serving.tracking import TYPES, Batch, TrackReceipt

JSON: Final = "application/json"
TEXT: Final = "text/plain"


class Readiness(msgspec.Struct, frozen=True):
    """Answer of a probe.

    Attributes:
        why: What is missing; empty for ``ok``.
    """

    status: Literal["ok", "not ready"]
    why: list[str]


class RecommendationsQuery(msgspec.Struct, frozen=True, kw_only=True):
    """Parameters of the request for a shopper's last slate.

    Attributes:
        max_age_s: An older slate is not returned.
    """

    user_id: Identifier
    n: SlateSize | UnsetType = UNSET
    surface: Identifier | UnsetType = UNSET
    max_age_s: Annotated[float, Meta(ge=0.0, le=1e9)] = 600.0


class ItemPath(msgspec.Struct, frozen=True, kw_only=True):
    """Parameters of a request about one item."""

    item_id: Identifier


class TrackQuery(msgspec.Struct, frozen=True, kw_only=True):
    """Parameters of a request with messages.

    Attributes:
        strict: Whether an event of an unknown name, or one that is refused, refuses the whole request.
    """

    strict: bool = False


class StreamQuery(msgspec.Struct, frozen=True, kw_only=True):
    """Parameters of a stream.

    Attributes:
        topics: Names with commas between.
        user_id: Only what is of this user.
    """

    topics: str = "recommendations"
    user_id: Identifier | UnsetType = UNSET


class Endpoint(NamedTuple):
    """One endpoint.

    Attributes:
        name: Of its handler, and its operation's id.
        body: Type of the request's body, JSON.
        content_types: Of the body.
        aliases: More paths, for the libraries that use them.
        parameters: Their types; those in the path are among them.
        answers: Status to the type of the answer, JSON; ``None`` for text.
        problems: Statuses whose body is a problem, besides those of every endpoint.
        is_open: Whether it takes no key.
        content_type: Of answers that are no JSON.
        is_cross_origin: Whether pages of ``serve.cors_origins`` may call it.
    """

    name: str
    method: str
    path: str
    summary: str
    answers: dict[int, Any]
    body: Any = None
    parameters: type[msgspec.Struct] | None = None
    problems: tuple[int, ...] = ()
    is_open: bool = False
    content_types: tuple[str, ...] = (JSON,)
    aliases: tuple[str, ...] = ()
    is_cross_origin: bool = False
    content_type: str = "text/plain"


_OF_BODIES: Final = (400, 408, 413, 415, 429)
_OF_APPENDING: Final = (*_OF_BODIES, 503)

ENDPOINTS: Final = (
    Endpoint(
        "post_events",
        "POST",
        "/v1/events",
        "Appends one event or an array of events to clickstream, and answers when all replicas have them.",
        {202: Receipt, 403: Receipt, 409: Receipt, 422: Receipt},
        body=Event | Annotated[list[Event], Meta(max_length=MAX_EVENTS)],
        problems=(*_OF_APPENDING, 422),
    ),
    Endpoint(
        "post_track",
        "POST",
        "/v1/track",
        "Maps a message of Segment's and RudderStack's libraries to events, and appends them to clickstream.",
        {200: TrackReceipt, 400: TrackReceipt},
        body=dict[str, Any],
        parameters=TrackQuery,
        problems=(*_OF_APPENDING, 403, 422),
        content_types=(JSON, TEXT),
        aliases=tuple(f"/v1/{name}" for type_ in TYPES for name in (type_, type_[0]) if name != "track"),
        is_cross_origin=True,
    ),
    Endpoint(
        "post_batch",
        "POST",
        "/v1/batch",
        "Maps messages of Segment's and RudderStack's libraries to events, and appends them to clickstream.",
        {200: TrackReceipt, 400: TrackReceipt},
        body=Batch,
        parameters=TrackQuery,
        problems=(*_OF_APPENDING, 403, 422),
        content_types=(JSON, TEXT),
        aliases=("/v1/b",),
        is_cross_origin=True,
    ),
    Endpoint(
        "post_rank",
        "POST",
        "/v1/rank",
        "Decides on a slate, and answers with it, or from memory when it takes too long.",
        {200: Ranking},
        body=RankRequest,
        problems=(*_OF_BODIES, 422),
    ),
    Endpoint(
        "get_recommendations",
        "GET",
        "/v1/recommendations/{user_id}",
        "Returns the last slate of a user from memory, or popular items.",
        {200: Ranking},
        parameters=RecommendationsQuery,
        problems=(422,),
    ),
    Endpoint(
        "post_reward",
        "POST",
        "/v1/reward",
        "Appends what a shopper did with a slate to clickstream.",
        {202: Receipt, 422: Receipt},
        body=RewardRequest,
        problems=(*_OF_APPENDING, 409, 422),
    ),
    Endpoint(
        "post_items",
        "POST",
        "/v1/items",
        "Writes items of the shop's catalogue, each whole.",
        {202: Receipt},
        body=SomeItems,
        problems=(*_OF_APPENDING, 422),
    ),
    Endpoint(
        "get_item",
        "GET",
        "/v1/items/{item_id}",
        "Returns an item of the shop's catalogue, as far as this door has read it.",
        {200: CatalogueItem},
        parameters=ItemPath,
        problems=(404, 422),
    ),
    Endpoint(
        "put_item",
        "PUT",
        "/v1/items/{item_id}",
        "Writes an item of the shop's catalogue, whole.",
        {202: Receipt},
        body=CatalogueItem,
        parameters=ItemPath,
        problems=(*_OF_APPENDING, 409, 422),
    ),
    Endpoint(
        "delete_item",
        "DELETE",
        "/v1/items/{item_id}",
        "Takes an item out of the shop's catalogue.",
        {202: Receipt},
        parameters=ItemPath,
        problems=(422, 429, 503),
    ),
    Endpoint(
        "get_stream",
        "GET",
        "/v1/stream",
        "Follows public topics as server-sent events, from now on or from the header `Last-Event-ID`.",
        {200: None},
        parameters=StreamQuery,
        problems=(422, 429, 503),
        content_type="text/event-stream",
    ),
    Endpoint("get_healthz", "GET", "/healthz", "Says that the process answers.", {200: Readiness}, is_open=True),
    Endpoint(
        "get_readyz",
        "GET",
        "/readyz",
        "Says whether the door takes requests, and if not, why.",
        {200: Readiness, 503: Readiness},
        is_open=True,
    ),
    Endpoint("get_metrics", "GET", "/metrics", "Returns the door's numbers in Prometheus' format.", {200: None}),
    Endpoint("get_openapi", "GET", "/openapi.json", "Returns this document.", {200: dict[str, Any]}, is_open=True),
    Endpoint(
        "get_asyncapi",
        "GET",
        "/asyncapi.json",
        "Returns the AsyncAPI document of the topics.",
        {200: dict[str, Any]},
        is_open=True,
    ),
)
