"""Laws of a source that is deleted and made anew: every new record counts once, for every fold."""

from collections.abc import Sequence
from functools import reduce
from typing import Any

import pytest

from streams.contract.outputs import Output
from streams.contract.topics import CLICKSTREAM, EXAMPLES, ITEM_SIGNALS, PREDICTIONS, USERS_CHANGELOG
from streams.core.learning.row import LearnerRow
from streams.testing import MemoryRecord, MemoryTable, MemoryWorker, Pipeline
from tests.pipeline.shop_log import SETTINGS, shop


@pytest.fixture(scope="module")
def log() -> dict[int, list[MemoryRecord]]:
    """What a shop published before its topics were made anew, and publishes again afterwards."""
    recorded = Pipeline(SETTINGS)
    shop(recorded, 300)
    return recorded.log


def publish(pipeline: Pipeline, log: dict[int, list[MemoryRecord]]) -> None:
    for partition, records in log.items():
        for record in records:
            pipeline.topics.append(Output(CLICKSTREAM, record.key, record.value or b"", partition), record.timestamp)


def later(log: dict[int, list[MemoryRecord]]) -> dict[int, list[MemoryRecord]]:
    """The same events eleven days later, with other ids."""
    moved = ((b'"timestamp_ms":1700', b'"timestamp_ms":1701'), (b'"event_id":"', b'"event_id":"again-'))
    return {
        partition: [
            record._replace(value=reduce(lambda value, pair: value.replace(*pair), moved, record.value or b""))
            for record in records
        ]
        for partition, records in log.items()
    }


def begun(log: dict[int, list[MemoryRecord]]) -> Pipeline:
    pipeline = Pipeline(SETTINGS)
    pipeline.topics.ids = {topic.name: "first" for topic in SETTINGS.topics}
    publish(pipeline, log)
    pipeline.run()
    return pipeline


def make_anew(pipeline: Pipeline, topics: Sequence[str]) -> None:
    """Deletes topics and what the group has committed for them, and starts all workers again."""
    workers: list[MemoryWorker[Any, Any]] = [pipeline.behaviour, pipeline.items, pipeline.learning]
    for topic in topics:
        pipeline.topics.make_anew(topic, "second")
    for worker in workers:
        if worker.fold.source in topics:
            worker.committed.clear()
        if worker.fold.changelog in topics:
            worker.table = MemoryTable()
        worker.restart()


def learner(pipeline: Pipeline, name: str) -> LearnerRow:
    row = pipeline.learning.row(name.encode())
    assert isinstance(row, LearnerRow)
    return row


@pytest.mark.parametrize("lost", [[CLICKSTREAM], [CLICKSTREAM, USERS_CHANGELOG]])
def test_after_a_source_was_made_anew_learners_and_items_count_on(
    log: dict[int, list[MemoryRecord]], lost: list[str]
) -> None:
    pipeline = begun(log)
    before = {name: learner(pipeline, name) for name in ("purchase", "churn", "spend")}
    signals = sum(row.counts["applied"] for row in pipeline.items.partition_rows())
    make_anew(pipeline, lost)
    publish(pipeline, later(log))
    pipeline.run()
    for name, row in before.items():
        after = learner(pipeline, name)
        assert after.duplicates == 0
        assert row.examples > 10
        assert after.examples == len(pipeline.examples(name)) > 1.5 * row.examples
    rows = pipeline.items.partition_rows()
    assert not any("duplicates" in row.counts for row in rows)
    assert sum(row.counts["applied"] for row in rows) > signals


def test_every_event_of_the_new_source_is_predicted_at_under_a_reference_of_its_own(
    log: dict[int, list[MemoryRecord]],
) -> None:
    pipeline = begun(log)
    before = len(pipeline.predictions())
    make_anew(pipeline, [CLICKSTREAM])
    publish(pipeline, later(log))
    pipeline.run()
    refs = [prediction.event_ref for prediction in pipeline.predictions()]
    assert len(refs) == 2 * before
    assert len(set(refs)) == len(refs)


def test_rows_of_the_new_epoch_come_back_from_the_changelog(log: dict[int, list[MemoryRecord]]) -> None:
    pipeline = begun(log)
    make_anew(pipeline, [CLICKSTREAM, ITEM_SIGNALS, EXAMPLES])
    publish(pipeline, later(log))
    pipeline.run()
    for worker in (pipeline.behaviour, pipeline.items, pipeline.learning):
        rows = worker.rows(), worker.partition_rows()
        worker.restart(empty_table=True)
        assert (worker.rows(), worker.partition_rows()) == rows
        assert worker.drain() == 0


def test_records_that_come_again_from_the_same_source_are_still_dropped(log: dict[int, list[MemoryRecord]]) -> None:
    pipeline = begun(log)
    examples = learner(pipeline, "purchase").examples
    pipeline.topics.make_anew(USERS_CHANGELOG, "second")
    pipeline.behaviour.table = MemoryTable()
    pipeline.behaviour.committed.clear()
    pipeline.behaviour.restart()
    pipeline.run()
    assert learner(pipeline, "purchase").duplicates > 100
    assert learner(pipeline, "purchase").examples == examples
    assert len(pipeline.topics.values(PREDICTIONS)) > 100
