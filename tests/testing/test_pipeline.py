"""The pipeline in memory: what it publishes, when global tables change, and which clock counts."""

import msgspec
import pytest

from streams.contract.events import Event
from streams.contract.experiment import Experiment
from streams.contract.outputs import Output
from streams.contract.settings import Kafka, Settings, Time, Window
from streams.contract.topics import DEAD_LETTERS, EXPERIMENTS, MODELS
from streams.testing import MemoryReader, Pipeline

START_MS = 1_700_000_000_000
HOUR_MS = 3_600_000
SETTINGS = Settings(kafka=Kafka(partitions=3), time=Time(confirming_users=1))


def view(number: int, user_id: str = "ann", at_ms: int = START_MS) -> Event:
    return Event(event_id=f"e{number}", timestamp_ms=at_ms, kind="view", user_id=user_id, item_id=f"item-{number % 3}")


def shopped() -> Pipeline:
    pipeline = Pipeline()
    for number in range(60):
        pipeline.publish(view(number, f"user-{number % 7}", START_MS + 1000 * number))
    pipeline.tick(START_MS + HOUR_MS)
    return pipeline


def test_every_view_is_predicted_for_and_answered() -> None:
    pipeline = shopped()
    pipeline.run()
    views = {f"clickstream-{n}-{r.offset}" for n, log in pipeline.log.items() for r in log if r.key}
    assert len(views) == 60
    for made in (pipeline.predictions(), pipeline.recommendations(), pipeline.decisions()):
        assert {each.event_ref for each in made if not each.event_ref.endswith("-end")} == views


def test_all_that_was_served_has_an_outcome_and_a_sample_of_it_is_an_example() -> None:
    pipeline = shopped()
    pipeline.run()
    outcomes, examples = pipeline.outcomes("purchase"), pipeline.examples("purchase")
    assert len(outcomes) == 60 > len(examples) > 0
    assert {(each.partition, each.position) for each in examples} < {
        (each.partition, each.position) for each in outcomes
    }
    assert all(outcome.from_prior and outcome.label == 0.0 for outcome in outcomes)
    assert pipeline.outcomes("bandit") == []


def test_a_tick_moves_time_in_every_partition() -> None:
    pipeline = Pipeline(SETTINGS)
    pipeline.tick(START_MS)
    pipeline.behaviour.drain()
    lateness_ms = round(1000 * SETTINGS.time.allowed_lateness_s)
    assert [row.watermark_ms for row in pipeline.behaviour.partition_rows()] == [START_MS - lateness_ms] * 3


def test_global_tables_change_by_refresh_alone() -> None:
    pipeline = shopped()
    pipeline.behaviour.drain()
    pipeline.learn()
    assert not pipeline.item_table.ids
    assert pipeline.scorers.version("purchase") == 0
    pipeline.refresh()
    assert set(pipeline.item_table.ids) == {"item-0", "item-1", "item-2"}
    assert pipeline.scorers.version("purchase") > 0


def test_a_pipeline_begins_with_the_global_tables_of_another() -> None:
    other = shopped()
    other.run()
    pipeline = Pipeline(global_tables=other.global_tables)
    assert set(pipeline.item_table.ids) == set(other.item_table.ids)
    assert pipeline.scorers.version("purchase") == other.scorers.version("purchase")


def test_an_experiment_is_in_force_from_the_next_refresh_on() -> None:
    pipeline = Pipeline()
    pipeline.topics.append(Output(EXPERIMENTS, b"running", msgspec.json.encode(Experiment(shares={"random": 1.0}))))
    pipeline.refresh()
    assert pipeline.experiment.current.shares == {"random": 1.0}
    pipeline.topics.append(Output(EXPERIMENTS, b"running", b"{}"))
    with pytest.raises(ValueError, match="the experiment is refused"):
        pipeline.refresh()


def test_models_that_do_not_fit_the_settings_are_an_error() -> None:
    other = shopped()
    other.run()
    narrow = Pipeline(Settings(windows=(Window(name="1m", pane_s=60, panes=1),)))
    narrow.topics.extend(Output(MODELS, b"", value) for value in other.global_tables.models)
    with pytest.raises(ValueError, match="do not fit the settings"):
        narrow.refresh()


def test_an_event_is_judged_by_the_brokers_clock_and_the_clock_is_the_callers() -> None:
    pipeline = Pipeline(Settings(kafka=Kafka(partitions=1)), now_ms=START_MS)
    pipeline.publish(view(0, at_ms=START_MS + HOUR_MS))
    pipeline.topics.now_ms += HOUR_MS
    pipeline.publish(view(1, at_ms=START_MS + HOUR_MS))
    pipeline.behaviour.drain()
    [letter] = pipeline.topics.records[DEAD_LETTERS, 0]
    assert dict(letter.headers)["reason"] == b"ahead"
    assert [record.timestamp for record in pipeline.log[0]] == [START_MS, START_MS + HOUR_MS]


def test_a_reader_takes_each_value_once() -> None:
    pipeline = Pipeline()
    reader = MemoryReader(pipeline.topics, EXPERIMENTS)
    for value in (b"1", b"2"):
        pipeline.topics.append(Output(EXPERIMENTS, None, value))
        assert reader.take() == [value]
    assert reader.take() == []
    assert pipeline.topics.values(EXPERIMENTS) == [b"1", b"2"]
