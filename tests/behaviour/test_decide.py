"""A decide is answered with a slate of its candidates, exactly as probable as logged, and changes nothing else."""

from typing import Any

import msgspec
import numpy as np
import pytest

from streams.admin.decisions import Dumped, join
from streams.contract.arrays import pack_arrays
from streams.contract.events import decode_event
from streams.contract.records import BY_CALLER, MSGPACK, NO_SOURCE, LoggedDecision, Parameters, Recommendation
from streams.contract.settings import Settings, Target
from streams.contract.topics import CLICKSTREAM, DEAD_LETTERS
from streams.core.policies.slate_features import FEATURES, FINGERPRINT, N_FEATURES, PACKING
from streams.testing import GlobalTables
from tests.behaviour.small_shop import ITEMS, SETTINGS, Shop

MIXED = ("i3", "new-1", "i0", "i7", "new-2", "i11")
MANY = tuple(f"i{number}" for number in range(60))
COLUMN = {feature.name: column for column, feature in enumerate(FEATURES)}
LEARNED = MSGPACK.encode(
    Parameters(
        "bandit",
        "ridge",
        True,
        3,
        FINGERPRINT,
        60,
        pack_arrays(
            {
                "theta": np.linspace(-0.4, 0.5, N_FEATURES),
                "factor": 0.2 * np.eye(N_FEATURES),
                "examples": np.array([60.0]),
            }
        ),
    )
)
EXPERIENCED = GlobalTables(ITEMS, [LEARNED])


def ask(shop: Shop, at_s: float, candidates: tuple[str, ...] | None = MIXED, **fields: Any) -> Recommendation:
    """Has a decision made and returns it."""
    n_before = len(shop.recommendations())
    shop.send("decide", at_s, candidates=candidates, **fields)
    (made,) = shop.recommendations()[n_before:]
    return made


def at_kinds(*kinds: Any) -> Settings:
    return msgspec.structs.replace(SETTINGS, decisions=msgspec.structs.replace(SETTINGS.decisions, at=kinds))


def features_of(decision: LoggedDecision) -> np.ndarray[Any, np.dtype[np.float32]]:
    return PACKING.unpack(decision.features)


@pytest.mark.parametrize("policy", ["random", "ranked", "popular", "bandit", "q", "thompson", "linucb"])
def test_a_slate_is_of_the_candidates_and_says_whose_it_is(policy: str) -> None:
    shop = Shop(policy, global_tables=EXPERIENCED)
    made = ask(shop, 0, event_id="request-1", surface="home", n=4)
    assert (made.event_id, made.surface, made.policy) == ("request-1", "home", policy)
    assert len({item.item_id for item in made.items}) == 4
    assert {item.item_id for item in made.items} <= set(MIXED)
    assert {item.reason for item in made.items} == {BY_CALLER}
    (logged,) = shop.decisions()
    assert (logged.event_id, logged.surface, logged.decision_id) == ("request-1", "home", made.decision_id)
    assert sorted(logged.shortlist) == sorted(MIXED)
    assert logged.sources == [NO_SOURCE] * len(MIXED)
    assert (logged.source, logged.source_probability, logged.mask) == (NO_SOURCE, 1.0, 0)
    assert [logged.shortlist[place] for place in logged.slate] == [item.item_id for item in made.items]


@pytest.mark.parametrize(
    ("n", "candidates", "length"), [(None, MIXED, 5), (20, MIXED, 6), (20, MANY, 20), (1, MANY, 1)]
)
def test_a_slate_is_as_long_as_asked_for(n: int | None, candidates: tuple[str, ...], length: int) -> None:
    assert len(ask(Shop(), 0, candidates, n=n).items) == length


@pytest.mark.parametrize("policy", ["random", "bandit", "thompson", "q"])
@pytest.mark.parametrize("candidates", [MIXED, MANY], ids=["few", "many"])
def test_each_candidate_is_drawn_as_often_as_its_propensity_says(policy: str, candidates: tuple[str, ...]) -> None:
    shop, n = Shop(policy, global_tables=EXPERIENCED), 1500
    record = msgspec.json.encode
    for number in range(n):
        event = {"event_id": f"e{number}", "kind": "decide", "user_id": f"u{number}", "timestamp_ms": 1_700_000_000_000}
        shop.publish(decode_event(record(event | {"candidates": candidates, "n": 2})))
    shop.behaviour.drain(400)
    for slot in range(2):
        # A candidate that may be drawn counts 1 in the mean, if it counts one over its propensity when it is drawn.
        weights, squares = dict.fromkeys(candidates, 0.0), dict.fromkeys(candidates, 0.0)
        for made in shop.recommendations():
            item = made.items[slot]
            weights[item.item_id] += 1 / item.propensity / n
            squares[item.item_id] += 1 / item.propensity**2 / n
        assert len(made.items) == 2
        for item_id in candidates:
            # In the second slot only where the first has left it.
            left = 1.0 if slot == 0 else 1.0 - sum(m.items[0].item_id == item_id for m in shop.recommendations()) / n
            variance = max(squares[item_id], len(candidates))
            assert weights[item_id] == pytest.approx(left, abs=5 * (variance / n) ** 0.5)


def test_an_item_that_nobody_knows_is_scored_as_one_without_a_past() -> None:
    shop = Shop("bandit", global_tables=EXPERIENCED)
    shop.view(0, "new-1")
    ask(shop, 1, n=6)
    logged = shop.decisions()[-1]
    features = features_of(logged)
    unknown = {COLUMN["bias"]: 1.0, COLUMN["ctr"]: features[0, COLUMN["ctr"]], COLUMN["price_unknown"]: 1.0}
    for item in ("new-1", "new-2"):
        found = features[logged.shortlist.index(item)]
        assert {column: found[column] for column in np.flatnonzero(found) if column in unknown} == unknown
        assert not found[[COLUMN["log_popularity"], COLUMN["closeness"], COLUMN["same_category"], COLUMN["new"]]].any()
    assert features[logged.shortlist.index("i7"), COLUMN["log_popularity"]] > 0


def test_a_shop_without_any_item_answers_all_the_same() -> None:
    assert {item.item_id for item in ask(Shop(global_tables=GlobalTables()), 0, n=20).items} == set(MIXED)


def test_popular_orders_candidates_by_the_whole_shop_and_ranked_keeps_the_callers_order() -> None:
    popular = [item.item_id for item in ask(Shop("popular"), 0, n=6).items]
    assert popular == ["i11", "i7", "i3", "i0", "new-1", "new-2"]
    assert [item.item_id for item in ask(Shop("ranked"), 0, n=6).items] == list(MIXED)


def test_without_candidates_retrieval_proposes_as_at_a_view() -> None:
    made = ask(Shop("q"), 0, None)
    assert len(made.items) in {0, 5}
    proposed = [item.reason for item in ask(Shop("random"), 0, None).items]
    assert len(proposed) == 5
    assert BY_CALLER not in proposed


def test_nothing_that_the_shopper_did_is_changed() -> None:
    quiet, asking = Shop(), Shop()
    for shop in (quiet, asking):
        shop.view(0, "i1")
    ask(asking, 10)
    ask(asking, 20, None)
    for shop in (quiet, asking):
        shop.view(30, "i2")
    one, other = quiet.row(), asking.row()
    assert (one.rings, one.affinities, one.last_ms) == (other.rings, other.affinities, other.last_ms)
    assert (one.session.events, one.session.start_ms) == (other.session.events, other.session.start_ms)
    assert quiet.predictions()[-1].probabilities == asking.predictions()[-1].probabilities
    assert len(quiet.predictions()) == len(asking.predictions()) == 2


def test_a_late_one_is_answered_and_what_comes_of_it_is_learned() -> None:
    shop = Shop("bandit")
    shop.tick(20_000)
    made = ask(shop, 100)
    assert made.timestamp_ms == shop.partition_row().watermark_ms
    shop.impression(19_950, made.decision_id)
    shop.click(19_960, made.decision_id, made.items[1].item_id, 1)
    shop.tick(30_000)
    assert shop.labels("bandit") == [0.0, 1.0, 0.0, 0.0, 0.0]
    assert shop.count("late") == 1


def test_an_old_one_is_answered_where_old_events_are_refused() -> None:
    admission = msgspec.structs.replace(SETTINGS.admission, late_s=60.0)
    shop = Shop(settings=msgspec.structs.replace(SETTINGS, admission=admission))
    shop.tick(20_000)
    assert ask(shop, 100).items
    shop.send("view", 100, item_id="i1")
    assert shop.count("dead_letters.stale") == 1


def test_a_retry_is_a_duplicate_and_not_answered_again() -> None:
    shop = Shop()
    ask(shop, 0, event_id="once")
    shop.send("decide", 1, candidates=MIXED, event_id="once")
    assert (len(shop.recommendations()), shop.count("duplicates")) == (1, 1)


def test_what_is_asked_for_alone_is_no_session() -> None:
    churn = Target(name="churn", rule="churn", horizon_s=3600, sampling_rate=1.0, prior=0.3)
    shop = Shop("q", settings=msgspec.structs.replace(SETTINGS, targets=(*SETTINGS.targets, churn)))
    ask(shop, 0, None)
    shop.view(100, "i1")
    assert shop.row().session.start_ms == shop.row().last_ms
    ask(shop, 10_000, None)
    ask(shop, 20_000, None)
    shop.tick(40_000)
    assert sum("churn" in each.probabilities for each in shop.predictions()) == 1
    # Of the decisions of an hour each, none follows one of another session.
    assert all(np.frombuffer(each.vector, np.float32)[2] == -1 for each in shop.examples("q"))


def test_among_given_candidates_the_q_agent_has_no_action_and_its_transition_goes_on() -> None:
    shop = Shop("q")
    first = shop.view(0, "i1")
    shop.impression(1, first.decision_id)
    opened = len(shop.row().open_transitions)
    made = ask(shop, 2)
    shop.impression(3, made.decision_id)
    shop.click(4, made.decision_id, made.items[0].item_id, 0)
    assert len(shop.row().open_transitions) == opened
    shop.tick(4000)
    assert [example.label for example in shop.examples("q")] == [1.0]
    assert sum(shop.labels("bandit")) == 1.0


def test_what_a_decision_over_candidates_earned_can_be_evaluated() -> None:
    shop = Shop("q")
    made = ask(shop, 0)
    shop.impression(1, made.decision_id)
    shop.click(2, made.decision_id, made.items[2].item_id, 2)
    events = [decode_event(record.value) for record in shop.topics.records[CLICKSTREAM, 0]]
    (line,) = join(shop.decisions(), events, 300_000, Dumped())
    assert line.given
    assert line.rewards == [0.0, 0.0, 1.0, 0.0, 0.0]
    shop.view(10, "i1")
    shop.impression(11, shop.recommendations()[-1].decision_id)
    events = [decode_event(record.value) for record in shop.topics.records[CLICKSTREAM, 0]]
    assert [line.given for line in join(shop.decisions(), events, 300_000, Dumped())] == [True, False]


def test_decisions_are_made_at_the_kinds_of_the_settings() -> None:
    shop = Shop(settings=at_kinds("search", "decide"))
    shop.send("view", 0, item_id="i1")
    assert not shop.recommendations()
    assert "click" not in shop.predictions()[-1].probabilities
    shop.send("search", 1, query="shoes")
    assert "click" in shop.predictions()[-1].probabilities
    assert [len(made.items) for made in shop.recommendations()] == [5]
    made = shop.recommendations()[-1]
    shop.impression(2, made.decision_id)
    shop.click(3, made.decision_id, made.items[0].item_id, 0)
    shop.tick(4000)
    assert shop.labels("click") == [1.0]


def test_where_no_decision_is_made_at_it_it_is_refused() -> None:
    shop = Shop(settings=at_kinds("view"))
    shop.send("decide", 0, candidates=MIXED)
    assert not shop.recommendations()
    (letter,) = shop.topics.records[DEAD_LETTERS, 0]
    assert dict(letter.headers)["reason"] == b"unanswered"
