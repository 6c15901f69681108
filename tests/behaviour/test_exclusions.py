"""The rules take items out before a slate is drawn: propensities are exact over the rest, and what is logged is it."""

from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from streams.admin.decisions import Dumped, join
from streams.contract.catalogue import CatalogueItem
from streams.contract.events import decode_event
from streams.contract.records import ItemSummary
from streams.contract.settings import Settings
from streams.contract.settings.rules import Rules
from streams.contract.topics import CLICKSTREAM
from streams.core.behaviour.row import MAX_PURCHASED, MAX_SHOWN
from streams.evaluation.offpolicy.decision_log import read_decisions
from streams.evaluation.offpolicy.slates import SlateLog, full_slate, of_slates
from streams.evaluation.offpolicy.target_policies import on_shortlists
from tests.behaviour.small_shop import SETTINGS, Shop

ALL = tuple(f"i{number}" for number in range(8))


def with_rules(**rules: Any) -> Settings:
    decisions = msgspec.structs.replace(SETTINGS.decisions, rules=Rules(**rules))
    return msgspec.structs.replace(SETTINGS, decisions=decisions)


def offered(shop: Shop, at_s: float, candidates: tuple[str, ...] | None = ALL, **fields: Any) -> set[str]:
    """Has a decision made; returns all that could have been shown, from which alone it is drawn."""
    shop.send("decide", at_s, candidates=candidates, n=20, **fields)
    made, logged = shop.recommendations()[-1], shop.decisions()[-1]
    assert made.decision_id == logged.decision_id
    assert len(made.items) == len(logged.shortlist)
    if made.policy == "random":
        n_items = len(made.items)
        assert [item.propensity for item in made.items] == pytest.approx([1 / (n_items - n) for n in range(n_items)])
    return set(logged.shortlist)


@pytest.mark.parametrize("policy", ["random", "ranked", "popular", "bandit", "q"])
def test_what_a_shopper_purchased_is_not_shown_to_them(policy: str) -> None:
    shop = Shop(policy, with_rules(hide_purchased=True))
    shop.send("purchase", 0, item_id="i3", price=1.0)
    shop.send("purchase", 1, item_id="unknown")
    assert offered(shop, 2, (*ALL, "unknown", "other")) == {*ALL, "other"} - {"i3"}
    assert offered(shop, 3, user_id="ben") == set(ALL)
    shop.view(4, "i1")
    assert "i3" not in shop.decisions()[-1].shortlist
    shop.view(5, "i1", user_id="ben")
    assert "i3" in shop.decisions()[-1].shortlist
    for number in range(MAX_PURCHASED):
        shop.send("purchase", 6, item_id=f"new-{number}")
    assert "i3" in offered(shop, 7)


def test_an_item_is_not_repeated_before_its_time() -> None:
    shop = Shop("random", with_rules(no_repeat_s=60))
    shop.send("decide", 0, candidates=ALL, n=3)
    made = shop.recommendations()[-1]
    seen = {item.item_id for item in made.items[:2]}
    assert offered(shop, 1) == set(ALL)
    for slot, item in enumerate(made.items[:2]):
        shop.impression(2 + slot, made.decision_id, item_id=item.item_id, position=slot)
    assert offered(shop, 10) == set(ALL) - seen
    assert offered(shop, 10, user_id="ben") == set(ALL)
    assert not offered(shop, 11, None) & seen
    assert offered(shop, 62) == set(ALL) - {made.items[1].item_id}
    assert offered(shop, 63) == set(ALL)
    assert not shop.row().shown


def test_with_everything_taken_out_the_slate_is_empty() -> None:
    shop = Shop("bandit", with_rules(hide_purchased=True))
    shop.send("purchase", 0, item_id="i3")
    assert offered(shop, 1, ("i3",)) == set()
    assert shop.recommendations()[-1].items == []


def test_items_with_an_excluded_tag_are_shown_to_nobody() -> None:
    shop = Shop("random", with_rules(exclude_tags=("adult", "recalled")))
    listed = [CatalogueItem(item_id=item_id, tags=("sale",)) for item_id in ALL]
    shop.item_table.apply_listing([*listed, CatalogueItem(item_id="i2", tags=("sale", "recalled"))])
    assert offered(shop, 0) == set(ALL) - {"i2"}
    assert offered(shop, 1, None) <= set(ALL) - {"i2"}
    shop.item_table.apply_listing([CatalogueItem(item_id="i2", tags=("sale",))])
    assert offered(shop, 2) == set(ALL)


def test_a_rule_that_is_off_keeps_nothing_and_one_that_is_on_a_bounded_number() -> None:
    for shop, n_kept in ((Shop(), 0), (Shop(settings=with_rules(hide_purchased=True, no_repeat_s=10**6)), 1)):
        for number in range(MAX_SHOWN):
            shop.send("decide", number, candidates=(f"a{number}", f"b{number}"))
            shop.impression(number, shop.recommendations()[-1].decision_id)
            shop.send("purchase", number, item_id=f"a{number}")
        row = shop.row()
        assert (len(row.shown), len(row.purchased)) == (n_kept * MAX_SHOWN, n_kept * MAX_PURCHASED)


@pytest.mark.parametrize("policy", ["random", "popular"])
def test_slates_are_full_while_the_shop_has_items_that_were_not_shown(policy: str) -> None:
    shop = Shop(policy, with_rules(hide_purchased=True, no_repeat_s=10**6))
    names = [f"item-{number}" for number in range(400)]
    shop.item_table.apply(
        ItemSummary(name, "shoes", 10.0, 0, 0, float(number), 0.0, 0.0, [], []) for number, name in enumerate(names)
    )
    for number in range(MAX_PURCHASED):
        shop.send("purchase", 0, item_id=names[-1 - number])
    for number in range(30):
        shop.send("decide", number)
        made = shop.recommendations()[-1]
        assert len(made.items) == SETTINGS.decisions.slate
        for slot, item in enumerate(made.items):
            shop.impression(number, made.decision_id, item_id=item.item_id, position=slot)


def test_off_policy_evaluation_is_unbiased_with_rules(tmp_path: Path) -> None:
    """Uniform draws are logged over what the rules leave; the value of the caller's order is estimated, and known."""
    rules = with_rules(hide_purchased=True, no_repeat_s=10**6)
    shop, n = Shop("random", rules), 1200
    truth: list[float] = []
    for number in range(n):
        user = f"u{number % 60}"
        if number < 60:
            shop.send("purchase", 0, item_id=ALL[number % 5], user_id=user)
        order = ALL[number % 3 :] + ALL[: number % 3]
        kept_out = {*shop.row(user).purchased, *shop.row(user).shown}
        truth += [float(item in {"i0", "i3", "i5"}) for item in order if item not in kept_out][:1]
        shop.send("decide", number / 100, candidates=order, n=1, user_id=user)
        made = shop.recommendations()[-1]
        shop.impression(number / 100, made.decision_id, user_id=user)
        if made.items and made.items[0].item_id in {"i0", "i3", "i5"}:
            fields: dict[str, Any] = {"decision_id": made.decision_id, "position": 0, "user_id": user}
            shop.send("click", number / 100, item_id=made.items[0].item_id, **fields)
    events = [decode_event(record.value) for record in shop.topics.records[CLICKSTREAM, 0]]
    lines = [*join(shop.decisions(), events, 300_000, Dumped())]
    file = tmp_path / "log.jsonl"
    file.write_bytes(b"\n".join(map(msgspec.json.encode, lines)))
    log = read_decisions(file)
    target = of_slates(log.slates, log.there, on_shortlists(rules.decisions, log, "ranked"))
    sums = full_slate(SlateLog(log.propensities, target, log.rewards))
    # In the end nothing is left for anybody.
    assert n > len(truth) == len(sums.numerators) > 300
    assert abs(sums.value - np.mean(truth)) < 4 * sums.numerators.std() / len(truth) ** 0.5
