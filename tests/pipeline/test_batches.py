"""All folds, one after the other, and their engine give the same rows and outputs in batches of any size."""

import msgspec
import pytest

from streams.contract.settings import Engine
from streams.core.policies.q_agent import NOTHING
from streams.testing import Pipeline
from tests.pipeline.shop_log import (
    SETTINGS,
    differing,
    examples,
    learned_rows,
    outcomes,
    published,
    replay,
    replayed,
    shopped,
    signals,
)

SIZES = (7, 500)


def test_the_log_holds_what_the_laws_are_about() -> None:
    counts = [row.counts for row in shopped().behaviour.partition_rows()]
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
    assert sum(decision.source == NOTHING for decision in shopped().decisions()) > 5
    assert shopped().policies.versions["bandit"] > 0
    assert shopped().scorers.version("purchase") > 0


def test_items_and_learners_rows_are_the_same_bytes() -> None:
    one_by_one = replay()
    one_by_one.behaviour.drain(1)
    one_by_one.learn(3)
    assert len(learned_rows(one_by_one)) > 40
    for size in SIZES:
        assert not differing(learned_rows(replayed(size)), learned_rows(one_by_one))
        assert outcomes(replayed(size)) == outcomes(one_by_one)


@pytest.mark.parametrize("row_cache_bytes", [0, 5000])
def test_rows_that_stay_in_memory_change_nothing(row_cache_bytes: int) -> None:
    settings = msgspec.structs.replace(SETTINGS, engine=Engine(row_cache_bytes=row_cache_bytes))
    pipeline = Pipeline(settings, shopped().begun_with, shopped().log)
    pipeline.behaviour.drain(13)
    pipeline.learn(130)
    assert not differing(pipeline.behaviour.rows(), shopped().behaviour.rows())
    assert pipeline.behaviour.partition_rows() == shopped().behaviour.partition_rows()
    assert published(pipeline) == published(shopped())
    assert examples(pipeline) == examples(shopped())
    assert outcomes(pipeline) == outcomes(shopped())
    assert signals(pipeline) == signals(shopped())
    assert not differing(learned_rows(pipeline), learned_rows(replayed(SIZES[0])))
