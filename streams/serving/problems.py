"""Answers to requests that cannot be served, as problem details (RFC 9457)."""

from typing import Final

import msgspec
from aiohttp import web

PROBLEM_JSON: Final = "application/problem+json"


class ProblemDetails(msgspec.Struct, frozen=True, omit_defaults=True):
    """Body of every answer with a status from 400 on.

    Attributes:
        reason: One of a small closed set of kebab-case words.
        detail: What is wrong, and what to do next.
    """

    title: str
    status: int
    reason: str
    detail: str


class Problem(Exception):
    """A request that cannot be served; it becomes an answer.

    Args:
        retry_after_s: When the same request may be sent again.
        headers: More headers of the answer.
    """

    def __init__(
        self,
        status: int,
        reason: str,
        detail: str,
        *,
        retry_after_s: int | None = None,
        headers: dict[str, str] | None = None,
    ) -> None:
        super().__init__(f"{reason}: {detail}")
        self.status = status
        self.reason = reason
        self.detail = detail
        self.headers = dict(headers or {})
        if retry_after_s is not None:
            self.headers["Retry-After"] = str(retry_after_s)

    def response(self) -> web.Response:
        """Makes the answer."""
        title = self.reason.replace("-", " ").capitalize()
        body = msgspec.json.encode(ProblemDetails(title, self.status, self.reason, self.detail))
        return web.Response(body=body, status=self.status, content_type=PROBLEM_JSON, headers=self.headers)
