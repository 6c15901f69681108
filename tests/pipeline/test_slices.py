"""What falls due at once is matured in slices: rows, outputs and models are those of one batch, crashes or not."""

from collections.abc import Callable
from random import Random
from typing import Any, Final

import pytest
from msgspec.structs import replace

from streams.contract.events import Event
from streams.contract.fold import PARTITION_KEY, DueCursor, decode_partition_row
from streams.contract.settings import Engine, Kafka
from streams.contract.topics import CLICKSTREAM, PREDICTIONS, RECOMMENDATIONS, USERS_CHANGELOG
from streams.core.behaviour.fold import _Batch
from streams.engine import protocol
from streams.engine.protocol import STEPS
from streams.testing import Crash, Crashed, Pipeline
from tests.pipeline.shop_log import (
    SETTINGS,
    START_MS,
    differing,
    examples,
    learned_rows,
    outcomes,
    published,
    replayed,
    shopped,
    signals,
)

HOUR_MS: Final = 3_600_000


def replay_in_slices(due_rows: int) -> Pipeline:
    """The log of the shop, whose waves make up to 24 users due at once, before anything is folded."""
    settings = replace(SETTINGS, engine=Engine(batch_due_rows=due_rows))
    return Pipeline(settings, shopped().begun_with, shopped().log)


def cursors(pipeline: Pipeline) -> int:
    """How many slices were logged: the row of their partition has a cursor then."""
    return sum(
        record.key == PARTITION_KEY and decode_partition_row(record.value or b"").due_cursor is not None
        for partition in pipeline.partitions
        for record in pipeline.topics.records[USERS_CHANGELOG, partition]
    )


def check_rows(pipeline: Pipeline, expected: Pipeline) -> None:
    assert not differing(pipeline.behaviour.rows(), expected.behaviour.rows())
    for row, other in zip(pipeline.behaviour.partition_rows(), expected.behaviour.partition_rows(), strict=True):
        assert (row.applied_offset, row.watermark_ms) == (other.applied_offset, other.watermark_ms)
        assert row.due_cursor is None


@pytest.mark.parametrize(("due_rows", "batch_records"), [(1, 7), (1, 500), (3, 1), (3, 60)])
def test_slices_of_any_size_in_any_batches_give_the_same_rows_and_outputs(due_rows: int, batch_records: int) -> None:
    pipeline = replay_in_slices(due_rows)
    pipeline.behaviour.drain(batch_records)
    assert cursors(pipeline) > 20
    check_rows(pipeline, shopped())
    assert pipeline.behaviour.partition_rows() == shopped().behaviour.partition_rows()
    for what in (published, examples, outcomes, signals):
        assert what(pipeline) == what(shopped())


def fold_with_crashes(pipeline: Pipeline, seed: int, *, among_rows: bool) -> None:
    """Folds everything while the process is cut off in most of its batches, and loses its disk now and then."""
    random = Random(seed)
    for partition in pipeline.partitions:
        while pipeline.behaviour.committed[partition] < len(pipeline.topics.records[CLICKSTREAM, partition]):
            crash: Crash | None = Crash(random.choice(STEPS))
            if among_rows:
                crash = Crash(*random.choice((("fold", random.randrange(9)), ("emit", random.randrange(4)))))
            try:
                pipeline.behaviour.step(partition, random.choice((2, 20, 60)), random.choice((crash, crash, None)))
            except Crashed:
                pipeline.behaviour.restart(empty_table=random.random() < 0.1)


def check_that_crashes_change_nothing(due_rows: int, seed: int, *, among_rows: bool) -> None:
    pipeline = replay_in_slices(due_rows)
    fold_with_crashes(pipeline, seed, among_rows=among_rows)
    assert cursors(pipeline) > 20
    check_rows(pipeline, shopped())
    if not among_rows:
        assert pipeline.behaviour.partition_rows() == shopped().behaviour.partition_rows()
    for topic in (PREDICTIONS, RECOMMENDATIONS):
        assert set(pipeline.topics.values(topic)) == set(shopped().topics.values(topic))
    pipeline.learn(60)
    assert not differing(learned_rows(pipeline), learned_rows(replayed(500)))


@pytest.mark.parametrize(("due_rows", "seed"), [(1, 1), (3, 2)])
def test_a_crash_after_any_step_of_a_slice_changes_no_row_no_count_and_no_model(due_rows: int, seed: int) -> None:
    check_that_crashes_change_nothing(due_rows, seed, among_rows=False)


@pytest.mark.parametrize(("due_rows", "seed"), [(2, 3), (5, 4)])
def test_a_crash_within_the_outputs_or_rows_of_a_slice_changes_no_row_and_no_model(due_rows: int, seed: int) -> None:
    check_that_crashes_change_nothing(due_rows, seed, among_rows=True)


def test_no_batch_loads_more_rows_than_may_fall_due_in_it() -> None:
    due_rows, loaded = 5, list[int]()
    pipeline = Pipeline(replace(SETTINGS, engine=Engine(batch_due_rows=due_rows)))
    for number in range(60):
        view = Event(event_id="v", timestamp_ms=START_MS, kind="view", user_id=f"user-{number}", item_id="item")
        pipeline.publish(view)
    pipeline.behaviour.drain()
    keys = pipeline.behaviour.fold.keys

    def counted(state: Any, events: Any) -> Any:
        named = set(keys(state, events))
        loaded.append(len(named))
        return named

    pipeline.behaviour.fold.keys = counted  # type: ignore[method-assign]
    pipeline.tick(START_MS + 24 * HOUR_MS)
    pipeline.behaviour.drain()
    assert sum(loaded) >= 60
    assert max(loaded) == due_rows


def test_slices_go_on_with_the_next_event_where_theirs_is_gone() -> None:
    """Retention removed the tick; the users who had not matured do so at the next one, and nobody twice."""
    pipeline = Pipeline(replace(SETTINGS, engine=Engine(batch_due_rows=2), kafka=Kafka(partitions=1)))
    for number in range(6):
        view = Event(event_id="v", timestamp_ms=START_MS, kind="view", user_id=f"user-{number}", item_id="item")
        pipeline.publish(view)
    pipeline.behaviour.drain()
    pipeline.tick(START_MS + 48 * HOUR_MS)
    with pytest.raises(Crashed):
        pipeline.behaviour.step(0, crash=Crash("emit", 2))
    pipeline.topics.records[CLICKSTREAM, 0][6] = pipeline.log[0][6]._replace(value=b"gone")
    pipeline.tick(START_MS + 48 * HOUR_MS)
    pipeline.behaviour.drain()
    assert pipeline.behaviour.partition_rows()[0].due_cursor is None
    assert len(pipeline.outcomes("churn")) == 6
    pipeline.learn()
    assert pipeline.behaviour.fold.decode_row(next(iter(pipeline.behaviour.rows().values()))).prediction_points == []


def log_the_partition_last(log: Any) -> Any:
    async def logged(engine: Any, partition: Any, encoded: dict[bytes, bytes]) -> None:
        own = {PARTITION_KEY: encoded.pop(PARTITION_KEY)}
        await log(engine, partition, encoded | own)
        encoded |= own

    return logged


def without_indices(finish: Any) -> Any:
    def finished(self: Any) -> Any:
        result, row = finish(self), self._partition
        if row.due_cursor is not None:
            row.due_cursor = DueCursor(row.due_cursor.offset, row.due_cursor.deadline_ms, row.due_cursor.key)
        return result

    return finished


WRONG: dict[str, tuple[Any, str, Callable[[Any], Any]]] = {
    "cursor-first": (protocol, "log", log_the_partition_last),
    "matured-again": (_Batch, "_mature_again", lambda mature: lambda self, cursor: None),
    "last-indices": (_Batch, "finish", without_indices),
}


@pytest.mark.parametrize("mechanism", WRONG)
def test_the_law_misses_every_mechanism_that_is_taken_away(mechanism: str, monkeypatch: pytest.MonkeyPatch) -> None:
    shopped(), replayed(500)
    owner, name, wrong = WRONG[mechanism]
    monkeypatch.setattr(owner, name, wrong(getattr(owner, name)))
    with pytest.raises(AssertionError):
        check_that_crashes_change_nothing(2, 3, among_rows=True)
