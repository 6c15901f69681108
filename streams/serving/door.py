"""Web application of the door: its routes, and what holds for all of them."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from time import perf_counter, time
from typing import Any, Final, TypeVar

import msgspec
from aiohttp import web
from prometheus_client.exposition import choose_encoder

from streams.contract.catalogue import CatalogueItem
from streams.contract.errors import UndeliveredOutput
from streams.contract.settings import Settings
from streams.serving.budget import RETRY_AFTER_S, ByteBudget
from streams.serving.clickstream import EventLog, QueueFull
from streams.serving.contract import asyncapi, encoded, openapi
from streams.serving.cors import Origins
from streams.serving.endpoints import (
    ENDPOINTS,
    JSON,
    TEXT,
    ItemPath,
    Readiness,
    RecommendationsQuery,
    StreamQuery,
    TrackQuery,
)
from streams.serving.integers import as_integers
from streams.serving.items import SomeItems, item_records, removal
from streams.serving.keys import KeyCheck
from streams.serving.long_batches import LongBatches
from streams.serving.metrics import DoorMetrics
from streams.serving.page.page import Page
from streams.serving.problems import Problem
from streams.serving.ranking import Ranker, RankRequest, ShopItems
from streams.serving.rewards import RewardRequest, reward_event
from streams.serving.slates import SlateMemory
from streams.serving.stream import Followers
from streams.serving.submission import OPERATORS_ONLY, NewRecord, Receipt, Rejection, Submission, SubmissionParser
from streams.serving.tracking import TYPES, Batch, TrackReceipt, many_messages, one_message, tracked
from streams.serving.unread_answers import limit_unread

InputT = TypeVar("InputT")
ValueT = TypeVar("ValueT")
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

_log: Final = logging.getLogger(__name__)
_EVENT_STREAM: Final = {"Content-Type": "text/event-stream", "Cache-Control": "no-store", "X-Accel-Buffering": "no"}
_OTHER: Final = "other"
_LINGERING_S: Final = 0.5
"""How long the rest of a body that was refused is read, so that its sender reads the answer."""
_decode_rank: Final = msgspec.json.Decoder(RankRequest).decode
_decode_item: Final = msgspec.json.Decoder(CatalogueItem).decode
_decode_items: Final = msgspec.json.Decoder(SomeItems).decode
_decode_reward: Final = msgspec.json.Decoder(RewardRequest).decode
_OPEN_PATHS: Final = frozenset(endpoint.path for endpoint in ENDPOINTS if endpoint.is_open)
_CROSS_ORIGIN_PATHS: Final = frozenset(
    path for endpoint in ENDPOINTS if endpoint.is_cross_origin for path in (endpoint.path, *endpoint.aliases)
)


class Door:
    """Endpoints of one process.

    Args:
        events: Where accepted events go.
        memory: Slates that were read, and who waits for one.
        items: What the shop has, and what is shown where there is no slate.
        not_followed: Says what was not read yet.
        page: What people see of the shop; ``None`` for no page.
        clock_ms: Milliseconds since the epoch, UTC.
    """

    def __init__(
        self,
        settings: Settings,
        events: EventLog,
        memory: SlateMemory,
        items: ShopItems,
        not_followed: Callable[[], list[str]],
        page: Page | None = None,
        clock_ms: Callable[[], int] = lambda: int(time() * 1000),
    ) -> None:
        self._settings = settings.serve
        self._openapi, self._asyncapi = encoded(openapi(settings)), encoded(asyncapi(settings))
        self._keys = KeyCheck(settings.serve)
        self._parser = SubmissionParser(settings)
        self._budget = ByteBudget(settings.serve.inflight_bytes)
        self._ranker = Ranker(settings, self._parser, events, memory, items)
        self._events = events
        self._long_batches = LongBatches(events, settings.serve.remembered)
        self._origins = Origins(settings.serve.cors_origins)
        self._items = items
        self._followers = Followers(settings)
        self._memory = memory
        self._not_followed = not_followed
        self._page = page
        self._clock_ms = clock_ms
        self._is_ending = False
        self.metrics = DoorMetrics()
        self.metrics.held_bytes.set_function(lambda: self._budget.held)
        self.metrics.waiting.set_function(lambda: memory.waiting)

    def application(self) -> web.Application:
        """Makes the application."""
        app = web.Application(client_max_size=self._settings.body_bytes, middlewares=[self._answer])
        handlers: dict[str, Handler] = {
            "post_events": self._post_events,
            "post_track": self._post_track,
            "post_batch": self._post_batch,
            "post_rank": self._post_rank,
            "get_recommendations": self._get_recommendations,
            "post_reward": self._post_reward,
            "post_items": self._post_items,
            "get_item": self._get_item,
            "put_item": self._put_item,
            "delete_item": self._delete_item,
            "get_stream": self._get_stream,
            "get_healthz": self._get_healthz,
            "get_readyz": self._get_readyz,
            "get_metrics": self._get_metrics,
            "get_openapi": self._get_openapi,
            "get_asyncapi": self._get_asyncapi,
        }
        for endpoint in ENDPOINTS:
            # By default, a part of a path has no braces; an id of a shop may.
            path = endpoint.path.replace("}", ":[^/]+}")
            for each in (path, *endpoint.aliases):
                app.router.add_route(endpoint.method, each, handlers[endpoint.name])
                if endpoint.is_cross_origin:
                    app.router.add_route("OPTIONS", each, self._preflight)
        if self._page is not None:
            self._page.add_routes(app)
        app.on_response_prepare.append(self._prepare)
        return app

    def runner_options(self) -> dict[str, Any]:
        """Returns how connections are kept, for :class:`aiohttp.web.AppRunner`."""
        return {
            "access_log": None,
            "keepalive_timeout": self._settings.idle_timeout_s,
            "lingering_time": _LINGERING_S,
            "shutdown_timeout": self._settings.shutdown_timeout_s,
        }

    def end(self) -> None:
        """Makes the door not ready, so that no new requests are sent to it, and ends streams."""
        self._is_ending = True
        self._followers.end()
        if self._page is not None:
            self._page.broadcaster.end()

    # What holds for every request.

    @web.middleware
    async def _answer(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Checks the key, turns every error into problem details, and counts."""
        begun_s = perf_counter()
        resource = request.match_info.route.resource
        endpoint = _OTHER if resource is None else resource.canonical
        try:
            self._require_key(request)
            response = await handler(request)
        except Problem as problem:
            response = problem.response()
        except web.HTTPException as error:
            response = _problem_of(error).response()
        except (ConnectionError, asyncio.CancelledError):
            raise  # the client is gone
        except Exception:  # noqa: BLE001 - a fault in one request must not end the others
            _log.exception("%s %s failed", request.method, endpoint)
            response = Problem(500, "fault", "this is a fault of the server; its log has more").response()
        if request.path in _CROSS_ORIGIN_PATHS:
            response.headers.update(self._origins.headers(request))
        self.metrics.requests.labels(endpoint, str(response.status)).inc()
        self.metrics.seconds.labels(endpoint).observe(perf_counter() - begun_s)
        return response

    async def _prepare(self, request: web.Request, response: web.StreamResponse) -> None:
        limit_unread(request, self._settings.idle_timeout_s)
        response.headers["Server"] = "headrace"  # hides the libraries

    def _require_key(self, request: web.Request) -> None:
        # A browser asks without the key whether it may send a request.
        is_open = request.path in _OPEN_PATHS or request.method == "OPTIONS"
        is_open = is_open or (self._page is not None and self._page.is_open(request.path))
        if self._keys.is_required and not is_open and not self._keys.is_known(request.headers):
            raise Problem(
                401,
                "no-key",
                "send the secret key as X-API-Key, as a bearer token, or by basic authentication",
                headers={"WWW-Authenticate": 'Bearer realm="headrace"'},
            )

    async def _body(self, request: web.Request, *content_types: str) -> bytes:
        """Reads a whole JSON body, of content type JSON or another one of those given.

        Raises:
            Problem: It is of another type, too large, too slow, or cut off.
        """
        if request.content_type not in {JSON, *content_types}:
            raise Problem(415, "not-json", f"the content type is {request.content_type}; send {JSON}")
        try:
            async with asyncio.timeout(self._settings.body_timeout_s):
                return await request.read()
        except TimeoutError as error:
            raise _closing(408, "too-slow", "the body did not arrive in time") from error
        except (web.RequestPayloadError, ValueError) as error:
            raise _closing(400, "malformed", "the body is cut off, or not packed as its headers say") from error

    def _size_of(self, request: web.Request) -> int:
        """Returns how many bytes a request may hold: what it announces, unless it is packed or comes in chunks."""
        limit = self._settings.body_bytes
        if request.content_length is None or "Content-Encoding" in request.headers:
            return limit
        return min(request.content_length, limit)

    async def _append(self, records: list[NewRecord]) -> None:
        await self._delivered(self._events.append(records))

    async def _delivered(self, appending: Awaitable[object]) -> None:
        try:
            await appending
        except QueueFull as error:
            raise Problem(429, "too-busy", "the queue is full", retry_after_s=RETRY_AFTER_S) from error
        except UndeliveredOutput as error:
            _log.warning("events were not delivered: %s", error)
            raise Problem(
                503,
                "not-delivered",
                "the broker did not acknowledge all events; send the request again with the same event ids",
                retry_after_s=RETRY_AFTER_S,
            ) from error

    # The endpoints.

    async def _post_events(self, request: web.Request) -> web.StreamResponse:
        """Appends one event or an array of events to clickstream, and answers when all replicas have them."""
        with self._budget.holding(self._size_of(request)):
            body = await self._body(request)
            # Where a key is required, a request without it has been refused by now.
            submitted = self._parser.parse(body, self._clock_ms(), is_operator=self._keys.is_required)
            await self._append(submitted.records)
        return self._receipt(submitted)

    def _receipt(self, submitted: Submission) -> web.Response:
        self.metrics.accepted.inc(submitted.accepted)
        self._count_rejected(submitted.rejected)
        return _json(Receipt(submitted.accepted, submitted.rejected), _status(submitted))

    async def _post_track(self, request: web.Request) -> web.StreamResponse:
        """Maps one message to events, and appends them to clickstream."""
        name = request.path.rpartition("/")[2]
        [default_type] = [type_ for type_ in TYPES if name in (type_, type_[0])]
        return await self._take(request, one_message, default_type)

    async def _post_batch(self, request: web.Request) -> web.StreamResponse:
        """Maps messages to events, and appends them to clickstream."""
        return await self._take(request, many_messages, TYPES[0])

    async def _take(
        self, request: web.Request, read: Callable[[bytes], Batch], default_type: str
    ) -> web.StreamResponse:
        self._origins.require(request)
        query = _decoded(lambda values: msgspec.convert(values, TrackQuery, strict=False), dict(request.query))
        with self._budget.holding(self._size_of(request)):
            batch = read(await self._body(request, TEXT))
            found = await tracked(batch, self._parser, self._clock_ms(), default_type)
            self._count_rejected(found.rejected)
            if query.strict and (found.rejected or found.unknown):
                return _json(TrackReceipt(0, found.rejected, found.unknown, found.skipped), 400)
            await self._delivered(self._long_batches.append(found.records))
        self.metrics.accepted.inc(len(found.records))
        return _json(found.receipt())

    async def _preflight(self, request: web.Request) -> web.StreamResponse:
        """Answers a browser's question whether a page may send messages."""
        return self._origins.preflight(request)

    def _count_rejected(self, rejected: list[Rejection]) -> None:
        for rejection in rejected:
            self.metrics.rejected.labels(rejection.reason).inc()

    async def _post_rank(self, request: web.Request) -> web.StreamResponse:
        """Decides on a slate, and answers with it, or from memory when it takes too long."""
        with self._budget.holding(self._size_of(request)):
            asked = _decoded_body(_decode_rank, await self._body(request))
            ranking = await self._ranker.rank(asked, self._clock_ms())
        self.metrics.rankings.labels(ranking.source).inc()
        return _json(ranking)

    async def _get_recommendations(self, request: web.Request) -> web.StreamResponse:
        """Returns the last slate of a user from memory, or popular items."""
        if len(request.query) > len(set(request.query)):
            raise Problem(422, "invalid", "a parameter is there twice")
        given = {**request.query, "user_id": request.match_info["user_id"]}
        query = _decoded(lambda values: msgspec.convert(values, RecommendationsQuery, strict=False), given)
        since_ms = self._clock_ms() - int(1000 * query.max_age_s)
        return _json(self._ranker.latest(query.user_id, query.n or None, query.surface or None, since_ms))

    async def _post_reward(self, request: web.Request) -> web.StreamResponse:
        """Appends what a shopper did with a slate to clickstream."""
        with self._budget.holding(self._size_of(request)):
            reward = _decoded_body(_decode_reward, await self._body(request))
            now_ms = self._clock_ms()
            event = reward_event(reward, self._memory, now_ms)
            submitted = self._parser.parse(event, now_ms, is_operator=False)
            await self._append(submitted.records)
        return self._receipt(submitted)

    async def _post_items(self, request: web.Request) -> web.StreamResponse:
        """Appends items to the catalogue."""
        with self._budget.holding(self._size_of(request)):
            given = _decoded_body(_decode_items, await self._body(request))
            items = [given] if isinstance(given, CatalogueItem) else given
            await self._append(item_records(items))
        return _json(Receipt(len(items), []), 202)

    async def _get_item(self, request: web.Request) -> web.StreamResponse:
        """Returns an item of the catalogue."""
        item_id = _item_id(request)
        item = self._items.listed(item_id)
        if item is None:
            raise Problem(
                404, "no-such-item", f"the catalogue has no item {item_id!r}, or this door has not read it yet"
            )
        return _json(item)

    async def _put_item(self, request: web.Request) -> web.StreamResponse:
        """Appends an item to the catalogue."""
        item_id = _item_id(request)
        with self._budget.holding(self._size_of(request)):
            item = _decoded_body(_decode_item, await self._body(request))
            if item.item_id != item_id:
                raise Problem(409, "other-item", f"the path is that of {item_id!r}, the body of {item.item_id!r}")
            await self._append(item_records([item]))
        return _json(Receipt(1, []), 202)

    async def _delete_item(self, request: web.Request) -> web.StreamResponse:
        """Appends a tombstone to the catalogue."""
        with self._budget.holding(0):
            await self._append([removal(_item_id(request))])
        return _json(Receipt(1, []), 202)

    async def _get_stream(self, request: web.Request) -> web.StreamResponse:
        """Follows topics until the client goes, or the door ends."""
        query = _decoded(lambda values: msgspec.convert(values, StreamQuery, strict=False), dict(request.query))
        last_id = request.headers.get("Last-Event-ID", "")
        follower = await self._followers.open(query.topics.split(","), query.user_id or None, last_id)
        response = web.StreamResponse(headers=_EVENT_STREAM)
        try:
            await response.prepare(request)
            await response.write(b": following\n\n")
            while (events := await self._followers.read(follower)) is not None:
                await response.write(events)
        finally:
            await self._followers.close(follower)
        return response

    async def _get_healthz(self, request: web.Request) -> web.StreamResponse:
        """Says that the process answers."""
        return _json(Readiness("ok", []))

    async def _get_readyz(self, request: web.Request) -> web.StreamResponse:
        """Says whether the door takes requests, and if not, why."""
        why = ["it is ending"] if self._is_ending else self._events.reasons_not_ready() + self._not_followed()
        return _json(Readiness("not ready" if why else "ok", why), 503 if why else 200)

    async def _get_metrics(self, request: web.Request) -> web.StreamResponse:
        """Returns the door's numbers in Prometheus' format."""
        encode, content_type = choose_encoder(request.headers.get("Accept", ""))
        return web.Response(body=encode(self.metrics.registry), headers={"Content-Type": content_type})

    async def _get_openapi(self, request: web.Request) -> web.StreamResponse:
        """Returns the contract of the door."""
        return web.Response(body=self._openapi, content_type=JSON)

    async def _get_asyncapi(self, request: web.Request) -> web.StreamResponse:
        """Returns the contract of the topics."""
        return web.Response(body=self._asyncapi, content_type=JSON)


def _item_id(request: web.Request) -> str:
    return _decoded(lambda values: msgspec.convert(values, ItemPath), dict(request.match_info)).item_id


def _status(submitted: Submission) -> int:
    if submitted.accepted or not submitted.rejected:
        return 202
    # What a schema cannot say: who may send it, and when.
    reasons = {each.reason for each in submitted.rejected}
    return 403 if reasons == {OPERATORS_ONLY} else 409 if reasons <= {"ahead", "behind"} else 422


def _closing(status: int, reason: str, detail: str) -> Problem:
    return Problem(status, reason, detail, headers={"Connection": "close"})


def _problem_of(error: web.HTTPException) -> Problem:
    """Turns an error of the library into ours."""
    match error:
        case web.HTTPNotFound():
            return Problem(404, "no-such-path", "there is no such path; /openapi.json lists all")
        case web.HTTPMethodNotAllowed():
            allowed = ", ".join(sorted(error.allowed_methods))
            return Problem(405, "wrong-method", f"this path takes {allowed}", headers={"Allow": allowed})
        case web.HTTPRequestEntityTooLarge():
            return _closing(413, "too-large", "the body is larger than serve.body_bytes; send fewer events at once")
        case _:
            return Problem(error.status, "refused", error.reason)


def _decoded_body(decode: Callable[[bytes], ValueT], body: bytes) -> ValueT:
    """Decodes a body, with numbers like ``5.0`` for integers, too."""
    try:
        return _decoded(decode, body)
    except Problem as problem:
        rewritten = as_integers(body, problem.detail)
        if rewritten is None:
            raise
        return _decoded(decode, rewritten)


def _decoded(decode: Callable[[InputT], ValueT], given: InputT) -> ValueT:
    """Decodes a body or parameters.

    Raises:
        Problem: 400 for what is no JSON, 422 for what has a wrong type or range.
    """
    try:
        return decode(given)
    except msgspec.ValidationError as error:
        raise Problem(422, "invalid", str(error)) from error
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Problem(400, "malformed", str(error)) from error


def _json(value: object, status: int = 200) -> web.Response:
    return web.Response(body=msgspec.json.encode(value), status=status, content_type=JSON)
