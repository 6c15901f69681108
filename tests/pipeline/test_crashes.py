"""Behaviour may be cut off anywhere and go on with other batches: rows, models and items end as if it had not been."""

from collections import Counter
from collections.abc import Callable
from functools import partial

import orjson
import pytest

from streams.contract.topics import PREDICTIONS, RECOMMENDATIONS
from streams.core.behaviour import _Batch
from streams.core.learning.examples import Examples
from streams.core.relations import RelationsFold
from tests.pipeline.cutting import behave_with_crashes
from tests.pipeline.running import differing, learned_rows, partition_rows, replay, replayed, shopped, user_rows


def check_that_crashes_change_nothing(seed: int, *, within_deliveries: bool) -> None:
    pipeline = replay()
    crashes = behave_with_crashes(pipeline, seed, within_deliveries=within_deliveries)
    assert crashes > 5
    pipeline.learn(60)
    assert not differing(user_rows(pipeline), user_rows(shopped()))
    assert not differing(learned_rows(pipeline), learned_rows(replayed(500)))
    for topic in (PREDICTIONS, RECOMMENDATIONS):
        assert set(pipeline.topics.values(topic)) == set(shopped().topics.values(topic))
        repeats = Counter(orjson.loads(value)["event_ref"] for value in pipeline.topics.values(topic))
        assert max(repeats.values()) > 1
    for row, expected in zip(partition_rows(pipeline), partition_rows(shopped()), strict=True):
        assert (row.guard, row.watermark_ms) == (expected.guard, expected.watermark_ms)
        if not within_deliveries:
            assert row == expected


@pytest.mark.parametrize("seed", [1, 3])
def test_a_crash_after_any_step_changes_no_row_and_no_count(seed: int) -> None:
    check_that_crashes_change_nothing(seed, within_deliveries=False)


@pytest.mark.parametrize("seed", [3, 8])
def test_a_crash_within_a_delivery_changes_no_row(seed: int) -> None:
    check_that_crashes_change_nothing(seed, within_deliveries=True)


WRONG: dict[str, tuple[type, str, Callable[..., object]]] = {
    "relations-marks": (RelationsFold, "_fresh", lambda self, row, batch: batch.relations),
    "learners-marks": (Examples, "after", lambda self, mark: self),
    "row-guards": (_Batch, "_guarded", lambda self, offset, row: False),
}


@pytest.mark.parametrize("mechanism", WRONG)
def test_the_law_misses_every_mechanism_that_is_taken_away(mechanism: str, monkeypatch: pytest.MonkeyPatch) -> None:
    shopped(), replayed(500)
    monkeypatch.setattr(*WRONG[mechanism])
    law = partial(check_that_crashes_change_nothing, 3, within_deliveries=True)
    with pytest.raises(AssertionError):
        law()
