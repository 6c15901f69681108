"""The same log and the same feeds give the same rows and outputs, to the byte, however the log is cut into batches."""

import msgspec
import pytest

from streams.contract.records import decode_logged_decision
from streams.contract.settings import Engine
from streams.contract.topics import DECISIONS
from streams.core.policies.q_agent import NOTHING
from tests.pipeline.running import (
    SETTINGS,
    Pipeline,
    differing,
    examples,
    learned_rows,
    partition_rows,
    published,
    relations,
    replay,
    replayed,
    shopped,
    user_rows,
)

SIZES = (7, 500)


def test_the_log_holds_what_the_laws_are_about() -> None:
    counts = [row.counts for row in partition_rows(shopped())]
    for name in (
        "duplicates",
        "late",
        "unjoinable",
        "decisions_unshown",
        "decisions_displaced",
        "kinds.click",
        "rewards.cart",
        "rewards.purchase",
        "late_rewards.click",
    ):
        assert sum(count.get(name, 0) for count in counts) > 5, name
    learners = {learner for learner, _ in examples(shopped())}
    assert learners == set(shopped().settings.learners)
    decided = [decode_logged_decision(value) for value in shopped().topics.values(DECISIONS)]
    assert sum(decision.kind == NOTHING for decision in decided) > 5
    assert shopped().policies.versions["bandit"] > 0
    assert shopped().scorers.version("purchase") > 0


@pytest.mark.parametrize("size", SIZES)
def test_users_rows_are_the_same_bytes(size: int) -> None:
    assert not differing(user_rows(replayed(size)), user_rows(shopped()))
    assert partition_rows(replayed(size)) == partition_rows(shopped())


@pytest.mark.parametrize("size", SIZES)
def test_outputs_of_a_key_are_the_same_bytes_in_the_same_order(size: int) -> None:
    assert published(replayed(size)) == published(shopped())


@pytest.mark.parametrize("size", SIZES)
def test_examples_and_relations_are_the_same_in_the_same_order(size: int) -> None:
    assert examples(replayed(size)) == examples(shopped())
    assert relations(replayed(size)) == relations(shopped())


def test_items_and_learners_rows_are_the_same_bytes() -> None:
    one_by_one = replay()
    one_by_one.behave(1)
    one_by_one.learn(3)
    assert len(learned_rows(one_by_one)) > 40
    for size in SIZES:
        assert not differing(learned_rows(replayed(size)), learned_rows(one_by_one))


def test_a_restart_after_every_batch_changes_nothing() -> None:
    pipeline = replay()
    for partition in pipeline.partitions:
        while pipeline.behaviour.step(partition, 11):
            pipeline.behaviour.restart()
    assert not differing(user_rows(pipeline), user_rows(shopped()))
    assert partition_rows(pipeline) == partition_rows(shopped())
    assert published(pipeline) == published(shopped())
    assert examples(pipeline) == examples(shopped())
    assert relations(pipeline) == relations(shopped())


@pytest.mark.parametrize("hot_bytes", [0, 5000])
def test_rows_that_stay_in_memory_change_nothing(hot_bytes: int) -> None:
    settings = msgspec.structs.replace(SETTINGS, engine=Engine(hot_bytes=hot_bytes))
    pipeline = Pipeline(settings, feeds=shopped().begun_with, log=shopped().log)
    pipeline.behave(13)
    pipeline.learn(130)
    assert not differing(user_rows(pipeline), user_rows(shopped()))
    assert published(pipeline) == published(shopped())
    assert examples(pipeline) == examples(shopped())
    assert not differing(learned_rows(pipeline), learned_rows(replayed(SIZES[0])))
