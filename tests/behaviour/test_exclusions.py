"""The rules take items out before a slate is drawn, or between its slots: propensities are exact over the rest."""

from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from streams.admin.decisions import Dumped, join
from streams.contract.catalogue import CatalogueItem, Delisted
from streams.contract.errors import UnreadableSource
from streams.contract.events import decode_event
from streams.contract.records import ItemSummary
from streams.contract.settings import Settings
from streams.contract.settings.rules import Rules
from streams.contract.topics import CLICKSTREAM
from streams.core.behaviour.row import MAX_PURCHASED, MAX_SHOWN
from streams.evaluation.offpolicy.decision_log import DecisionLog, read_decisions
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


OF_TWO_CATEGORIES = ("i0", "i3", "i6", "i9", "i1", "i4")


@pytest.mark.parametrize("policy", ["random", "ranked", "popular", "bandit", "q", "thompson", "linucb"])
def test_a_slate_has_no_more_of_a_category_than_the_rule_allows_and_is_short_where_nothing_else_is_left(
    policy: str,
) -> None:
    shop = Shop(policy, with_rules(max_per_category=2))
    for number in range(30):
        shop.send("decide", number, candidates=(*OF_TWO_CATEGORIES, "new", "newer", "i7"), n=20)
        made, logged = shop.recommendations()[-1], shop.decisions()[-1]
        shown = [item.item_id for item in made.items]
        assert {"new", "newer"} < set(shown)
        assert len({*shown} & {"i0", "i3", "i6", "i9"}) == len({*shown} & {"i1", "i4", "i7"}) == 2
        assert len(shown) == 6
        assert logged.max_per_category == 2
        known = {item: None if item.startswith("new") else f"c{int(item[1:]) % 3}" for item in logged.shortlist}
        assert logged.categories == [*known.values()]
        shop.view(number, f"i{number % 12}")
        of_retrieval = [int(item.item_id[1:]) % 3 for item in shop.recommendations()[-1].items]
        assert max([0, *map(of_retrieval.count, range(3))]) <= 2
    off = Shop(policy)
    off.send("decide", 0, candidates=OF_TWO_CATEGORIES, n=20)
    assert len(off.recommendations()[-1].items) == len(OF_TWO_CATEGORIES)
    assert (off.decisions()[-1].categories, off.decisions()[-1].max_per_category) == ([], 0)


def test_the_shops_catalogue_says_the_category_before_events_do() -> None:
    shop = Shop("random", with_rules(max_per_category=1))
    shop.item_table.apply_listing(
        [
            CatalogueItem(item_id="i0", category="shoes"),
            CatalogueItem(item_id="i3"),
            CatalogueItem(item_id="unseen", category="shoes"),
            CatalogueItem(item_id="i1", category="hats"),
            CatalogueItem(item_id="i4", category="hats", available=False),
        ]
    )
    candidates = ("i0", "i3", "unseen", "i1", "unknown")
    shop.send("decide", 0, candidates=candidates, n=20)
    assert shop.decisions()[-1].categories == ["shoes", "c0", "shoes", "hats", None]
    assert len(shop.recommendations()[-1].items) == 4
    shop.item_table.apply_listing([CatalogueItem(item_id="i0", category="hats"), Delisted("i1"), Delisted("unseen")])
    shop.send("decide", 1, candidates=candidates, n=20)
    assert shop.decisions()[-1].categories == ["hats", "c0", None, "c1", None]
    assert len(shop.recommendations()[-1].items) == 5


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


def logged_slates(shop: Shop, n: int, ratings: dict[str, float], file: Path) -> DecisionLog:
    """Has slates of three drawn from five candidates and clicked on by chance; returns the log that is dumped."""
    random = np.random.default_rng(5)
    for number in range(n):
        shop.send("decide", number / 100, candidates=tuple(ratings), n=3, user_id=f"u{number}")
        made = shop.recommendations()[-1]
        shop.impression(number / 100, made.decision_id, user_id=f"u{number}")
        for position, item in enumerate(made.items):
            if random.random() < ratings[item.item_id]:
                fields: dict[str, Any] = {"decision_id": made.decision_id, "position": position}
                shop.send("click", number / 100, item_id=item.item_id, user_id=f"u{number}", **fields)
    events = [decode_event(record.value) for record in shop.topics.records[CLICKSTREAM, 0]]
    file.write_bytes(b"\n".join(map(msgspec.json.encode, join(shop.decisions(), events, 300_000, Dumped()))))
    return read_decisions(file)


def test_off_policy_evaluation_is_unbiased_with_a_limit_of_categories(tmp_path: Path) -> None:
    """Uniform draws are logged; of the caller's order, the value of the slate that the rule leaves is known."""
    rules, n = with_rules(max_per_category=1), 1000
    ratings = {"i0": 0.2, "i3": 0.9, "i6": 0.8, "i1": 0.5, "i4": 0.9}
    log = logged_slates(Shop("random", rules), n, ratings, tmp_path / "log.jsonl")
    assert log.slates.shape == (n, 2)  # one of each of two categories
    probabilities = on_shortlists(rules.decisions, log, "ranked")
    target = of_slates(log.slates, log.there, probabilities, log.limit)
    sums = full_slate(SlateLog(log.propensities, target, log.rewards))
    deviation = sums.numerators.std() / n**0.5
    assert abs(sums.value - (ratings["i0"] + ratings["i1"])) < 4 * deviation
    assert abs(sums.weights.mean() - 1.0) < 4 * sums.weights.std() / n**0.5
    without = full_slate(SlateLog(log.propensities, of_slates(log.slates, log.there, probabilities), log.rewards))
    assert without.value < sums.value - 6 * deviation


def test_a_log_of_decisions_made_before_and_under_the_rule_is_read(tmp_path: Path) -> None:
    ratings = dict.fromkeys(("i0", "i3", "i1"), 0.5)
    before = logged_slates(Shop("random"), 5, ratings, tmp_path / "before.jsonl")
    assert before.limit is None
    logged_slates(Shop("random", with_rules(max_per_category=1)), 5, ratings, tmp_path / "under.jsonl")
    both = tmp_path / "both.jsonl"
    lines = (tmp_path / "before.jsonl").read_text("utf-8") + "\n" + (tmp_path / "under.jsonl").read_text("utf-8")
    both.write_text(lines, "utf-8")
    log = read_decisions(both)
    assert log.limit is not None
    target = of_slates(log.slates, log.there, on_shortlists(Settings().decisions, log, "random"), log.limit)
    assert np.array_equal(target, log.propensities)
    assert (log.slates[:, -1] < 0).sum() == 5
    both.write_text(lines.replace('"categories":["c0","c0","c1"]', '"categories":["c0"]'), "utf-8")
    with pytest.raises(UnreadableSource, match="categories has 1 entries for a shortlist of 3"):
        read_decisions(both)
