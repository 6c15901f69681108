"""Behaviour may be cut off anywhere and go on with other batches: rows, models and items end as if it had not been."""

from collections import Counter
from collections.abc import Callable
from functools import partial

import orjson
import pytest

from streams.contract.metrics import AmountModels, LearnerMetrics, ProbabilityModels, decode_metrics
from streams.contract.topics import METRICS, PREDICTIONS, RECOMMENDATIONS
from streams.core.behaviour.fold import _Batch
from streams.core.items.fold import ItemsFold
from streams.core.learning.examples import Examples
from streams.engine.protocol import STEPS, Step
from streams.testing import Crash, Crashed, Outcome, Pipeline
from tests.pipeline.interruptions import behave_with_crashes
from tests.pipeline.shop_log import differing, learned_rows, outcomes, replay, replayed, shopped


def check_that_crashes_change_nothing(seed: int, *, within_deliveries: bool) -> None:
    pipeline = replay()
    crashes = behave_with_crashes(pipeline, seed, within_deliveries=within_deliveries)
    assert crashes > 5
    pipeline.learn(60)
    assert not differing(pipeline.behaviour.rows(), shopped().behaviour.rows())
    assert not differing(learned_rows(pipeline), learned_rows(replayed(500)))
    check_that_what_was_served_counts_once(pipeline, within_deliveries=within_deliveries)
    for topic in (PREDICTIONS, RECOMMENDATIONS):
        assert set(pipeline.topics.values(topic)) == set(shopped().topics.values(topic))
        repeats = Counter(orjson.loads(value)["event_ref"] for value in pipeline.topics.values(topic))
        assert max(repeats.values()) > 1
    for row, expected in zip(pipeline.behaviour.partition_rows(), shopped().behaviour.partition_rows(), strict=True):
        assert (row.applied_offset, row.watermark_ms) == (expected.applied_offset, expected.watermark_ms)
        # The ids that a row remembers would hide most of what is folded twice; as a duplicate it is counted.
        assert row.counts["duplicates"] <= expected.counts["duplicates"]
        if not within_deliveries:
            assert row == expected


def check_that_what_was_served_counts_once(pipeline: Pipeline, *, within_deliveries: bool) -> None:
    """Outcomes that were sent again are the same to the bit, and the learners measured each of them once.

    Where a part of a batch's rows was stored, what is sent again of one event is numbered from 0: only then do
    positions differ, below those that the learners have applied.
    """
    expected = outcomes(shopped())
    sent = outcomes(pipeline)
    assert sum(map(len, sent.values())) > sum(map(len, expected.values()))
    for line, found in expected.items():
        assert set(found) <= set(sent[line])
        if not within_deliveries:
            assert set(found) == set(sent[line])
        assert set(map(without_number, found)) == set(map(without_number, sent[line]))
    reports = {each.learner: each for value in pipeline.topics.values(METRICS) for each in learner_metrics(value)}
    for target in pipeline.settings.targets:
        quality = reports[target.name].quality
        assert isinstance(quality, ProbabilityModels | AmountModels)
        n_served = sum(len(found) for (name, _), found in expected.items() if name == target.name)
        assert quality.served.quality.examples + quality.served.from_prior == n_served > 0


def without_number(outcome: Outcome) -> Outcome:
    return outcome._replace(position=(outcome.position[0], 0))


def learner_metrics(value: bytes) -> list[LearnerMetrics]:
    record = decode_metrics(value)
    return [record] if isinstance(record, LearnerMetrics) else []


@pytest.mark.parametrize("step", STEPS)
def test_a_crash_of_learning_counts_no_outcome_twice_and_loses_none(step: Step) -> None:
    pipeline = replay()
    pipeline.behaviour.drain(60)
    for partition in pipeline.learning.partitions:
        for crash in (Crash(step), Crash("fold", 1), None):
            try:
                pipeline.learning.step(partition, 7, crash)
            except Crashed:
                pipeline.learning.restart(empty_table=True)
    pipeline.learn(60)
    assert not differing(learned_rows(pipeline), learned_rows(replayed(500)))


@pytest.mark.parametrize("seed", [1, 3])
def test_a_crash_after_any_step_changes_no_row_and_no_count(seed: int) -> None:
    check_that_crashes_change_nothing(seed, within_deliveries=False)


@pytest.mark.parametrize("seed", [3, 11])
def test_a_crash_within_a_delivery_changes_no_row(seed: int) -> None:
    check_that_crashes_change_nothing(seed, within_deliveries=True)


WRONG: dict[str, tuple[type, str, Callable[..., object]]] = {
    "relations-marks": (ItemsFold, "_not_applied", lambda self, row, batch: batch.signals),
    "learners-marks": (Examples, "after", lambda self, mark: self),
    "row-guards": (_Batch, "_is_applied", lambda self, offset, row: False),
}


@pytest.mark.parametrize("mechanism", WRONG)
def test_the_law_misses_every_mechanism_that_is_taken_away(mechanism: str, monkeypatch: pytest.MonkeyPatch) -> None:
    shopped(), replayed(500)
    monkeypatch.setattr(*WRONG[mechanism])
    law = partial(check_that_crashes_change_nothing, 3, within_deliveries=True)
    with pytest.raises(AssertionError):
        law()
