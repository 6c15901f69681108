"""Pages of other origins that may send messages from a browser (cross-origin resource sharing)."""

from collections.abc import Sequence
from typing import Final

from aiohttp import web

from streams.serving.problems import Problem

ANY: Final = "*"
_PREFLIGHT: Final = {
    "Access-Control-Allow-Methods": "POST",
    "Access-Control-Allow-Headers": "Authorization, Content-Type, AnonymousId",
    "Access-Control-Max-Age": "7200",
}
"""RudderStack's library sends the header ``AnonymousId``."""


class Origins:
    """Origins of the settings. A server's library sends none, and is not concerned."""

    def __init__(self, allowed: Sequence[str]) -> None:
        self._allowed = frozenset(allowed)

    def require(self, request: web.Request) -> None:
        """Refuses a request from a page that is not the door's own and not in the settings.

        A browser sends a body of ``text/plain`` without asking, so that any page could write to a door on its machine.

        Raises:
            Problem: 403.
        """
        origin = request.headers.get("Origin")
        is_own = origin is None or origin.partition("://")[2] == request.host
        if not is_own and not self._is_allowed(origin):
            raise Problem(403, "other-origin", f"pages of {origin} may not send messages: see serve.cors_origins")

    def headers(self, request: web.Request) -> dict[str, str]:
        """Returns the headers by which a browser lets the page read the answer."""
        origin = request.headers.get("Origin")
        if origin is None or not self._is_allowed(origin):
            return {"Vary": "Origin"}
        return {"Vary": "Origin", "Access-Control-Allow-Origin": origin}

    def preflight(self, request: web.Request) -> web.Response:
        """Answers the question of a browser whether a page may send a request.

        Raises:
            Problem: 403.
        """
        self.require(request)
        return web.Response(status=204, headers=_PREFLIGHT)

    def _is_allowed(self, origin: str | None) -> bool:
        return ANY in self._allowed or origin in self._allowed
