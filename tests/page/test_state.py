"""The fold behind the page: what it says of records, in any batches, and that it stays bounded."""

import json
from typing import Any, Final

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from streams.contract.metrics import FunnelTotals, Lift, PolicyTotals
from streams.contract.records import MSGPACK, LoggedDecision, Prediction, Recommendation, RecommendedItem
from streams.contract.settings import Settings
from streams.contract.topics import CATALOGUE, CLICKSTREAM, DECISIONS, METRICS, PREDICTIONS, RECOMMENDATIONS
from streams.serving.page.decisions import KEPT
from streams.serving.page.history import History, Point
from streams.serving.page.reader import PageRecord
from streams.serving.page.shoppers import IDLE_MS, MAX_SHOPPERS, RECENT_MS, Act, Shoppers
from streams.serving.page.state import PageState
from streams.serving.page.trends import Trends
from streams.serving.page.worth import extra_sales, more_users

BEGIN_MS: Final = 1_790_000_000_000
HOUR_MS: Final = 3_600_000


class NoItems:
    def newest(self, n: int) -> list[tuple[str, tuple[int, float, float]]]:
        return []


def state() -> PageState:
    return PageState(Settings(), NoItems())


def event(kind: str, user: str, at_ms: int, **fields: Any) -> PageRecord:
    value = {"event_id": "e", "timestamp_ms": at_ms, "kind": kind, "user_id": user, **fields}
    return PageRecord(CLICKSTREAM, user.encode(), json.dumps(value).encode(), at_ms)


def decision(number: int, user: str = "ann", at_ms: int = BEGIN_MS, policy: str = "bandit") -> Recommendation:
    items = [RecommendedItem("boots", 0.2, 0.5, "related"), RecommendedItem("socks", 0.1, 0.9, "popular")]
    return Recommendation(f"clickstream-0-{number}-x", f"clickstream-0-{number}", user, at_ms, policy, items, {})


def recommended(made: Recommendation) -> PageRecord:
    return PageRecord(RECOMMENDATIONS, made.user_id.encode(), msgspec.json.encode(made), made.timestamp_ms)


def logged(made: Recommendation, shadow: str = "") -> PageRecord:
    log = LoggedDecision(
        decision_id=made.decision_id + (f"/{shadow}" if shadow else ""),
        event_ref=made.event_ref,
        user_id=made.user_id,
        timestamp_ms=made.timestamp_ms,
        policy=shadow or made.policy,
        shortlist=["boots", "caps", "socks"],
        sources=[0, -1, 4],
        features=b"",
        slate=[0, 2],
        propensities=[0.5, 0.9],
        state=0,
        source=-1,
        source_probability=1.0,
        epsilon=0.1,
        mask=0,
        model_versions={"bandit": 7},
        sampling_rate=1.0,
        shadow=bool(shadow),
    )
    return PageRecord(DECISIONS, made.user_id.encode(), MSGPACK.encode(log), made.timestamp_ms)


def predicted(user: str, at_ms: int, probability: float) -> PageRecord:
    made = Prediction("clickstream-0-1", user, at_ms, {"purchase": probability}, {"purchase": []}, {}, {"spend": 3.0})
    return PageRecord(PREDICTIONS, user.encode(), msgspec.json.encode(made), at_ms)


def test_a_decision_has_what_its_shopper_did_before_and_after() -> None:
    page, made = state(), decision(1)
    boots = {"item_id": "boots", "title": "Red boots", "category": "shoes", "price": 80.0}
    page.take([PageRecord(CATALOGUE, b"boots", json.dumps(boots).encode(), BEGIN_MS)])
    page.take([event("search", "ann", BEGIN_MS - 5, query="feet"), recommended(made)])
    # The slate may be read before the event that asked for it.
    page.take([event("view", "ann", BEGIN_MS, item_id="boots")])
    click = {"item_id": "boots", "decision_id": made.decision_id, "position": 0}
    page.take([event("impression", "ann", BEGIN_MS + 1, decision_id=made.decision_id)])
    page.take(
        [event("click", "ann", BEGIN_MS + 2, **click), event("add_to_cart", "ann", BEGIN_MS + 3, item_id="socks")]
    )
    listed = page.decisions.listed(made.decision_id)
    assert listed is not None
    assert [(each.kind, each.what) for each in listed.before] == [("search", "feet"), ("view", "Red boots")]
    assert [(slot.title, slot.outcome) for slot in listed.slots] == [("Red boots", "clicked"), ("socks", "cart")]
    assert listed.shown
    # What came later does not change what was before.
    page.take([event("view", "ann", BEGIN_MS + 10 + number, item_id="caps") for number in range(20)])
    again = page.decisions.listed(made.decision_id)
    assert again is not None
    assert again.before == listed.before


def test_the_drawer_has_shortlist_shadows_and_versions_of_the_log() -> None:
    page, made = state(), decision(1)
    page.take([recommended(made), logged(made), logged(made, "thompson"), predicted("ann", BEGIN_MS, 0.25)])
    detail = page.decisions.detail(made.decision_id)
    assert detail is not None
    assert [(each.item_id, each.reason, each.slot, each.propensity) for each in detail.shortlist] == [
        ("boots", "related", 0, 0.5),
        ("caps", "caller", None, None),
        ("socks", "popular", 1, 0.9),
    ]
    assert detail.shadows == {"thompson": ["boots", "socks"]}
    assert detail.model_versions == {"bandit": 7}
    assert detail.probabilities == {"purchase": 0.25}


def test_decisions_are_bounded_and_those_that_are_looked_at_stay() -> None:
    page = state()
    page.take([recommended(decision(0)), logged(decision(0))])
    page.decisions.pin(decision(0).decision_id)
    for number in range(1, KEPT + 500):
        page.take([recommended(decision(number, f"u{number}")), logged(decision(number, f"u{number}"))])
    assert sum(1 for _ in page.decisions.newest()) == KEPT
    detail = page.decisions.detail(decision(0).decision_id)
    assert detail is not None
    assert detail.shortlist
    assert page.decisions.detail(decision(1).decision_id) is None


def test_decisions_are_found_by_user_policy_and_source() -> None:
    page = state()
    page.take([recommended(decision(1)), recommended(decision(2, "bob", policy="random"))])
    newest = page.decisions.newest
    one, two = decision(1).decision_id, decision(2).decision_id
    assert [*newest()] == [two, one]
    assert [*newest(user_id="ann")] == [*newest(policy="bandit")] == [one]
    assert [*newest(source="related")] == [two, one]
    assert [*newest(source="cart")] == []


def test_likely_buyers_are_recent_and_who_is_idle_with_a_cart_is_about_to_leave() -> None:
    page, now_ms = state(), BEGIN_MS + RECENT_MS
    page.take(
        [
            *(event("add_to_cart", user, now_ms - IDLE_MS, item_id="boots") for user in ("idle", "buyer")),
            event("purchase", "buyer", now_ms - IDLE_MS + 1, item_id="boots"),
            event("add_to_cart", "busy", now_ms, item_id="boots"),
            event("view", "gone", BEGIN_MS, item_id="boots"),
            *(predicted(user, now_ms, p) for user, p in (("idle", 0.1), ("buyer", 0.3), ("busy", 0.2), ("gone", 0.9))),
        ]
    )
    assert [each.user_id for each in page.shoppers.likely_buyers(now_ms, 9)] == ["buyer", "busy", "idle"]
    assert [(each.user_id, each.cart) for each in page.shoppers.about_to_leave(now_ms, 9)] == [("idle", 1)]


def test_shoppers_are_bounded() -> None:
    shoppers = Shoppers("purchase", None)
    for number in range(MAX_SHOPPERS + 10):
        shoppers.take(Act("view", BEGIN_MS, f"u{number}", "boots"))
    assert shoppers.find("u9") is None
    assert len(shoppers.likely_buyers(BEGIN_MS, 10)) == 0
    assert shoppers.find("u10") is not None


def test_the_shops_time_is_the_clocks_unless_its_events_are_of_the_past() -> None:
    page, now_ms = state(), BEGIN_MS + 90 * HOUR_MS
    page.take([PageRecord(CLICKSTREAM, b"ann", event("view", "ann", BEGIN_MS, item_id="a").value, now_ms)])
    assert page.event_time_ms(now_ms + 700) == BEGIN_MS + 700
    page.take([event("view", "ann", now_ms + 800, item_id="a")])
    assert page.event_time_ms(now_ms + 900) == now_ms + 900


def test_what_is_no_record_of_ours_is_counted_and_left_out() -> None:
    page = state()
    topics = (CLICKSTREAM, RECOMMENDATIONS, DECISIONS, PREDICTIONS, CATALOGUE)
    page.take([PageRecord(topic, b"k", b"\xff", BEGIN_MS) for topic in topics])
    page.take([PageRecord(topic, None, None, BEGIN_MS) for topic in (*topics, METRICS)])
    assert page.malformed + page.metrics.rejected == 2 * len(topics) + 1


def test_a_shop_without_events_has_all_bands() -> None:
    page = state()
    assert page.worth().leader is None
    assert page.belief().targets == []
    assert page.who(named=True).funnel == dict[str, FunnelTotals]()
    health = page.health(BEGIN_MS)
    assert not health.is_alive
    assert health.problems[-1] == "No event has come yet."
    assert page.you("ann").decision is None


def test_a_worker_that_is_silent_is_dead_and_what_it_applied_stays_counted() -> None:
    from tests.page.reported import worker_record

    page = state()
    page.take([PageRecord(METRICS, b"w", worker_record(BEGIN_MS, applied=41), BEGIN_MS)])
    assert page.health(BEGIN_MS + 1000).is_alive
    health = page.health(BEGIN_MS + 60_000)
    assert not health.is_alive
    assert "No worker of the fold behaviour reports" in health.problems[0]
    assert (health.books.applied, health.books.read, health.books.published) == (41, 42, 45)


@given(st.lists(st.integers(1, 400), min_size=1, max_size=600))
def test_a_history_is_bounded_and_keeps_its_ends(steps_s: list[int]) -> None:
    history, at_ms = History(), BEGIN_MS
    for count, step_s in enumerate(steps_s):
        at_ms += step_s * 1000
        if history.is_due(at_ms):
            history.add(Point(at_ms, {"bandit": 2 * count, "random": count}, 1.0, None, 0))
    series = history.series()
    assert 1 <= len(series.times_s) <= 240
    assert series.times_s[0] == (BEGIN_MS + steps_s[0] * 1000) / 1000
    assert series.times_s == sorted(series.times_s)
    for bandit, random in zip(series.shares["bandit"][1:], series.shares["random"][1:], strict=True):
        assert bandit is not None
        assert random is not None
        assert abs(bandit - 2 / 3) < 1e-9
        assert abs(bandit + random - 1) < 1e-9


def test_an_item_trends_when_it_is_viewed_more_than_before() -> None:
    trends = Trends()
    for hour in range(8):
        for view in range(20):
            trends.take("usual", BEGIN_MS + hour * HOUR_MS + view)
    for view in range(15):
        trends.take("boots", BEGIN_MS + 7 * HOUR_MS + view)
    first, second = trends.top(2)
    assert (first.item_id, first.views, first.before) == ("boots", 15, 0.0)
    assert (second.item_id, second.views, second.before) == ("usual", 40, 30.0)


@given(st.floats(0.01, 2.0), st.floats(1.05, 9.0), st.integers(60, 10**6))
def test_a_lift_needs_more_users_as_its_bounds_are_wider(lift: float, width: float, users: int) -> None:
    estimate = 1.0 + lift
    low, high = estimate ** (1.0 - width) - 1.0, estimate ** (1.0 + width) - 1.0
    found = more_users(Lift(lift, (low, high), (low, high)), users)
    assert found is not None
    assert abs(found - users * (width**2 - 1.0)) <= 1.0 + 1e-6 * found


def test_extra_sales_are_those_above_the_controls_rate_by_shown_slot() -> None:
    common: dict[str, Any] = {"users": 1, "ctr": None, "lift": {}, "decisions": 1, "clicks": 0}
    policy = PolicyTotals(impressions=100, carts=12, purchases=5, money=80.0, **common)
    control = PolicyTotals(impressions=50, carts=3, purchases=4, money=20.0, **common)
    assert extra_sales(policy, control) == (6.0, -3.0, 40.0)
    unseen = PolicyTotals(impressions=0, **common)
    assert extra_sales(policy, unseen) is None
    assert extra_sales(unseen, control) is None
