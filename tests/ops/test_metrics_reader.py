"""What a worker reads from the topic ``metrics`` is of all workers, and is given out when it is whole."""

import pytest
from confluent_kafka import Producer

from streams.brokers.embedded import EmbeddedBroker
from streams.contract.metrics import (
    FoldMetrics,
    LearnerMetrics,
    PartitionMetrics,
    RecoveryMetrics,
    Rewards,
    WorkerMetrics,
    encode_metrics,
)
from streams.contract.settings import Kafka, Settings
from streams.contract.topics import CLICKSTREAM, METRICS
from streams.core.behaviour.tallies import summarise
from streams.observability import metrics_reader
from streams.observability.metrics_reader import MetricsReader
from tests.timeouts import HANG_S, wait_until


def of_worker(source: str, *numbers: int, clicks: int = 40) -> bytes:
    """A record of a worker that has these partitions."""
    partitions = {
        number: PartitionMetrics(
            lag=0,
            applied_offset=7,
            schema=1,
            watermark_ms=5,
            applied_positions={},
            counts={},
            exposures={
                "bandit": (50, 400, clicks, 3600, 400, 60),
                "random": (50, 400, 20, 3600, 200, 30),
            },
            funnel={},
        )
        for number in numbers
    }
    fold = FoldMetrics(
        records_per_s=0.0,
        records=0,
        step_us_per_record={},
        latency_ms=None,
        latency_ms_overall=None,
        partitions=partitions,
    )
    record = WorkerMetrics(
        source=source,
        timestamp_ms=1,
        interval_s=1.0,
        recovery=RecoveryMetrics(recovered_rows=0, standby_rows=0, last=None),
        totals=summarise(partitions.values()),
        experiment=None,
        folds={CLICKSTREAM: fold},
        unread={},
    )
    return encode_metrics(record)


LEARNER = encode_metrics(
    LearnerMetrics(
        source="learning/bandit",
        timestamp_ms=5,
        learner="bandit",
        version=3,
        examples=2,
        champion="",
        quality=Rewards(mean_reward=0.5, mean_reward_by_type={}),
    )
)


def test_the_lift_is_of_all_partitions_and_absent_before_each_was_read() -> None:
    reader = MetricsReader(Settings(kafka=Kafka(partitions=2)))
    reader.take(of_worker("worker/a", 0))
    assert reader.application().policies == {}
    reader.take(b"{")
    reader.take(of_worker("worker/b", 1))
    policies, learners, taken, rejected = reader.application()
    assert (policies["bandit"].clicks, policies["random"].clicks) == (80, 40)
    lift = policies["bandit"].lift["random"]
    assert lift is not None
    assert lift.estimate == pytest.approx(1.0)
    assert (learners, taken, rejected) == ({}, 2, 1)


@pytest.mark.broker
def test_the_topic_is_read_from_its_last_records_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metrics_reader, "_TAIL", 3)
    with EmbeddedBroker({METRICS: 1}) as broker:
        producer = Producer({"bootstrap.servers": broker.bootstrap_servers})
        old = [of_worker("worker/a", 0)] * 20
        for value in [*old, LEARNER, of_worker("worker/a", 0), of_worker("worker/b", 1, clicks=60)]:
            producer.produce(METRICS, value)
        assert not producer.flush(HANG_S)
        reader = MetricsReader(Settings(kafka=Kafka(bootstrap_servers=broker.bootstrap_servers, partitions=2)))
        reader.start()
        try:
            wait_until(lambda: reader.application().policies)
            policies, learners, taken, _ = reader.application()
            assert (policies["bandit"].clicks, set(learners), taken) == (100, {"bandit"}, 3)
            producer.produce(METRICS, of_worker("worker/b", 1, clicks=61))
            assert not producer.flush(HANG_S)
            wait_until(lambda: reader.application().policies["bandit"].clicks == 101)
        finally:
            reader.stop()
