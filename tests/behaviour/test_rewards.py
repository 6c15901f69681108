"""What shown items earn: by type, within windows that start at the impression, credited once. Times are seconds."""

from typing import Any, NamedTuple

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.contract.events import Event
from streams.contract.fold import PartitionRow, decode_partition_row
from streams.contract.records import Recommendation, decode_examples
from streams.contract.settings import Settings
from streams.contract.settings.rewards import REWARD_TYPES, Reward, Rewards
from streams.contract.topics import EXAMPLES
from streams.core.behaviour.tallies import count_sale, partition_metrics, summarise
from tests.behaviour.small_shop import SETTINGS, Shop

END_S = 100_000
WINDOWS_S = {"click": 300, "cart": 600, "purchase": 900, "margin": 900}


class Earned(NamedTuple):
    """What one slot has earned, as the examples say."""

    decision_id: str
    position: int
    reward: float
    by_type: dict[str, float]


def rewarding(**rewards: Any) -> Settings:
    decisions = msgspec.structs.replace(SETTINGS.decisions, rewards=Rewards(**rewards))
    return msgspec.structs.replace(SETTINGS, decisions=decisions)


def earned(shop: Shop) -> list[Earned]:
    """All that is final, slots without a reward left out."""
    found = []
    for batch in map(decode_examples, shop.values(EXAMPLES)):
        if batch.learner != "bandit":
            continue
        vectors = np.frombuffer(batch.vectors, np.float32).reshape(-1, batch.columns)
        rewards = np.frombuffer(batch.rewards).reshape(-1, len(batch.reward_types))
        labels = np.frombuffer(batch.labels)
        for decision_id, vector, label, values in zip(batch.decision_ids, vectors, labels, rewards, strict=True):
            by_type = dict(zip(batch.reward_types, values.tolist(), strict=True))
            assert tuple(by_type) == REWARD_TYPES
            found.append(Earned(decision_id, int(vector[-2]), float(label), by_type))
    return [one for one in found if any(one.by_type.values())]


def shown(shop: Shop, at_s: float, item_id: str = "i1") -> Recommendation:
    """Has an item looked at, and the slate seen a second later."""
    decision = shop.view(at_s, item_id)
    shop.impression(at_s + 1, decision.decision_id)
    return decision


@pytest.mark.parametrize("type_", ["cart", "purchase"])
@pytest.mark.parametrize("late_s", [0.0, 0.001])
def test_each_type_has_a_window_that_starts_at_the_impression(type_: str, late_s: float) -> None:
    shop = Shop()
    decision = shown(shop, 0)
    kind = {"cart": "add_to_cart"}.get(type_, type_)
    shop.send(kind, 1 + WINDOWS_S[type_] + late_s, item_id=decision.items[2].item_id)
    shop.tick(END_S)
    assert [(one.position, one.by_type[type_]) for one in earned(shop)] == ([] if late_s else [(2, 1.0)])
    assert (shop.count(f"rewards.{type_}"), shop.count(f"late_rewards.{type_}")) == ((0, 1) if late_s else (1, 0))


def test_a_reward_is_the_declared_weighted_sum() -> None:
    settings = rewarding(
        click=Reward(window_s=300, aggregation="earliest", weight=1.0),
        cart=Reward(window_s=300, aggregation="earliest", weight=3.0),
        purchase=Reward(window_s=300, aggregation="earliest", weight=10.0),
        margin=Reward(window_s=300, aggregation="sum", weight=0.5),
        margin_rate=0.25,
    )
    shop = Shop(settings=settings)
    decision = shown(shop, 0)
    item = decision.items[1].item_id
    shop.click(2, decision.decision_id, item, 1)
    shop.send("add_to_cart", 3, item_id=item, price=80.0)
    shop.send("purchase", 4, item_id=item, price=80.0, quantity=2)
    shop.tick(END_S)
    (one,) = earned(shop)
    assert one.by_type == {"click": 1.0, "cart": 1.0, "purchase": 1.0, "margin": 40.0}
    assert one.reward == 1.0 + 3.0 + 10.0 + 0.5 * 40.0
    assert (one.decision_id, one.position) == (decision.decision_id, 1)
    assert len(shop.labels("bandit")) == len(decision.items)


@pytest.mark.parametrize(("aggregation", "value"), [("earliest", 7.0), ("sum", 21.0), ("last", 9.0)])
def test_several_rewards_of_a_type_are_aggregated_by_event_time(aggregation: Any, value: float) -> None:
    settings = rewarding(margin=Reward(window_s=300, aggregation=aggregation, weight=1.0), margin_rate=1.0)
    shop = Shop(settings=settings)
    item = shown(shop, 0).items[0].item_id
    for at_s, price in ((20, 5.0), (10, 7.0), (30, 9.0), (400, 100.0)):
        shop.send("purchase", at_s, item_id=item, price=price)
    shop.tick(END_S)
    assert [one.by_type["margin"] for one in earned(shop)] == [value]


def test_what_nobody_earned_is_zero_and_a_purchase_without_a_price_has_no_margin() -> None:
    shop = Shop()
    decision = shown(shop, 0)
    shop.send("purchase", 3, item_id=decision.items[0].item_id)
    shop.tick(END_S)
    assert [one.by_type for one in earned(shop)] == [{"click": 0.0, "cart": 0.0, "purchase": 1.0, "margin": 0.0}]
    assert shop.count("margins_unknown") == 1
    assert shop.labels("bandit") == [0.0] * 5


def test_a_purchase_is_credited_once_to_the_decision_that_showed_the_item_last() -> None:
    shop = Shop()
    decisions = [shown(shop, at_s, f"i{at_s}") for at_s in (0, 10, 20, 30)]
    unseen = shop.view(40, "i3")
    slates = [{item.item_id for item in decision.items} for decision in decisions]
    item = next(item for item in sorted(slates[0] & slates[2]) if item not in slates[3])
    shop.send("purchase", 50, item_id=item)
    shop.tick(END_S)
    assert [one.decision_id for one in earned(shop)] == [decisions[2].decision_id]
    assert unseen.decision_id not in {one.decision_id for one in earned(shop)}
    assert shop.count("rewards.purchase") == 1


def test_what_was_bought_before_it_was_shown_or_never_shown_earns_nothing() -> None:
    shop = Shop()
    shop.view(0, "i2")
    decision = shown(shop, 10)
    shop.send("purchase", 9, item_id=decision.items[0].item_id)
    shop.send("purchase", 12, item_id="i1")
    shop.send("purchase", 12, item_id=decision.items[0].item_id, user_id="ben")
    shop.tick(END_S)
    assert earned(shop) == []
    assert shop.count("rewards.purchase") == shop.count("late_rewards.purchase") == 0


def test_an_item_in_a_slot_that_was_not_seen_earns_nothing() -> None:
    shop = Shop()
    decision = shop.view(0, "i1")
    shop.impression(1, decision.decision_id, item_id=decision.items[0].item_id, position=0)
    for slot in (0, 1):
        shop.send("add_to_cart", 2, item_id=decision.items[slot].item_id)
    shop.tick(END_S)
    assert [(one.position, one.by_type["cart"]) for one in earned(shop)] == [(0, 1.0)]


def test_rewards_are_final_when_the_longest_window_has_passed_on_the_watermark() -> None:
    shop = Shop()
    shown(shop, 0)
    shop.tick(1 + 900 + 100 - 0.001)
    assert shop.examples("bandit") == []
    shop.tick(1 + 900 + 100)
    assert len(shop.examples("bandit")) == 5


def test_feedback_to_a_decision_that_is_closed_is_late_and_to_one_that_never_was_is_unjoinable() -> None:
    shop = Shop()
    decision = shown(shop, 0)
    shop.tick(5000)
    assert shop.row().decisions == []
    shop.impression(2, decision.decision_id)
    shop.click(2, decision.decision_id, decision.items[0].item_id, 0)
    assert (shop.count("late_impressions"), shop.count("late_rewards.click")) == (1, 1)
    shop.impression(2, "clickstream-0-99.0123456789ab")
    shop.click(2, "clickstream-0-00.0123456789ab", decision.items[0].item_id, 0)
    assert shop.count("unjoinable") == 2
    shop.tick(END_S)
    assert shop.labels("bandit") == [0.0] * 5


ACTS = st.lists(st.tuples(st.sampled_from(["show", "hide", "cart", "purchase"]), st.integers(0, 400)), max_size=16)


@given(ACTS, st.integers(0, 11))
def test_carts_and_purchases_earn_what_a_plain_reading_of_the_history_finds(
    acts: list[tuple[str, int]], item: int
) -> None:
    """Every type adds up, so that whatever is credited is seen."""
    settings = rewarding(
        cart=Reward(window_s=600, aggregation="sum", weight=1.0),
        purchase=Reward(window_s=900, aggregation="sum", weight=1.0),
    )
    shop = Shop(settings=settings)
    seen: list[tuple[float, Recommendation]] = []
    expected: dict[tuple[str, str], float] = {}
    late = 0
    now_s = 0.0
    for act, wait_s in acts:
        now_s += 1.5 + wait_s
        if act in ("show", "hide"):
            decision = shop.view(now_s, "elsewhere")
            if act == "show":
                shop.impression(now_s + 1, decision.decision_id)
                seen.append((now_s + 1, decision))
        else:
            shop.send({"cart": "add_to_cart"}.get(act, act), now_s, item_id=f"i{item}", price=1.25, quantity=3)
            showed = [(at_s, one) for at_s, one in seen if f"i{item}" in {slot.item_id for slot in one.items}]
            still_open = {decision.decision_id for decision in shop.row().decisions}
            showed = [(at_s, one) for at_s, one in showed if one.decision_id in still_open]
            if showed and now_s <= showed[-1][0] + WINDOWS_S[act]:
                key = showed[-1][1].decision_id, act
                expected[key] = expected.get(key, 0.0) + 1.0
            elif showed:
                late += 1
    shop.tick(END_S)
    found = {
        (one.decision_id, act): one.by_type[act]
        for one in earned(shop)
        for act in ("cart", "purchase")
        if one.by_type[act]
    }
    assert found == expected
    carts, purchases = (sum(n for (_, each), n in expected.items() if each == act) for act in ("cart", "purchase"))
    totals = summarise([partition_metrics(shop.partition_row(), lag=0)]).policies
    sales = [(each.carts, each.purchases, each.money) for each in totals.values()]
    assert sales == ([(carts, purchases, purchases * 3.75)] if totals else [])
    assert shop.count("late_rewards.cart") + shop.count("late_rewards.purchase") == late


def test_the_money_of_a_policy_is_exact_and_ends_at_what_a_row_can_hold() -> None:
    tallies: dict[str, list[int]] = {}
    for price, quantity in ((0.1, None), (0.2, 3), (None, 2)):
        count_sale(
            tallies,
            "q",
            Event(event_id="a", timestamp_ms=0, kind="purchase", item_id="i", price=price, quantity=quantity),
        )
    count_sale(tallies, "q", Event(event_id="a", timestamp_ms=0, kind="add_to_cart", item_id="i", price=5.0))
    assert tallies == {"sales.q": [1, 3, 70]}
    for _ in range(100):
        count_sale(
            tallies,
            "q",
            Event(event_id="a", timestamp_ms=0, kind="purchase", item_id="i", price=1e9, quantity=1_000_000),
        )
    assert decode_partition_row(msgspec.msgpack.encode(PartitionRow(tallies=tallies))).tallies == tallies
    assert tallies["sales.q"][2] == (1 << 63) - 1
