"""Records of the metrics topic: what a worker writes is what a view shows, and nothing on the topic ends a reader."""

from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any, get_args

import msgspec
import numpy as np
import pytest
from confluent_kafka import Producer
from hypothesis import given
from hypothesis import strategies as st

from streams.brokers.embedded import EmbeddedBroker
from streams.contract.errors import RejectedRecord
from streams.contract.experiment import Experiment
from streams.contract.fold import PartitionRow
from streams.contract.metrics import (
    Drift,
    Estimate,
    GroundTruthMetrics,
    LearnerMetrics,
    LearnerQuality,
    MetricsRecord,
    PolicyRegret,
    ProbabilityModels,
    Rewards,
    ServedProbabilities,
    WorkerMetrics,
    decode_metrics,
    encode_metrics,
)
from streams.contract.settings import Kafka, Settings
from streams.contract.source_epoch import AppliedPositions
from streams.contract.topics import CLICKSTREAM
from streams.core.models.quality import Evaluation
from streams.engine.offsets import Coverage
from streams.engine.protocol import Progress
from streams.engine.readers import Unread
from streams.engine.recovery import Recovery
from streams.engine.watchdog import Condition
from streams.observability.metrics_reporter import LATENCY_EDGES_MS, MetricsReporter, percentiles
from streams.observability.metrics_view import MetricsView

ROW = PartitionRow(
    applied_offset=41,
    watermark_ms=5000,
    applied_positions={"items": AppliedPositions([], {1: (0, 7, 0)})},
    counts={"applied": 40, "late": 1, "dead_letters.malformed": 3, "kinds.view": 37, "decisions.q": 9},
    tallies={"policy.q": [3, 20, 4, 150, 30, 8], "funnel.shoes": [30, 5, 2]},
)
CONDITION = Condition(frozenset(), None, {}, {}, 0.5, Recovery(0.0, 2.0, rows=60, offsets=75, left=25), 77, 5)
CONDITION = CONDITION._replace(unread={("examples", 1): Unread(8, 61.0)})


def new_reporter(kafka: Kafka, applied: int = 40, applied_offset: int = 41) -> MetricsReporter:
    """A reporter of one partition, number 2, from which one record was taken."""
    row = msgspec.structs.replace(ROW, applied_offset=applied_offset, counts=ROW.counts | {"applied": applied})
    progress = Progress(records=45, latencies_ms=[3, 5, 900])
    progress.step_ns["fold"] = 90_000_000
    running = SimpleNamespace(current=Experiment(shares={"random": 1.0}, shadows=("q",)), refused="no random")
    opened = SimpleNamespace(number=2, position=1, committed=msgspec.msgpack.encode(row))
    fold = SimpleNamespace(source=CLICKSTREAM, experiment=running)
    worker: Any = SimpleNamespace(partitions={2: opened}, engine=SimpleNamespace(fold=fold, progress=progress))
    return MetricsReporter(Settings(kafka=kafka), {CLICKSTREAM: worker}, lambda: CONDITION)


@cache
def worker_record(applied: int = 40, applied_offset: int = 41) -> WorkerMetrics:
    """A record of that reporter while the partition holds three records."""
    reporter: Any = new_reporter(Kafka(), applied, applied_offset)
    reporter._offsets = SimpleNamespace(coverage=lambda topic, number: Coverage(0, 3))
    record: WorkerMetrics = reporter.measure()
    return record


def learner_record(version: int = 3, champion: str = "linear") -> LearnerMetrics:
    evaluation = Evaluation()
    evaluation.update(np.array([0.2, 0.7]), np.array([0.0, 1.0]), np.ones(2))
    drift = Drift(alarms=1, recoveries=0, open=True, window_examples=9, window_loss=0.25)
    served = ServedProbabilities(evaluation.quality(), 3, None, Estimate(1.1, 0.9, 1.3))
    quality = ProbabilityModels(
        positives=1,
        served=served,
        models={"linear": evaluation.quality()},
        switches=0,
        replacement="linear#1",
        drift=drift,
    )
    return LearnerMetrics(
        source="learning/cart",
        timestamp_ms=5,
        learner="cart",
        version=version,
        examples=2,
        champion=champion,
        quality=quality,
    )


RECORDS: tuple[MetricsRecord, ...] = (
    worker_record(),
    learner_record(),
    msgspec.structs.replace(
        learner_record(), quality=Rewards(mean_reward=0.5, mean_reward_by_type={"click": 0.5}), demoted_bytes={"a": 1}
    ),
    GroundTruthMetrics(
        source="simulator",
        timestamp_ms=1,
        policies={"q": PolicyRegret(slates=1, true_ctr=0.1, best_ctr=0.2, regret=0.5, regret_per_slate=0.5)},
    ),
)


@pytest.mark.parametrize("record", RECORDS, ids=lambda record: record.__struct_config__.tag)
def test_a_record_is_read_as_it_was_written(record: MetricsRecord) -> None:
    assert decode_metrics(encode_metrics(record)) == record


def test_every_type_is_in_the_reference() -> None:
    reference = (Path(__file__).parents[2] / "docs/reference/topics.md").read_text("utf-8")
    types = {kind.__struct_config__.tag for union in (MetricsRecord, LearnerQuality) for kind in get_args(union)}
    assert types >= {"worker", "learner", "rewards"}
    assert not {type_ for type_ in types if f"`{type_}`" not in reference}


def test_a_field_of_a_later_version_is_skipped() -> None:
    value = encode_metrics(learner_record())
    assert decode_metrics(value[:-1] + b',"later":{"x":1}}') == learner_record()


def test_a_worker_reports_its_partitions_and_their_totals() -> None:
    record = worker_record()
    fold = record.folds[CLICKSTREAM]
    assert fold.records_per_s == pytest.approx(45 / record.interval_s)
    assert fold.step_us_per_record["fold"] == 2000.0
    assert fold.latency_ms == fold.latency_ms_overall == percentiles(np.histogram([3, 5, 900], LATENCY_EDGES_MS)[0])
    partition = fold.partitions[2]
    assert partition.lag == 2
    assert (partition.applied_offset, partition.watermark_ms) == (41, 5000)
    assert partition.applied_positions == {"items": {1: (0, 7, 0)}}
    assert (partition.exposures, partition.funnel) == ({"q": (3, 20, 4, 150, 30, 8)}, {"shoes": (30, 5, 2)})
    assert (record.totals.applied, record.totals.late, record.totals.dead_letters) == (40, 1, {"malformed": 3})
    policy = record.totals.policies["q"]
    assert (policy.decisions, policy.users, policy.impressions, policy.clicks) == (9, 3, 20, 4)
    shoes = record.totals.funnel["shoes"]
    assert (shoes.views, shoes.carts, shoes.purchases) == (30, 5, 2)
    assert (record.recovery.recovered_rows, record.recovery.standby_rows) == (77, 5)
    assert record.recovery.last is not None
    assert (record.recovery.last.rows, record.recovery.last.rows_per_s, record.recovery.last.done) == (60, 30.0, 0.75)
    assert record.unread == {"examples-1": 8}
    assert record.experiment is not None
    assert (record.experiment.shares, record.experiment.shadows) == ({"random": 1.0}, ("q",))
    assert record.experiment.refused == "no random"


@pytest.mark.broker
def test_the_lag_is_counted_to_the_end_that_the_broker_has() -> None:
    with EmbeddedBroker({CLICKSTREAM: 4}) as broker:
        producer = Producer({"bootstrap.servers": broker.bootstrap_servers})
        for _ in range(3):
            producer.produce(CLICKSTREAM, b"{}", partition=2)
        assert producer.flush(10.0) == 0
        record = new_reporter(Kafka(bootstrap_servers=broker.bootstrap_servers)).measure()
    assert record.folds[CLICKSTREAM].partitions == worker_record().folds[CLICKSTREAM].partitions


def test_percentiles_are_upper_edges_of_bins_and_none_of_nothing() -> None:
    latencies = np.arange(1, 1001)
    found = percentiles(np.histogram(latencies, LATENCY_EDGES_MS)[0])
    assert found is not None
    for name, exact in (("p50", 500), ("p95", 950), ("p99", 990)):
        assert exact <= getattr(found, name) <= 1.04 * exact
    assert percentiles(np.zeros(len(LATENCY_EDGES_MS) - 1, np.int64)) is None


def test_a_partition_that_moved_counts_once_by_its_highest_offset() -> None:
    metrics_view = MetricsView()
    later = msgspec.structs.replace(worker_record(49, 50), source="worker/other")
    for record in (later, worker_record()):
        metrics_view.take(encode_metrics(record))
    assert (metrics_view.totals().applied, metrics_view.totals().policies["q"].clicks) == (49, 4)
    assert (metrics_view.lag(), metrics_view.lag("items")) == (2, 0)
    speeds = [record.folds[CLICKSTREAM].records_per_s for record in (later, worker_record())]
    assert metrics_view.rate() == pytest.approx(sum(speeds))
    assert metrics_view.busy_s == pytest.approx(later.interval_s + worker_record().interval_s)
    assert metrics_view.overall_latency_ms() == later.folds[CLICKSTREAM].latency_ms_overall
    assert metrics_view.rejected == 0


def test_of_a_learner_the_highest_version_stays() -> None:
    metrics_view = MetricsView()
    for version in (3, 5, 4):
        metrics_view.take(encode_metrics(learner_record(version)))
    assert {name: record.version for name, record in metrics_view.learners().items()} == {"cart": 5}


@pytest.mark.parametrize(
    "value",
    [
        None,
        b"",
        b"[]",
        b'{"type":"weather"}',
        b'{"source":"worker/1","folds":{}}',
        b'{"type":"learner","learner":"\xff"}',
        b"[" * 100_000,
        encode_metrics(worker_record()).replace(b"[3,20,4,150,30,8]", b"[3,20,4]"),
        encode_metrics(learner_record(champion="nobody")),
    ],
    ids=["nothing", "empty", "no object", "unknown type", "no type", "no text", "deep", "short sums", "no champion"],
)
def test_what_is_no_record_is_rejected_and_counted_and_changes_nothing(value: bytes | None) -> None:
    with pytest.raises(RejectedRecord):
        decode_metrics(value)
    metrics_view = MetricsView()
    metrics_view.take(encode_metrics(learner_record()))
    metrics_view.take(value)
    assert metrics_view.rejected == 1
    assert metrics_view.learners() == {"cart": learner_record()}


@given(st.data())
def test_no_bytes_end_a_reader(data: st.DataObject) -> None:
    value = bytearray(encode_metrics(data.draw(st.sampled_from(RECORDS))))
    for place in data.draw(st.lists(st.integers(0, len(value) - 1), max_size=3)):
        value[place] = data.draw(st.integers(0, 255))
    metrics_view = MetricsView()
    metrics_view.take(bytes(value[: data.draw(st.integers(0, len(value)))]))
    assert metrics_view.rejected in (0, 1)
