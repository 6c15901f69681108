"""Regret against the known optimum goes from the simulator to metrics, and from there to the live view."""

import io
from types import SimpleNamespace
from typing import cast

import msgspec
import pytest
from confluent_kafka import OFFSET_BEGINNING, Consumer, TopicPartition
from rich.console import Console

from producers.simulator.closed_loop import GroundTruthReporter, regret_of
from producers.simulator.simulation import PolicyGroundTruth, Simulation
from streams.brokers.embedded import EmbeddedBroker
from streams.contract.metrics import PolicyTotals
from streams.contract.settings import Kafka, Settings
from streams.contract.topics import METRICS
from streams.demo.policies_view import policies_table
from streams.observability.metrics_view import MetricsView

TRUTH = PolicyGroundTruth(slates=10, items=50, clicks=7, expected_clicks=6.0, best_clicks=10.0)


def test_regret_is_what_the_best_slates_would_have_had_more() -> None:
    assert msgspec.structs.asdict(regret_of(TRUTH)) == {
        "slates": 10,
        "true_ctr": pytest.approx(0.12),
        "best_ctr": pytest.approx(0.2),
        "regret": 4.0,
        "regret_per_slate": pytest.approx(0.4),
    }
    assert regret_of(PolicyGroundTruth()).regret_per_slate == 0.0


def told(servers: str) -> list[bytes | None]:
    consumer = Consumer({"bootstrap.servers": servers, "group.id": "test"})
    consumer.assign([TopicPartition(METRICS, 0, OFFSET_BEGINNING)])
    values = [message.value() for message in consumer.consume(1, 10.0)]
    consumer.close()
    return values


@pytest.mark.broker
def test_it_is_on_metrics_and_the_board_shows_it_beside_what_workers_say() -> None:
    with EmbeddedBroker({METRICS: 1}) as broker:
        settings = Settings(kafka=msgspec.structs.replace(Kafka(), bootstrap_servers=broker.bootstrap_servers))
        simulation = cast(Simulation, SimpleNamespace(policies={"q": TRUTH, "bandit": TRUTH}))
        GroundTruthReporter(settings, simulation).close()
        (record,) = told(broker.bootstrap_servers)
    metrics_view = MetricsView()
    assert metrics_view.ground_truth() == {}
    metrics_view.take(record)
    assert metrics_view.ground_truth()["q"].regret == 4.0
    assert metrics_view.totals().policies == {}
    assert policies_table({}, metrics_view.ground_truth()).row_count == 0
    nothing = PolicyTotals(decisions=0, users=0, impressions=0, clicks=0, ctr=None, lift={})
    console = Console(file=io.StringIO(), width=80)
    console.print(policies_table({"q": nothing, "other": nothing}, metrics_view.ground_truth()))
    lines = cast(io.StringIO, console.file).getvalue().splitlines()
    assert [line.split() for line in lines[2:]] == [
        ["q", "0", "0", "-", "-", "0.400"],
        ["other", "0", "0", "-", "-", "-"],
    ]
