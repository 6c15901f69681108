"""Shares change between two events: who decides, and to whom what is shown and clicked is counted."""

import msgspec

from streams.contract.experiment import Experiment
from streams.core.behaviour.tallies import partition_metrics, summarise
from streams.testing import GlobalTables
from tests.behaviour.small_shop import Shop


def put_in_force(shop: Shop, **shares: float) -> None:
    assert shop.experiment.apply(msgspec.json.encode(Experiment(shares=shares)))


def test_the_next_decision_is_by_the_new_shares() -> None:
    shop = Shop("bandit")
    assert shop.view(0, "i1").policy == "bandit"
    put_in_force(shop, random=1.0)
    assert shop.view(1, "i1").policy == "random"


def test_what_is_shown_counts_for_who_decided_it_whoever_decides_now() -> None:
    shop = Shop("bandit")
    first = shop.view(0, "i1")
    put_in_force(shop, random=1.0)
    second = shop.view(1, "i2")
    for decision in (first, second):
        shop.impression(2, decision.decision_id)
    shop.click(3, first.decision_id, first.items[0].item_id, 0)
    assert shop.row().exposures == {"bandit": [5, 1], "random": [5, 0]}
    policies = summarise([partition_metrics(shop.partition_row(), lag=0)]).policies
    assert {name: (policy.users, policy.clicks) for name, policy in policies.items()} == {
        "bandit": (1, 1),
        "random": (1, 0),
    }


def test_the_q_agent_earns_nothing_by_what_another_policy_decides_after_it() -> None:
    shop = Shop("q")
    shop.impression(1, shop.view(0, "i1").decision_id)
    put_in_force(shop, random=1.0)
    shop.impression(3, shop.view(2, "i2").decision_id)
    shop.send("purchase", 4, item_id="i2")
    put_in_force(shop, random=0.0001, q=0.9999)
    last = shop.view(5, "i3")
    assert last.policy == "q"
    shop.impression(6, last.decision_id)
    shop.tick(10_000)
    assert shop.labels("q") == [0.0]
    assert shop.count("open_transitions_cut") == 1


def test_the_same_answer_by_another_policy_is_another_decision() -> None:
    """With nothing to show, two policies answer alike."""
    names = set()
    for policy in ("bandit", "random"):
        shop = Shop(policy, global_tables=GlobalTables())
        decision = shop.view(0, "i1")
        assert decision.items == []
        names.add(decision.decision_id)
    assert len(names) == 2


def test_a_decision_without_candidates_is_emitted_as_such_and_is_no_zero() -> None:
    shop = Shop("bandit", global_tables=GlobalTables())
    decision = shop.view(0, "i1")
    assert (decision.items, decision.policy, decision.event_ref) == ([], "bandit", "clickstream-0-0")
    shop.impression(1, decision.decision_id)
    shop.tick(10_000)
    assert shop.examples("bandit") == []
    assert shop.row().exposures == {}
    assert summarise([partition_metrics(shop.partition_row(), lag=0)]).policies["bandit"].decisions == 1
