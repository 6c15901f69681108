"""What a worker served during a replay is measured by the very examples that the folds make in memory."""

import math
from pathlib import Path

from producers.replay.taobao import read_taobao
from streams.contract.settings import Kafka, Settings
from streams.ops.evaluate.replayed import measure_replayed
from streams.ops.evaluate.served import measure_served, read_targets
from tests.system.test_replayed_file import write_taobao


def test_a_replay_through_a_broker_and_a_worker_is_measured_by_the_examples_that_the_folds_make(tmp_path: Path) -> None:
    write_taobao(tmp_path / "small.csv")
    events = sorted(read_taobao(tmp_path / "small.csv"), key=lambda event: event.timestamp_ms)
    settings = read_targets(Settings(kafka=Kafka(partitions=1)))
    published: list[int] = []
    replayed = measure_replayed(settings, events, math.inf, published.append)
    folded = measure_served(events, settings, lambda _: None)
    assert sum(published) == len(events)
    assert replayed.keys() == folded.keys() == {"purchase", "cart", "churn"}
    for name, expected in folded.items():
        same = ("examples", "positives", "rate", "recency_auc", "base_log_loss", "running_log_loss")
        assert {key: replayed[name][key] for key in same} == {key: expected[key] for key in same}
        assert 0.0 < replayed[name]["log_loss"] < 2.0
