"""A logged decision is explained by the probabilities of the worker's draw, to the last digit, in numbers and words."""

import math
from functools import cache
from typing import Any

import msgspec
import numpy as np
import pytest
from msgspec.structs import replace

from streams.contract.errors import UnreadableSource
from streams.contract.experiment import Experiment
from streams.contract.records import LoggedDecision
from streams.contract.settings import Decisions
from streams.contract.settings.policies import LinUCB, SquareCB
from streams.contract.settings.rules import Rules
from streams.contract.topics import BANDIT, Q_AGENT
from streams.core.policies.choice import deciding_policies
from streams.core.policies.slate_features import FEATURES, N_FEATURES, PACKING
from streams.evaluation.decision_explanation import DecisionExplanation, _draws, chance, explain_decision
from streams.testing import Pipeline
from tests.behaviour.small_shop import SETTINGS, Shop
from tests.pipeline.shop_log import replay

DEFAULTS = Decisions()
POLICIES = tuple(name for name in DEFAULTS.policy_names if name != "random")


@cache
def shop() -> Pipeline:
    """A day of a shop with trained models, in which every policy decides at every event."""
    pipeline = replay()
    shares = pipeline.settings.decisions.shares
    assert pipeline.experiment.apply(msgspec.json.encode(Experiment(shares=shares, shadows=POLICIES)))
    pipeline.behaviour.drain(500)
    return pipeline


@cache
def logged(policy: str) -> list[LoggedDecision]:
    return [each for each in shop().decisions() if each.policy == policy and each.slate]


def explained(decision: LoggedDecision, slot: int = 1) -> DecisionExplanation:
    return explain_decision(decision, [], slot, shop().settings.decisions)


@pytest.mark.parametrize("policy", DEFAULTS.policy_names)
def test_the_log_alone_gives_every_propensity_to_the_last_digit(policy: str) -> None:
    decisions = shop().settings.decisions
    assert len(logged(policy)) > 30
    for each in logged(policy):
        draws = _draws(each, deciding_policies(decisions)[policy])
        drawn = [float(row[place]) for row, place in zip(draws.probabilities, each.slate, strict=True)]
        assert drawn == each.propensities
        assert draws.is_reproduced


def test_the_score_of_the_log_is_the_recommendations_to_the_last_digit() -> None:
    shown = {each.decision_id: each for each in shop().recommendations()}
    versions = set()
    for each in shop().decisions():
        if not each.shadow:
            for slot, item in enumerate(shown[each.decision_id].items, start=1):
                found = explained(each, slot)
                assert (found.shown.item_id, found.shown.score, found.shown.probability, found.shown.source) == (
                    item.item_id,
                    item.score,
                    item.propensity,
                    item.reason,
                )
                versions.add(found.model_version)
    assert max(version for version in versions if version is not None) > 0


@pytest.mark.parametrize("policy", DEFAULTS.policy_names)
def test_the_log_alone_gives_every_propensity_under_a_limit_of_categories(policy: str) -> None:
    made = Shop(policy, with_rules(max_per_category=1).settings)
    candidates = tuple(f"i{number}" for number in range(12))
    full_slots = 0
    for number in range(12):
        made.send("decide", number, candidates=(*candidates[number:], "new", "newer"), n=5)
        made.view(number, f"i{number}")
    for each in made.decisions():
        draws = _draws(each, deciding_policies(made.settings.decisions)[policy])
        drawn = [float(row[place]) for row, place in zip(draws.probabilities, each.slate, strict=True)]
        assert drawn == each.propensities
        full_slots += int(draws.full.any(axis=1).sum())
    assert full_slots > 20


@pytest.mark.parametrize("policy", DEFAULTS.policy_names)
def test_contributions_sum_to_the_difference_and_probabilities_to_1(policy: str) -> None:
    for each in logged(policy)[::7]:
        for slot in range(1, len(each.slate) + 1):
            found = explained(each, slot)
            assert math.fsum(item.probability for item in found.items) == pytest.approx(1.0)
            total = math.fsum(part.contribution for part in found.contributions)
            assert total == pytest.approx(found.difference or 0.0, abs=1e-12)
            assert len({part.group for part in found.contributions}) == len(found.contributions)
            assert found.shown in found.items
            assert found.next_best != found.shown


def test_an_item_is_by_exploration_if_another_was_more_probable() -> None:
    choices = set()
    for each in logged(BANDIT):
        for slot in range(1, len(each.slate) + 1):
            found = explained(each, slot)
            if found.choice == "exploration":
                assert found.next_best is not None
                assert found.next_best.probability > found.shown.probability
                assert (found.difference or 0.0) <= 0.0
            elif found.choice == "best":
                assert all(item.probability <= found.shown.probability for item in found.items)
            choices.add(found.choice)
    assert {"best", "exploration"} <= choices
    assert {explained(each).choice for each in logged("random") if len(each.shortlist) > 1} == {"even"}


def test_other_settings_than_the_workers_are_noticed() -> None:
    decisions = shop().settings.decisions
    other = replace(decisions, policies=decisions.policies | {BANDIT: SquareCB(exploration=2.0)})
    trained = next(each for each in logged(BANDIT) if each.examples > 0 and len(each.shortlist) > 5)
    found = explain_decision(trained, [], 1, other)
    assert not found.is_reproduced
    assert "use the worker's settings" in found.sentences[-1]
    with pytest.raises(UnreadableSource, match="no policy 'bandit'"):
        explain_decision(
            trained, [], 1, replace(decisions, policies={"greedy": decisions.policies["greedy"]}, q_filled_by="greedy")
        )


def test_the_q_agents_source_is_explained_before_its_items() -> None:
    given = [explained(each) for each in logged(Q_AGENT) if not each.mask]
    assert given
    assert {each.source_choice for each in given} == {None}
    chosen = [each for each in logged(Q_AGENT) if each.mask]
    explored = set()
    for each in chosen:
        found, values = explained(each), shop().policies.table[each.state]
        available = [source for source in range(len(values)) if each.mask >> source & 1]
        assert found.source_choice is not None
        assert found.source_choice.is_exploration == (each.source != max(available, key=values.__getitem__))
        assert found.source_choice.source == found.shown.source
        explored.add(found.source_choice.is_exploration)
    assert explored == {True, False}


def with_rules(**rules: Any) -> Shop:
    return Shop("bandit", replace(SETTINGS, decisions=replace(SETTINGS.decisions, rules=Rules(**rules))))


def test_rules_are_named_with_what_they_left_out() -> None:
    made = with_rules(hide_purchased=True, no_repeat_s=600)
    made.send("purchase", 0, item_id="i3", price=1.0)
    first = made.view(1, "i1")
    made.impression(2, first.decision_id, item_id=first.items[0].item_id, position=0)
    seen = first.items[0].item_id
    made.view(3, "i1")
    assert made.decisions()[-1].left_out == {"no_repeat_s": [seen], "hide_purchased": ["i3"]}
    made.send("decide", 4, candidates=("i3", seen, "i9", "i8"), n=2)
    asked = made.decisions()[-1]
    assert asked.left_out == {"hide_purchased": ["i3"], "no_repeat_s": [seen]}
    found = explain_decision(asked, [], 1, made.settings.decisions)
    assert {each.rule: each.item_ids for each in found.left_out} == asked.left_out
    assert "Left out: i3; the shopper purchased it before (hide_purchased)." in found.sentences
    assert found.shown.words == "named by the caller"
    made.view(5, "i1", user_id="ben")
    assert not made.decisions()[-1].left_out


def test_an_item_whose_category_is_full_is_left_out_of_the_slots_below() -> None:
    limited = decision(
        policy="random",
        shortlist=["hat", "cap", "scarf"],
        slate=[2, 1],
        propensities=[1 / 3, 1.0],
        categories=["wool", None, "wool"],
        max_per_category=1,
    )
    first, second = (explain_decision(limited, [], slot, DEFAULTS) for slot in (1, 2))
    assert first.is_reproduced
    assert {item.item_id: item.probability for item in first.items} == pytest.approx(
        dict.fromkeys(limited.shortlist, 1 / 3)
    )
    assert [each.rule for each in first.left_out] == ["hide_purchased"]
    assert [item.item_id for item in second.items] == ["cap"]
    assert {each.rule: each.item_ids for each in second.left_out} == {
        "hide_purchased": ["glove"],
        "max_per_category": ["hat"],
    }
    said = "Left out: hat; the slots before have all that a slate may have of its category (max_per_category)."
    assert said in second.sentences
    unlimited = replace(limited, max_per_category=0)
    assert not explain_decision(unlimited, [], 2, DEFAULTS).is_reproduced


def decision(**changed: Any) -> LoggedDecision:
    """Three items, of which the second is the best by the model and the third was shown."""
    names = [feature.name for feature in FEATURES]
    features, theta = np.zeros((3, N_FEATURES)), np.zeros(N_FEATURES)
    for name, values, weight in (
        ("bias", (1, 1, 1), 0.05),
        ("log_popularity", (0.25, 0.5, 0.75), 0.04),
        ("closeness", (0.0, 0.5, 0.0), 0.1),
        ("source_related", (0, 1, 0), 0.01),
        ("seen", (0, 1, 0), -0.02),
    ):
        features[:, names.index(name)], theta[names.index(name)] = values, weight
    known: dict[str, Any] = {
        "decision_id": "clickstream-3-41.0123456789ab",
        "event_ref": "clickstream-3-41",
        "user_id": "user-7",
        "timestamp_ms": 1_736_121_600_000,
        "policy": "epsilon",
        "shortlist": ["hat", "cap", "scarf"],
        "sources": [4, 0, 4],
        "features": PACKING.pack(features).tobytes(),
        "slate": [2],
        # epsilon 0.1 and floor 0.01 over three items
        "propensities": [0.99 * (0.1 / 3) + 0.01 / 3],
        "state": 0,
        "source": -1,
        "source_probability": 1.0,
        "epsilon": 0.1,
        "mask": 0b110001,
        "model_versions": {BANDIT: 12},
        "sampling_rate": 1.0,
        "theta": theta.tobytes(),
        "examples": 1234.0,
        "left_out": {"hide_purchased": ["glove"]},
    }
    return LoggedDecision(**(known | changed))


def test_the_words() -> None:
    shadow = decision(policy="greedy", slate=[1], propensities=[0.995], shadow=True)
    found = explain_decision(decision(), [shadow], 1, DEFAULTS)
    assert found.sentences == [
        "epsilon showed scarf to user-7 in slot 1 by exploration, 4 in 100.",
        "The next best was cap, 93 in 100. The expected reward was 0.0800 against 0.1100.",
        "For it: in the cart, or viewed before +0.0200, popular in the shop +0.0100.",
        "Against it: goes with what was viewed -0.0600.",
        "It was a candidate: popular in the shop (popular).",
        "greedy would have shown cap, 995 in 1,000.",
        "Left out: glove; the shopper purchased it before (hide_purchased).",
        "The model was bandit, version 12, 1,234 examples.",
    ]


def test_items_are_named_with_the_titles_that_are_known() -> None:
    shadow = decision(policy="greedy", slate=[1], propensities=[0.995], shadow=True)
    titles = {"scarf": "Red scarf", "cap": "Wool cap", "glove": "Glove", "sock": "Sock"}
    with_titles = explain_decision(decision(), [shadow], 1, DEFAULTS, titles)
    assert with_titles.titles == {"scarf": "Red scarf", "cap": "Wool cap", "glove": "Glove"}
    without = explain_decision(decision(), [shadow], 1, DEFAULTS)
    assert not without.titles
    named = [
        sentence.replace("scarf to", "scarf (Red scarf) to")
        .replace("cap,", "cap (Wool cap),")
        .replace("glove;", "glove (Glove);")
        for sentence in without.sentences
    ]
    assert with_titles.sentences == named
    assert with_titles == replace(without, titles=with_titles.titles, sentences=named)
    only_one = explain_decision(decision(), [shadow], 1, DEFAULTS, {"cap": "Wool cap"})
    assert only_one.sentences[0] == without.sentences[0]
    by_chance = explain_decision(decision(policy="random", propensities=[1 / 3]), [], 1, DEFAULTS, titles)
    assert by_chance.sentences[1].startswith("The next was hat, ")
    assert by_chance.sentences[0].startswith("random showed scarf (Red scarf) to user-7")


def test_a_policy_that_weighs_uncertainty_says_so() -> None:
    deviations = np.array([0.5, 0.25, 0.125]).tobytes()
    settings = replace(DEFAULTS, policies=DEFAULTS.policies | {"linucb": LinUCB(alpha=0.5)})
    found = explain_decision(decision(policy="linucb", deviations=deviations), [], 1, settings)
    assert found.items[0].item_id == "hat"  # the highest bound, not the highest estimate
    assert (found.shown.deviation, found.next_best and found.next_best.deviation) == (0.125, 0.5)
    said = "A linucb policy also weighs how uncertain an estimate is: its deviation was 0.1250 against 0.5000."
    assert said in found.sentences


def test_of_two_equally_probable_best_items_neither_is_by_exploration() -> None:
    rows = PACKING.unpack(decision().features)
    rows[2] = rows[1]
    alike = decision(policy="linucb", features=PACKING.pack(rows).tobytes(), deviations=np.zeros(3).tobytes())
    assert explain_decision(alike, [], 1, DEFAULTS).choice == "exploration"  # LinUCB takes the first of them
    thompson = replace(alike, policy="thompson", deviations=np.full(3, 0.1).tobytes())
    for place in (1, 2):
        assert explain_decision(replace(thompson, slate=[place]), [], 1, DEFAULTS).choice == "best"


def test_the_words_of_a_best_an_even_a_ranked_and_a_last_item() -> None:
    def first(**changed: Any) -> str:
        return explain_decision(decision(**changed), [], 1, DEFAULTS).sentences[0]

    assert (
        first(slate=[1], propensities=[0.934])
        == "epsilon showed cap to user-7 in slot 1 as the best by the model, 93 in 100."
    )
    assert (
        first(policy="random", propensities=[1 / 3])
        == "random showed scarf to user-7 in slot 1 by an even draw, 33 in 100."
    )
    ranked = first(policy="ranked", slate=[0], propensities=[1.0])
    assert ranked == "ranked showed hat to user-7 in slot 1 as the next in its order, certain."
    last = explain_decision(decision(policy="random", slate=[0, 1, 2], propensities=[1 / 3, 0.5, 1.0]), [], 3, DEFAULTS)
    assert last.sentences[:2] == [
        "random showed scarf to user-7 in slot 3 because nothing else was left.",
        "No other item was left.",
    ]


def test_the_json_is_of_the_types_schema_and_comes_back() -> None:
    found = explain_decision(decision(), [decision(policy="greedy", slate=[], shadow=True)], 1, DEFAULTS)
    assert msgspec.json.decode(msgspec.json.encode(found), type=DecisionExplanation) == found
    schema = msgspec.json.schema(DecisionExplanation)["$defs"]["DecisionExplanation"]
    assert set(schema["required"]) == set(DecisionExplanation.__struct_fields__)


@pytest.mark.parametrize(
    ("changed", "slot", "said"),
    [
        ({}, 2, "it has slots 1 to 1"),
        ({}, 0, "it has slots 1 to 1"),
        ({"slate": [], "propensities": []}, 1, "it showed nothing"),
        ({"theta": b""}, 1, "without its model"),
        ({"features": b"12"}, 1, "other features"),
        ({"policy": "linucb"}, 1, "without its model"),
    ],
)
def test_what_cannot_be_explained_says_why(changed: dict[str, Any], slot: int, said: str) -> None:
    with pytest.raises(UnreadableSource, match=said):
        explain_decision(decision(**changed), [], slot, DEFAULTS)


def test_chances_in_words_round_to_no_certainty() -> None:
    said = {
        0.5: "50 in 100",
        0.994: "99 in 100",
        0.996: "996 in 1,000",
        0.99999: "almost certain",
        1e-6: "less than 1 in 1,000",
    }
    assert {probability: chance(probability) for probability in said} == said
