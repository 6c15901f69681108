"""Regret against the known optimum goes from the simulator to metrics, and from there to the live view."""

from types import SimpleNamespace
from typing import Any, cast

import msgspec
import orjson
import pytest
from confluent_kafka import OFFSET_BEGINNING, Consumer, TopicPartition

from producers.simulator.simulate import PolicyTruth, Simulation
from streams.contract.settings import Kafka, Settings
from streams.contract.topics import METRICS
from streams.ops.board import Board
from streams.ops.broker import EmbeddedBroker
from streams.ops.live import policies_table, regret_line
from streams.ops.simulating import TruthTeller, describe_truth

TRUTH = PolicyTruth(slates=10, items=50, clicks=7, expected_clicks=6.0, best_clicks=10.0)


def test_regret_is_what_the_best_slates_would_have_had_more() -> None:
    assert describe_truth(TRUTH) == {
        "slates": 10,
        "true_ctr": pytest.approx(0.12),
        "best_ctr": pytest.approx(0.2),
        "regret": 4.0,
        "regret_per_slate": pytest.approx(0.4),
    }
    assert describe_truth(PolicyTruth())["regret_per_slate"] == 0.0


def told(servers: str) -> list[dict[str, Any]]:
    consumer = Consumer({"bootstrap.servers": servers, "group.id": "test"})
    consumer.assign([TopicPartition(METRICS, 0, OFFSET_BEGINNING)])
    values = [message.value() or b"" for message in consumer.consume(1, 10.0)]
    consumer.close()
    return list(map(orjson.loads, values))


def test_it_is_on_metrics_and_the_board_shows_it_beside_what_workers_say() -> None:
    with EmbeddedBroker({METRICS: 1}) as broker:
        settings = Settings(kafka=msgspec.structs.replace(Kafka(), bootstrap_servers=broker.bootstrap_servers))
        simulation = cast(Simulation, SimpleNamespace(policies={"q": TRUTH, "bandit": TRUTH}))
        TruthTeller(settings, simulation).close()
        (record,) = told(broker.bootstrap_servers)
    board = Board()
    assert regret_line(board).plain == ""
    board.take(record)
    assert board.truths()["q"]["regret"] == 4.0
    assert regret_line(board).plain.endswith("bandit 0.400, q 0.400")
    assert board.totals()["policies"] == {}
    assert policies_table(board.totals()).row_count == 0
