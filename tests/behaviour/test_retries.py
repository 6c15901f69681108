"""Whatever is sent again, within the bounds that are stated, is counted once."""

from collections import defaultdict
from typing import Any, NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streams.contract.events import MAX_RETRIED_EVENTS, Event
from streams.core.behaviour.recent_ids import ALWAYS_KEPT, hashes_of, id_hash, is_recent, with_id
from streams.core.behaviour.row_view import user_view
from tests.behaviour.small_shop import SETTINGS, Shop
from tests.pipeline.shop_log import START_MS

WINDOW_S = SETTINGS.admission.retry_window_s


class Batch(NamedTuple):
    """What a client sends at once: events of a few users, each so many seconds after the last or before it."""

    users: list[int]
    gap_s: int
    retries: list[int]
    """Batches to send again after it, counted back from it."""


batches = st.lists(
    st.builds(
        Batch,
        users=st.lists(st.integers(0, 2), min_size=1, max_size=24),
        gap_s=st.sampled_from([0, 1, 20, 100, 250, 700]),
        retries=st.lists(st.integers(0, 4), max_size=3),
    ),
    min_size=1,
    max_size=9,
)


class Client:
    """Sends batches, and again those whose events are all within the bounds."""

    def __init__(self, shop: Shop) -> None:
        self.shop = shop
        self.now_s = 0
        self.sent: list[list[Event]] = []
        self.retried = 0
        self._applied_at: dict[str, tuple[int, int]] = {}
        self._events_of: dict[str, int] = defaultdict(int)

    def send(self, batch: Batch, *, again: bool) -> None:
        self.now_s += batch.gap_s
        events = []
        for place, user in enumerate(batch.users):
            kind: Any = ("view", "add_to_cart", "purchase", "decide")[(user + place) % 4]
            at_ms = START_MS + 1000 * (self.now_s - 7 * (place % 3))
            name = f"{len(self.sent)}-{place}"
            events.append(
                Event(
                    event_id=name, timestamp_ms=at_ms, kind=kind, user_id=f"u{user}", item_id=f"i{place % 5}", price=2.5
                )
            )
        self.sent.append(events)
        for event in events:
            self._publish(event)
            self._events_of[event.user_id or ""] += 1
            self._applied_at[event.event_id] = (self._events_of[event.user_id or ""], self._watermark_ms())
        for back in batch.retries if again else ():
            for event in self.sent[max(len(self.sent) - 1 - back, 0)]:
                if self._is_within_bounds(event):
                    self._publish(event)
                    self.retried += 1

    def _is_within_bounds(self, event: Event) -> bool:
        number, at_ms = self._applied_at[event.event_id]
        n_since = self._events_of[event.user_id or ""] - number
        is_young = self._watermark_ms() - at_ms <= 1000 * WINDOW_S
        return n_since < (MAX_RETRIED_EVENTS if is_young else ALWAYS_KEPT)

    def _publish(self, event: Event) -> None:
        self.shop.publish(event)
        self.shop.fold()

    def _watermark_ms(self) -> int:
        return self.shop.partition_row().watermark_ms


def memory_of(shop: Shop) -> dict[str, Any]:
    """What the rows hold of the past; offsets and the ids of decisions are others where more was sent."""
    kept = ("windows", "affinities")
    views = {key.decode(): user_view(key, value) for (_, key), value in shop.behaviour.rows().items()}
    sessions = {user: {**view["session"], "last_offset": 0} for user, view in views.items()}
    return {user: ({name: view[name] for name in kept}, sessions[user]) for user, view in views.items()}


@settings(max_examples=40, deadline=None)
@given(batches)
def test_batches_and_retries_count_once(sent: list[Batch]) -> None:
    once, again = Client(Shop()), Client(Shop())
    for batch in sent:
        for client in (once, again):
            client.send(batch, again=client is again)
    assert memory_of(again.shop) == memory_of(once.shop)
    assert again.shop.count("duplicates") == again.retried
    for name in ("applied", "late", "kinds.view", "kinds.decide", "rewards.purchase"):
        assert again.shop.count(name) == once.shop.count(name)
    assert len(again.shop.recommendations()) == len(once.shop.recommendations())
    assert len(again.shop.predictions()) == len(once.shop.predictions())


@pytest.mark.parametrize("n_events", [9, MAX_RETRIED_EVENTS])
def test_a_batch_of_one_user_that_is_sent_twice_counts_once(n_events: int) -> None:
    shop = Shop()
    for _ in range(2):
        for number in range(n_events):
            shop.send("view", 0, item_id="i1", event_id=f"v{number}")
    assert shop.count("duplicates") == n_events
    assert shop.row().session.views == n_events
    shop.view(0, "i1", event_id="v0", user_id="ben")
    assert shop.row("ben").session.views == 1


def test_a_batch_beyond_the_bound_that_is_sent_twice_counts_twice_as_a_whole() -> None:
    n_events = MAX_RETRIED_EVENTS + 1
    shop = Shop()
    for _ in range(2):
        for number in range(n_events):
            shop.send("view", 0, item_id="i1", event_id=f"v{number}")
    assert shop.count("duplicates") == 0
    assert shop.row().session.views == 2 * n_events


def test_beyond_the_bounds_ids_leave_the_row() -> None:
    shop = Shop()
    for number in range(MAX_RETRIED_EVENTS + 1):
        shop.send("search", 0, query="shoes", event_id=f"v{number}")
    assert len(hashes_of(shop.row().recent_ids)) == MAX_RETRIED_EVENTS
    shop.send("search", 0, query="shoes", event_id="v0")
    assert shop.count("duplicates") == 0
    shop.tick(WINDOW_S)
    shop.send("search", WINDOW_S, query="shoes", event_id="v1")
    assert shop.count("duplicates") == 0
    assert len(hashes_of(shop.row().recent_ids)) == MAX_RETRIED_EVENTS
    shop.tick(WINDOW_S + 1)
    shop.send("search", WINDOW_S, query="shoes", event_id="w")
    assert len(hashes_of(shop.row().recent_ids)) == ALWAYS_KEPT


def test_a_row_that_nobody_touches_becomes_small_when_its_labels_are_final() -> None:
    shop = Shop()
    for number in range(40):
        shop.view(number, "i1")
    shop.tick(5000)
    assert len(hashes_of(shop.row().recent_ids)) == ALWAYS_KEPT


def test_a_hash_is_found_only_where_one_begins() -> None:
    first, second = b"abcdefgh", b"ijklmnop"
    ids = with_id(with_id(b"", first, -1, 60), second, 1000 * int.from_bytes(b"qrst", "little"), 60)
    assert ids == b"abcdefgh\0\0\0\0ijklmnopqrst"
    assert hashes_of(ids) == [first, second]
    assert [is_recent(ids, each) for each in (first, second)] == [True, True]
    assert [is_recent(ids, each) for each in (b"bcdefgh\0", b"mnopqrst", id_hash("e"))] == [False, False, False]
    # Where it begins at a wrong place first.
    assert is_recent(ids + b"mnopqrst" + b"\0" * 4, b"mnopqrst")
    assert not is_recent(b"", first)
