"""Decisions leave Kafka with what they earned, once each, and can be evaluated from there."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from confluent_kafka import Producer

from streams.admin.decisions import Dumped, join
from streams.brokers.embedded import EmbeddedBroker
from streams.cli.main import run
from streams.contract.arrays import pack_arrays
from streams.contract.events import Event, encode_event
from streams.contract.partitioning import partition_of
from streams.contract.records import MSGPACK, LoggedDecision, Parameters
from streams.contract.settings import Settings
from streams.contract.topics import BANDIT, CATALOGUE, CLICKSTREAM, DECISIONS, MODELS
from streams.core.policies.slate_features import FINGERPRINT, N_FEATURES, PACKING

WINDOW_MS = 300_000


def decision(number: int, **changed: Any) -> LoggedDecision:
    shortlist = [f"item-{item}" for item in range(4)]
    features = np.arange(4.0 * N_FEATURES).reshape(4, N_FEATURES) / 100.0 + number % 3
    known: dict[str, Any] = {
        "decision_id": f"d{number}",
        "event_ref": f"clickstream-0-{number}",
        "user_id": f"user-{number % 50}",
        "timestamp_ms": 1_736_121_600_000 + number,
        "policy": "random",
        "shortlist": shortlist,
        "sources": [0, 0, 1, 1],
        "features": PACKING.pack(features).tobytes(),
        "slate": [number % 4, (number + 1) % 4],
        "propensities": [0.25, 1 / 3],
        "state": 0,
        "source": -1,
        "source_probability": 1.0,
        "epsilon": 0.1,
        "mask": 3,
        "model_versions": {BANDIT: 1},
        "sampling_rate": 1.0,
    }
    return LoggedDecision(**(known | changed))


def feedback(number: int, kind: Any, after_ms: int, item: str | None = None, position: int | None = None) -> Event:
    return Event(
        event_id=f"{kind}-{number}-{after_ms}",
        timestamp_ms=1_736_121_600_000 + number + after_ms,
        kind=kind,
        user_id=f"user-{number % 50}",
        decision_id=f"d{number}",
        item_id=item,
        position=position,
    )


def test_a_click_counts_within_its_window_after_the_impression_and_what_was_not_shown_is_no_zero() -> None:
    dumped = Dumped()
    logged = [decision(number) for number in range(5)]
    logged += [decision(0), decision(6, decision_id="d1/q", shadow=True)]
    events = [
        *(feedback(number, "impression", 100) for number in (0, 1, 2, 3)),
        feedback(0, "click", 200, "item-1", 1),
        feedback(1, "click", 101 + WINDOW_MS, "item-1", 0),
        feedback(2, "click", 50, "item-2", 0),
        feedback(3, "click", 100 + WINDOW_MS, "item-3", 0),
        feedback(3, "click", 200, "item-3", 1),
        feedback(4, "click", 200, "item-0", 0),
    ]
    titles = {"item-2": "Two", "item-9": "Nine"}
    lines = list(join(logged, events, WINDOW_MS, dumped, titles))
    assert all(line.titles == {"item-2": "Two"} for line in lines)
    found = {line.decision_id: line.rewards for line in lines}
    assert found == {"d0": [0.0, 1.0], "d1": [0.0, 0.0], "d2": [0.0, 0.0], "d3": [1.0, 0.0]}
    assert dumped == Dumped(decisions=4, unseen=1, shadows=1)


@pytest.fixture(scope="module")
def servers() -> Iterator[str]:
    with EmbeddedBroker({topic.name: topic.partitions for topic in Settings().topics}) as broker:
        yield broker.bootstrap_servers


def publish(servers: str, n: int) -> None:
    producer = Producer({"bootstrap.servers": servers})
    theta, factor = np.linspace(-0.5, 0.5, N_FEATURES), np.eye(N_FEATURES)
    for version in (1, 2):
        arrays = {"theta": theta * version, "factor": factor / version, "examples": np.array([100.0 * version])}
        parameters = Parameters(BANDIT, "ridge", True, version, FINGERPRINT, 100 * version, pack_arrays(arrays))
        producer.produce(MODELS, MSGPACK.encode(parameters), b"bandit/ridge", 0)
    for number in range(n):
        made = decision(number)
        key = made.user_id.encode()
        partition = partition_of(key, Settings().kafka.partitions)
        producer.produce(DECISIONS, MSGPACK.encode(made), key, partition)
        answers = [feedback(number, "impression", 100)]
        answers += [feedback(number, "click", 200, f"item-{number % 4}", 0)] if number % 2 else []
        for answer in answers:
            producer.produce(CLICKSTREAM, encode_event(answer), key, partition)
        producer.produce(CLICKSTREAM, b"no event", key, partition)
    for item in ("item-1", "elsewhere"):
        producer.produce(CATALOGUE, json.dumps({"item_id": item, "title": f"The {item}"}), item, 0)
    assert not producer.flush(10)


@pytest.mark.broker
def test_what_is_dumped_is_what_evaluate_policy_reads(
    servers: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    publish(servers, 800)
    file, report = tmp_path / "decisions.jsonl", tmp_path / "report.json"
    assert run(["--bootstrap-servers", servers, "decisions", "dump", str(file)]) == 0
    assert json.loads(capsys.readouterr().out) == {"decisions": 800, "unseen": 0, "shadows": 0}
    first, *lines = file.read_text().splitlines()
    model = json.loads(first)
    assert (model["model"], model["version"], model["examples"]) == ("bandit", 2, 200.0)
    assert model["theta"] == np.linspace(-1.0, 1.0, N_FEATURES).tolist()
    assert model["factor"] == (np.eye(N_FEATURES) / 2).tolist()
    assert len(lines) == 800
    assert all(json.loads(line)["titles"] == {"item-1": "The item-1"} for line in lines)
    for policy in ("random", "thompson"):
        arguments = ["--log", str(file), "--policy", policy, "--least-effective", "20", "--report", str(report)]
        assert run(["evaluate", "policy", *arguments]) == 0
        found = json.loads(report.read_text())
        assert (found["decisions"], found["users"], found["logged_value"]) == (800, 50, 0.5)


def test_without_a_broker_it_says_so(tmp_path: Path) -> None:
    assert run(["--bootstrap-servers", "127.0.0.1:1", "decisions", "dump", str(tmp_path / "x.jsonl")]) == 4
