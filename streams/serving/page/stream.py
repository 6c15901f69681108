"""Server-sent events: each band is encoded once for all viewers, and a slow viewer gets the latest of each."""

import asyncio
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final

import msgspec

from streams.serving.page.state import PageState

_TICK_S: Final = 0.25
_EVERY: Final = {"doing": 2, "health": 4, "worth": 8, "belief": 8, "who": 8, "series": 8}
"""Band to the ticks between two pushes."""
_MAX_VIEWERS: Final = 200
_encode: Final = msgspec.json.Encoder().encode


class Viewer:
    """One connection.

    Args:
        user_id: The visitor of the sample shop; ``None`` for the page.
        is_named: Whether it may see who the shoppers are.
    """

    def __init__(self, user_id: str | None, *, is_named: bool) -> None:
        self.user_id = user_id
        self.is_named = is_named
        self._pending: dict[str, bytes] = {}
        self._has_news = asyncio.Event()
        self.is_ended = False

    def put(self, band: str, value: bytes) -> None:
        """Replaces what was not sent yet of a band."""
        self._pending[band] = value
        self._has_news.set()

    def end(self) -> None:
        self.is_ended = True
        self._has_news.set()

    async def next(self) -> bytes:
        """Waits for news; returns them as server-sent events, empty at the end."""
        await self._has_news.wait()
        self._has_news.clear()
        pending, self._pending = self._pending, {}
        if self.is_ended:
            return b""
        return b"".join(b"event: %b\ndata: %b\n\n" % (band.encode(), value) for band, value in pending.items())


class Broadcaster:
    """Pushes what has changed, only while somebody looks.

    Args:
        clock_ms: Milliseconds since the epoch, UTC.
    """

    def __init__(self, state: PageState, clock_ms: Callable[[], int]) -> None:
        self._state = state
        self._clock_ms = clock_ms
        self._viewers: set[Viewer] = set()
        self._last: dict[tuple[str, bool], bytes] = {}
        self._pusher: asyncio.Task[None] | None = None
        self._ticks = 0
        self._counted = state.n_decisions

    @property
    def is_full(self) -> bool:
        return len(self._viewers) >= _MAX_VIEWERS

    @contextmanager
    def viewing(self, viewer: Viewer) -> Iterator[None]:
        """Pushes to a viewer within a block; what others have got already it gets at once."""
        self._viewers.add(viewer)
        if viewer.user_id is None:
            for (band, is_named), value in self._last.items():
                if is_named == viewer.is_named:
                    viewer.put(band, value)
        if self._pusher is None:
            self._pusher = asyncio.get_running_loop().create_task(self._push())
        try:
            yield
        finally:
            self._viewers.discard(viewer)
            if not self._viewers and self._pusher is not None:
                self._pusher.cancel()
                self._pusher = None
                self._last.clear()

    def end(self) -> None:
        """Ends all connections."""
        for viewer in self._viewers:
            viewer.end()

    async def _push(self) -> None:
        self._ticks, self._counted = 0, self._state.n_decisions
        you: dict[Viewer, bytes] = {}
        while True:
            for is_named in {viewer.is_named for viewer in self._viewers if viewer.user_id is None}:
                self._push_bands(self._due(is_named=is_named), is_named=is_named)
            you = {viewer: self._push_visitor(viewer, you.get(viewer)) for viewer in self._viewers if viewer.user_id}
            self._ticks += 1
            await asyncio.sleep(_TICK_S)

    def _due(self, *, is_named: bool) -> Mapping[str, Any]:
        state, due = self._state, [band for band, every in _EVERY.items() if self._ticks % every == 0]
        makers: dict[str, Callable[[], Any]] = {
            "doing": self._doing,
            "health": lambda: state.health(self._clock_ms()),
            "worth": state.worth,
            "belief": state.belief,
            "who": lambda: state.who(named=is_named),
            "series": state.series,
        }
        return {band: makers[band]() for band in due if band != "doing" or is_named}

    def _doing(self) -> Any:
        self._state.advance()
        count = self._state.n_decisions
        more, self._counted = count - self._counted, count
        return self._state.doing(more / (_TICK_S * _EVERY["doing"]))

    def _push_bands(self, bands: Mapping[str, Any], *, is_named: bool) -> None:
        for band, value in bands.items():
            encoded = _encode(value)
            if self._last.get((band, is_named)) != encoded:
                self._last[band, is_named] = encoded
                for viewer in self._viewers:
                    if viewer.user_id is None and viewer.is_named == is_named:
                        viewer.put(band, encoded)

    def _push_visitor(self, viewer: Viewer, before: bytes | None) -> bytes:
        encoded = _encode(self._state.you(viewer.user_id or ""))
        if encoded != before:
            viewer.put("you", encoded)
        return encoded
