"""Routes of the page and the sample shop, which a door adds to its own."""

import asyncio
import csv
import io
import uuid
from collections.abc import Callable, Iterable
from importlib.resources import files
from time import time
from typing import Annotated, Final, TypeVar

import msgspec
from aiohttp import web
from msgspec import UNSET, Meta, UnsetType

from streams.contract.events import Identifier
from streams.contract.settings import Settings
from streams.contract.settings.policies import CONTROLS
from streams.core.experiments.assignment import assign
from streams.serving.keys import KeyCheck
from streams.serving.outputs import KnownItems
from streams.serving.page.reader import PageReader
from streams.serving.page.shoppers import ListedShopper
from streams.serving.page.state import PageState
from streams.serving.page.stream import Broadcaster, Viewer
from streams.serving.problems import Problem

QueryT = TypeVar("QueryT", bound=msgspec.Struct)

_HEADERS: Final = {
    "Content-Security-Policy": "default-src 'self'; frame-ancestors 'none'; base-uri 'none'; form-action 'self'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-cache",
}
_TYPES: Final = {"html": "text/html", "js": "text/javascript", "css": "text/css", "svg": "image/svg+xml"}
_DOCUMENTS: Final = {"/": "page.html", "/shop": "shop.html", "/help": "help.html"}
_STATIC: Final = "/page/static/"
_PREFIX: Final = "/page/"
_LOGIN: Final = "/login"
_CSV_ROWS: Final = 5_000
_FORMULA: Final = ("=", "+", "-", "@", "\t", "\r")
_TRIES: Final = 1000
_POPULAR: Final = 500


class EventsQuery(msgspec.Struct, frozen=True, kw_only=True):
    """Parameters of the stream; with a visitor it is that of the sample shop."""

    user_id: Identifier | UnsetType = UNSET


class DecisionsQuery(msgspec.Struct, frozen=True, kw_only=True):
    """Filters of the list of decisions; empty ones filter nothing."""

    user_id: str = ""
    policy: str = ""
    source: str = ""
    skip: Annotated[int, Meta(ge=0, le=1_000_000)] = 0
    n: Annotated[int, Meta(ge=1, le=100)] = 10


class DecisionQuery(msgspec.Struct, frozen=True, kw_only=True):
    """Parameter of the request for one decision."""

    id: Annotated[str, Meta(max_length=512)]


class Clock(msgspec.Struct, frozen=True):
    """The shop's time."""

    event_time_ms: int


class Visitor(msgspec.Struct, frozen=True):
    """A new visitor of the sample shop."""

    user_id: str
    policy: str


class Page:
    """The page of one door.

    Args:
        items: The items that the door knows.
        clock_ms: Milliseconds since the epoch, UTC.
    """

    def __init__(
        self, settings: Settings, items: KnownItems, clock_ms: Callable[[], int] = lambda: int(time() * 1000)
    ) -> None:
        self._settings = settings
        self._items = items
        self._clock_ms = clock_ms
        self._reader: PageReader | None = None
        self._keys = KeyCheck(settings.serve)
        self._files = _static_files()
        self.state = PageState(settings, items)
        self.broadcaster = Broadcaster(self.state, clock_ms)

    def follow(self, loop: asyncio.AbstractEventLoop) -> None:
        """Starts to read the topics."""
        self._reader = PageReader(self._settings, self.state.take, loop)

    async def close(self) -> None:
        """Ends what :meth:`follow` began."""
        if self._reader is not None:
            await self._reader.close()

    def is_open(self, path: str) -> bool:
        """Says whether a path takes no key. What names shoppers asks for it by itself."""
        return path in _DOCUMENTS or path == _LOGIN or path.startswith(_PREFIX)

    def add_routes(self, app: web.Application) -> None:
        """Adds the page's routes to a door's."""
        for path in _DOCUMENTS:
            app.router.add_get(path, self._get_document)
        app.router.add_get(_STATIC + "{name:.+}", self._get_static)
        app.router.add_get(_LOGIN, self._get_login)
        app.router.add_get("/page/events", self._get_events)
        app.router.add_get("/page/decisions", self._get_decisions)
        app.router.add_get("/page/decision", self._get_decision)
        app.router.add_get("/page/buyers.csv", self._get_buyers)
        app.router.add_get("/page/leavers.csv", self._get_leavers)
        app.router.add_get("/page/clock", self._get_clock)
        app.router.add_get("/page/shelf", self._get_shelf)
        app.router.add_get("/page/visitor", self._get_visitor)

    # Files.

    async def _get_document(self, request: web.Request) -> web.StreamResponse:
        return self._file(_DOCUMENTS[request.path])

    async def _get_static(self, request: web.Request) -> web.StreamResponse:
        return self._file(request.match_info["name"])

    def _file(self, name: str) -> web.Response:
        body = self._files.get(name)
        if body is None:
            raise web.HTTPNotFound
        content_type = _TYPES[name.rpartition(".")[2]]
        return web.Response(body=body, content_type=content_type, charset="utf-8", headers=_HEADERS)

    async def _get_login(self, request: web.Request) -> web.StreamResponse:
        """Has the browser ask for the key, which it then sends to all paths, and returns to the page."""
        if not self._may_name(request):
            challenge = {"WWW-Authenticate": 'Basic realm="headrace: the secret key is the password"'}
            raise Problem(401, "no-key", "give the secret key as the password", headers=challenge)
        return web.Response(status=303, headers={"Location": "/"})

    # Data.

    def _may_name(self, request: web.Request) -> bool:
        return not self._keys.is_required or self._keys.is_known(request.headers)

    def _require_names(self, request: web.Request) -> None:
        if not self._may_name(request):
            raise Problem(401, "no-key", "this names shoppers: open /login and give the secret key as the password")

    async def _get_events(self, request: web.Request) -> web.StreamResponse:
        query = _query(request, EventsQuery)
        user_id = query.user_id or None
        if user_id is not None:
            self._require_names(request)
        if self.broadcaster.is_full:
            raise Problem(429, "too-busy", "too many browsers look at the page; close one", retry_after_s=10)
        viewer = Viewer(user_id, is_named=self._may_name(request))
        response = web.StreamResponse(
            headers={"Content-Type": "text/event-stream", "Cache-Control": "no-store", "X-Accel-Buffering": "no"}
        )
        await response.prepare(request)
        await response.write(b"retry: 1000\n\n")
        with self.broadcaster.viewing(viewer):
            while news := await viewer.next():
                await response.write(news)
        return response

    async def _get_decisions(self, request: web.Request) -> web.StreamResponse:
        self._require_names(request)
        query, decisions = _query(request, DecisionsQuery), self.state.decisions
        found = decisions.newest(query.user_id or None, query.policy or None, query.source or None)
        ids = [each for place, each in enumerate(found) if query.skip <= place < query.skip + query.n]
        for decision_id in ids:
            decisions.pin(decision_id)
        return _json([decisions.listed(decision_id) for decision_id in ids])

    async def _get_decision(self, request: web.Request) -> web.StreamResponse:
        self._require_names(request)
        detail = self.state.decisions.detail(_query(request, DecisionQuery).id)
        if detail is None:
            raise Problem(404, "no-such-decision", "the page does not keep this decision, or not any more")
        return _json(detail)

    async def _get_buyers(self, request: web.Request) -> web.StreamResponse:
        self._require_names(request)
        event_ms = self.state.event_time_ms(self._clock_ms())
        return _csv("buyers", self.state.shoppers.likely_buyers(event_ms, _CSV_ROWS))

    async def _get_leavers(self, request: web.Request) -> web.StreamResponse:
        self._require_names(request)
        event_ms = self.state.event_time_ms(self._clock_ms())
        return _csv("leavers", self.state.shoppers.about_to_leave(event_ms, _CSV_ROWS))

    async def _get_clock(self, request: web.Request) -> web.StreamResponse:
        return _json(Clock(self.state.event_time_ms(self._clock_ms())))

    async def _get_shelf(self, request: web.Request) -> web.StreamResponse:
        return _json(self.state.products.shelf(self._items.popular(_POPULAR)))

    async def _get_visitor(self, request: web.Request) -> web.StreamResponse:
        """Makes up a visitor for whom the largest policy but the controls decides: a control's slate does not move."""
        shares = next(
            (each.experiment.shares for each in self.state.metrics.workers() if each.experiment is not None),
            self._settings.decisions.shares,
        )
        leader = max(sorted(set(shares) - set(CONTROLS)), key=lambda policy: shares[policy], default=None)
        for _ in range(_TRIES):
            user_id = f"visitor-{uuid.uuid4().hex[:8]}"
            policy = assign(user_id, shares, self._settings.decisions.salt)
            if policy == leader:
                break
        return _json(Visitor(user_id, policy))


def _static_files() -> dict[str, bytes]:
    """Reads all files that browsers may have; they are small."""
    folder = files(__package__) / "static"
    found = {each.name: each for each in folder.iterdir()}
    found |= {f"vendor/{each.name}": each for each in (folder / "vendor").iterdir()}
    return {name: each.read_bytes() for name, each in found.items() if name.rpartition(".")[2] in _TYPES}


def _query(request: web.Request, kind: type[QueryT]) -> QueryT:
    try:
        return msgspec.convert(dict(request.query), kind, strict=False)
    except msgspec.ValidationError as error:
        raise Problem(422, "invalid", str(error)) from error


def _json(value: object) -> web.Response:
    return web.Response(
        body=msgspec.json.encode(value), content_type="application/json", headers={"Cache-Control": "no-store"}
    )


def _csv(name: str, shoppers: Iterable[ListedShopper]) -> web.Response:
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(["user_id", "purchase_probability", "expected_spend", "idle_s", "cart_items", "last_event_ms"])
    for each in shoppers:
        writer.writerow(
            [_safe(each.user_id), each.probability, each.spend, round(each.idle_s, 3), each.cart, each.last_ms]
        )
    disposition = f'attachment; filename="headrace-{name}.csv"'
    return web.Response(
        text=text.getvalue(),
        content_type="text/csv",
        charset="utf-8",
        headers={"Content-Disposition": disposition, "Cache-Control": "no-store"},
    )


def _safe(text: str) -> str:
    """Keeps a spreadsheet from taking an id for a formula."""
    return f"'{text}" if text.startswith(_FORMULA) else text
