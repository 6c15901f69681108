"""Shadows decide everything and are logged; nothing else in the world changes by them."""

from functools import cache

import msgspec
import pytest

from streams.contract.experiment import Experiment
from streams.contract.records import LoggedDecision, decode_logged_decision
from streams.contract.topics import DECISIONS
from streams.core.behaviour import BehaviourFold
from streams.core.retrieval.shortlist import KINDS
from tests.pipeline.running import (
    Pipeline,
    differing,
    examples,
    partition_rows,
    published,
    relations,
    replay,
    shopped,
    user_rows,
)

SHADOWS = ("bandit", "popular", "q")


@cache
def shadowed(batch_records: int) -> Pipeline:
    """The log of :func:`shopped`, with every policy but the control as a shadow."""
    pipeline = replay()
    fold = pipeline.behaviour.engine.fold
    assert isinstance(fold, BehaviourFold)
    shares = pipeline.settings.decisions.shares
    assert fold.experiment.apply(msgspec.json.encode(Experiment(shares=shares, shadows=SHADOWS)))
    pipeline.behave(batch_records)
    return pipeline


def logged(pipeline: Pipeline, *, shadow: bool) -> list[LoggedDecision]:
    decisions = map(decode_logged_decision, pipeline.topics.values(DECISIONS))
    return [decision for decision in decisions if decision.shadow == shadow]


def test_rows_recommendations_examples_and_relations_are_the_same_bytes_with_shadows_and_without() -> None:
    assert not differing(user_rows(shadowed(500)), user_rows(shopped()))
    assert examples(shadowed(500)) == examples(shopped())
    assert relations(shadowed(500)) == relations(shopped())
    with_shadows, without = published(shadowed(500)), published(shopped())
    for place, values in without.items():
        assert place[0] == DECISIONS or with_shadows[place] == values
    by_event = {decision.event_ref: decision for decision in logged(shopped(), shadow=False)}
    assert {decision.event_ref: decision for decision in logged(shadowed(500), shadow=False)} == by_event
    assert [row.tallies for row in partition_rows(shadowed(500))] == [row.tallies for row in partition_rows(shopped())]


def test_every_decision_is_made_by_every_shadow_that_was_not_shown() -> None:
    pipeline = shadowed(500)
    shown = {decision.decision_id: decision for decision in logged(pipeline, shadow=False)}
    besides = {(decision.event_ref, decision.policy): decision for decision in logged(pipeline, shadow=True)}
    expected = {(one.event_ref, shadow) for one in shown.values() for shadow in SHADOWS if shadow != one.policy}
    assert besides.keys() == expected
    counts = [row.counts for row in partition_rows(pipeline)]
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
    fold = pipeline.behaviour.engine.fold
    assert isinstance(fold, BehaviourFold)
    assert fold.experiment.apply(msgspec.json.encode(Experiment(shares={"control": 1.0}, shadows=("bandit",))))
    pipeline.behave(500)
    in_the_shadow = {decision.event_ref: decision for decision in logged(pipeline, shadow=True)}
    in_the_light = [decision for decision in logged(shopped(), shadow=False) if decision.policy == "bandit"]
    assert len(in_the_light) > 50
    for decision in in_the_light:
        other = in_the_shadow[decision.event_ref]
        assert (other.slate, other.shortlist) == (decision.slate, decision.shortlist)
        assert other.propensities == pytest.approx(decision.propensities)


def test_the_log_with_shadows_is_the_same_bytes_in_the_same_order_in_any_batches() -> None:
    assert published(shadowed(7)) == published(shadowed(500))


def test_the_second_control_draws_uniformly_from_what_is_popular_whoever_looks() -> None:
    pipeline = shadowed(500)
    popular = [
        decision for decision in logged(pipeline, shadow=True) if decision.policy == "popular" and decision.slate
    ]
    assert len(popular) > 50
    for decision in popular:
        n = len(decision.shortlist)
        assert set(decision.kinds) == {KINDS.index("popular")}
        assert decision.propensities == pytest.approx([1.0 / (n - slot) for slot in range(len(decision.slate))])
    assert len({tuple(sorted(decision.shortlist)) for decision in popular}) <= 25
