"""Ranking: asks for a slate and waits for it, or answers from memory when it does not come in time."""

import asyncio
from collections.abc import Sequence
from typing import Annotated, Final, Literal, NamedTuple, Protocol
from uuid import uuid4

import msgspec
from msgspec import UNSET, Meta, UnsetType

from streams.contract.catalogue import CatalogueItem
from streams.contract.errors import RejectedRecord, UndeliveredOutput
from streams.contract.events import MAX_SLATE, Candidates, Event, Identifier, encode_event
from streams.contract.records import Recommendation
from streams.contract.settings import Settings
from streams.serving.clickstream import EventLog, QueueFull
from streams.serving.problems import Problem
from streams.serving.slates import Asked, Refusal, Slate, SlateMemory
from streams.serving.submission import NewRecord, SubmissionParser

MAX_TIMEOUT_MS: Final = 5_000
Source = Literal["live", "cached", "fallback"]
SlateSize = Annotated[int, Meta(ge=1, le=MAX_SLATE)]


class RankRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Body of ``POST /v1/rank``.

    Attributes:
        event_id: The same id has the same slate for ten minutes; made up if it is left out.
        candidates: Items to choose from; without them, retrieval proposes some.
        surface: Where the slate will be shown.
        n: Slots of the slate, by default ``decisions.slate``.
        timeout_ms: After so long the answer comes from memory.
    """

    user_id: Identifier
    event_id: Identifier | None = None
    candidates: Candidates | None = None
    surface: Identifier | None = None
    n: SlateSize | None = None
    timeout_ms: Annotated[int, Meta(ge=1, le=MAX_TIMEOUT_MS)] = 250


class RankedItem(msgspec.Struct, frozen=True):
    """One slot of an answer.

    Attributes:
        score: The policy's estimate of the reward, ``None`` where it has none.
        propensity: Probability that this item was drawn for this slot, given the slots before it; ``None`` in a
            fallback, where nothing was drawn.
        reason: Candidate source of the item, ``caller`` for one of the candidates.
        title: As in the shop's catalogue; so are ``url`` and ``image_url``.
    """

    item_id: str
    score: float | None
    propensity: float | None
    reason: str
    title: str | UnsetType = UNSET
    url: str | UnsetType = UNSET
    image_url: str | UnsetType = UNSET


class Ranking(msgspec.Struct, frozen=True):
    """A slate as an answer, first slot first.

    Attributes:
        decision_id: Echo it with rewards; left out of a fallback, from which nothing is learned.
        source: ``live``: decided for this request. ``cached``: the user's last slate. ``fallback``: popular items.
    """

    user_id: str
    source: Source
    items: list[RankedItem]
    policy: str
    event_id: str | UnsetType = UNSET
    decision_id: str | UnsetType = UNSET


class ShopItems(Protocol):
    """Items for everyone: their order, and what the shop says of them."""

    def popular(self, n: int) -> list[str]:
        """Returns the ``n`` most popular items."""
        ...

    def listed(self, item_id: str) -> CatalogueItem | None:
        """Returns an item of the shop's catalogue."""
        ...

    def ordered(self, candidates: Sequence[str]) -> list[str]:
        """Orders candidates by popularity; those that are not known come last, as they were."""
        ...


class Ranker(NamedTuple):
    """Answers with slates; see :class:`Ranking` for where they come from."""

    settings: Settings
    parser: SubmissionParser
    events: EventLog
    memory: SlateMemory
    items: ShopItems

    async def rank(self, request: RankRequest, now_ms: int) -> Ranking:
        """Asks for a slate, and waits for it for as long as the request allows.

        Raises:
            Problem: 422, the event is refused, here or by the worker.
        """
        asked = Asked(request.user_id, request.event_id or uuid4().hex)
        slate = self.memory.answer(asked, now_ms)
        if slate is None:
            record = self._record(request, asked, now_ms)
            if not self.memory.is_behind(asked, now_ms):
                self.memory.ask(asked, now_ms)
                slate = await self._decided(asked, record, request.timeout_ms / 1000)
        if slate is not None:
            return self._ranking(slate.decoded(), "live", None)
        return self._from_memory(request, now_ms)

    def latest(self, user_id: str, n: int | None, surface: str | None, since_ms: int) -> Ranking:
        """Returns a user's last slate, or popular items."""
        slate = self.memory.latest(user_id, surface, since_ms)
        if slate is not None:
            return self._ranking(slate.decoded(), "cached", n)
        return self._fallback(user_id, self.items.popular(n or self.settings.decisions.slate))

    def _record(self, request: RankRequest, asked: Asked, now_ms: int) -> NewRecord:
        event = Event(
            event_id=asked.event_id,
            timestamp_ms=now_ms,
            kind="decide",
            user_id=asked.user_id,
            candidates=request.candidates,
            n=request.n,
            surface=request.surface,
        )
        value = encode_event(event)
        try:
            self.parser.decode(value, now_ms)
        except RejectedRecord as rejection:
            raise Problem(422, rejection.reason, rejection.detail) from rejection
        return NewRecord(asked.user_id.encode(), value)

    async def _decided(self, asked: Asked, record: NewRecord, timeout_s: float) -> Slate | None:
        """Returns the decision on an event, or ``None`` if it is not there in time."""
        # Waits before it asks: the answer may be read before the delivery is reported.
        with self.memory.waiting_for(asked) as waiter:
            try:
                async with asyncio.timeout(timeout_s):
                    if waiter.is_first:
                        [place] = await self.events.append([record])
                        waiter.asked_at(place)
                    outcome = await waiter.outcome
            except (TimeoutError, UndeliveredOutput, QueueFull):
                return None
        if isinstance(outcome, Refusal):
            raise Problem(422, outcome.reason, outcome.detail)
        return outcome

    def _from_memory(self, request: RankRequest, now_ms: int) -> Ranking:
        n = request.n or self.settings.decisions.slate
        # A decision that is not shown within this time is dropped, so an older one would teach nothing.
        since_ms = now_ms - 1000 * self.settings.decisions.impression_window_s
        slate = self.memory.latest(request.user_id, request.surface, since_ms)
        if slate is not None:
            decision = slate.decoded()
            shown = {item.item_id for item in decision.items[:n]}
            if shown and (request.candidates is None or shown.issubset(request.candidates)):
                return self._ranking(decision, "cached", n)
        if request.candidates is None:
            return self._fallback(request.user_id, self.items.popular(n))
        return self._fallback(request.user_id, self.items.ordered(request.candidates)[:n])

    def _fallback(self, user_id: str, items: Sequence[str]) -> Ranking:
        return Ranking(user_id, "fallback", [self._slot(item, None, None, "popular") for item in items], "popular")

    def _ranking(self, decision: Recommendation, source: Source, n: int | None) -> Ranking:
        """Turns a decision into an answer. Its first ``n`` slots were drawn with the propensities that they have."""
        items = [self._slot(item.item_id, item.score, item.propensity, item.reason) for item in decision.items[:n]]
        return Ranking(decision.user_id, source, items, decision.policy, decision.event_id, decision.decision_id)

    def _slot(self, item_id: str, score: float | None, propensity: float | None, reason: str) -> RankedItem:
        listed = self.items.listed(item_id)
        if listed is None:
            return RankedItem(item_id, score, propensity, reason)
        about = (listed.title or UNSET, listed.url or UNSET, listed.image_url or UNSET)
        return RankedItem(item_id, score, propensity, reason, *about)
