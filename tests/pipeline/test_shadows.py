"""Shadows decide everything and are logged; nothing else in the world changes by them."""

from collections import defaultdict
from contextlib import suppress
from functools import cache

import msgspec
import pytest

from streams.contract.errors import RejectedRecord
from streams.contract.events import decode_event
from streams.contract.experiment import Experiment
from streams.contract.records import NO_SOURCE, LoggedDecision
from streams.contract.settings.policies import CONTROLS
from streams.contract.topics import CLICKSTREAM, DECISIONS
from streams.core.retrieval.shortlist import SOURCE_NAMES
from streams.testing import Pipeline
from tests.pipeline.shop_log import differing, examples, published, replay, shopped, signals

SHADOWS = ("bandit", "ranked", "popular", "q")


@cache
def shadowed(batch_records: int) -> Pipeline:
    """The log of :func:`shopped`, with some policies as a shadow."""
    pipeline = replay()
    shares = pipeline.settings.decisions.shares
    assert pipeline.experiment.apply(msgspec.json.encode(Experiment(shares=shares, shadows=SHADOWS)))
    pipeline.behaviour.drain(batch_records)
    return pipeline


def logged(pipeline: Pipeline, *, shadow: bool) -> list[LoggedDecision]:
    return [decision for decision in pipeline.decisions() if decision.shadow == shadow]


def test_rows_recommendations_examples_and_relations_are_the_same_bytes_with_shadows_and_without() -> None:
    assert not differing(shadowed(500).behaviour.rows(), shopped().behaviour.rows())
    assert examples(shadowed(500)) == examples(shopped())
    assert signals(shadowed(500)) == signals(shopped())
    with_shadows, without = published(shadowed(500)), published(shopped())
    for place, values in without.items():
        assert place[0] == DECISIONS or with_shadows[place] == values
    by_event = {decision.event_ref: decision for decision in logged(shopped(), shadow=False)}
    assert {decision.event_ref: decision for decision in logged(shadowed(500), shadow=False)} == by_event
    tallies = [[row.tallies for row in each.behaviour.partition_rows()] for each in (shadowed(500), shopped())]
    assert tallies[0] == tallies[1]


def test_every_decision_is_made_by_every_shadow_that_was_not_shown() -> None:
    pipeline = shadowed(500)
    shown = {decision.decision_id: decision for decision in logged(pipeline, shadow=False)}
    besides = {(decision.event_ref, decision.policy): decision for decision in logged(pipeline, shadow=True)}
    expected = {(one.event_ref, shadow) for one in shown.values() for shadow in SHADOWS if shadow != one.policy}
    assert besides.keys() == expected
    counts = [row.counts for row in pipeline.behaviour.partition_rows()]
    for policy in SHADOWS:
        made = sum(decision.policy == policy for decision in besides.values())
        assert made == sum(count.get(f"shadows.{policy}", 0) for count in counts) > 50
    for decision in besides.values():
        name, _, policy = decision.decision_id.rpartition("/")
        assert shown[name].event_ref == decision.event_ref
        assert policy == decision.policy


def test_a_shadow_decides_what_it_would_decide_if_it_were_shown() -> None:
    """Those whom the bandit decides for get the same slate from it in the shadow of another."""
    pipeline = replay()
    assert pipeline.experiment.apply(msgspec.json.encode(Experiment(shares={"random": 1.0}, shadows=("bandit",))))
    pipeline.behaviour.drain(500)
    in_the_shadow = {decision.event_ref: decision for decision in logged(pipeline, shadow=True)}
    in_the_light = [decision for decision in logged(shopped(), shadow=False) if decision.policy == "bandit"]
    assert len(in_the_light) > 50
    for decision in in_the_light:
        other = in_the_shadow[decision.event_ref]
        assert (other.slate, other.shortlist) == (decision.slate, decision.shortlist)
        assert other.propensities == pytest.approx(decision.propensities)


def test_the_log_with_shadows_is_the_same_bytes_in_the_same_order_in_any_batches() -> None:
    assert published(shadowed(7)) == published(shadowed(500))


def with_candidates(pipeline: Pipeline) -> set[str]:
    """Ids of the valid events that bring candidates."""
    found = set()
    for value in pipeline.topics.values(CLICKSTREAM):
        with suppress(RejectedRecord):
            event = decode_event(value)
            found |= {event.event_id} if event.candidates is not None else set()
    return found


def test_popular_shows_what_is_popular_in_the_whole_shop_whoever_looks() -> None:
    pipeline = shadowed(500)
    popular = [
        decision for decision in logged(pipeline, shadow=True) if decision.policy == "popular" and decision.slate
    ]
    assert len(popular) > 50
    asked = with_candidates(pipeline)
    assert {decision.event_id in asked for decision in popular} == {True, False}
    for decision in popular:
        source = NO_SOURCE if decision.event_id in asked else SOURCE_NAMES.index("popular")
        assert set(decision.sources) == {source}
        assert decision.slate == list(range(len(decision.slate)))
        assert set(decision.propensities) == {1.0}
    # The shortlist is the same for all but for the item that is looked at.
    assert len({tuple(sorted(each.shortlist)) for each in popular if each.event_id not in asked}) <= 25


def test_ranked_shows_the_first_items_of_a_shortlist_without_a_model_and_those_that_learn_share_theirs() -> None:
    by_event: dict[str, dict[str, LoggedDecision]] = defaultdict(dict)
    for is_shadow in (False, True):
        for decision in logged(shadowed(500), shadow=is_shadow):
            by_event[decision.event_ref][decision.policy] = decision
    ranked = [each["ranked"] for each in by_event.values() if "ranked" in each]
    assert len(ranked) > 50
    for decision in ranked:
        assert decision.slate == list(range(len(decision.slate)))
        assert decision.propensities == [1.0] * len(decision.slate)
    differ = 0
    for decisions in by_event.values():
        lists = [each.shortlist for name, each in decisions.items() if name not in CONTROLS]
        assert all(shortlist == lists[0] for shortlist in lists)
        if {"ranked", "random"} <= decisions.keys():
            assert decisions["ranked"].shortlist == decisions["random"].shortlist
        differ += bool(lists) and "ranked" in decisions and decisions["ranked"].shortlist != lists[0]
    # The reward model picks the others', as soon as there is one.
    assert differ > 20
