"""What a worker served during a replay is measured as what the folds serve in memory: each prediction once."""

import math
from pathlib import Path
from typing import Any

from streams.contract.settings import Engine, Kafka, Settings
from streams.evaluation.replayed import measure_replayed
from streams.evaluation.served import measure_served, read_targets
from tests.producers.files import read_taobao
from tests.system.test_replayed_file import write_taobao


def test_a_replay_through_a_broker_and_a_worker_measures_as_many_predictions_as_the_folds_serve(tmp_path: Path) -> None:
    write_taobao(tmp_path / "small.csv")
    events = sorted(read_taobao(tmp_path / "small.csv"), key=lambda event: event.timestamp_ms)
    settings = read_targets(Settings(kafka=Kafka(partitions=1), engine=Engine(app_id="shop")))
    published: list[int] = []
    replayed = measure_replayed(settings, events, math.inf, published.append)
    folded = measure_served(events, settings, lambda _: None)
    assert sum(published) == len(events)
    assert replayed.keys() == folded.keys() == {"purchase", "cart", "churn"}
    for name, expected in folded.items():
        # How early the first weights arrive depends on the machine; what was served, and its labels, does not.
        assert served_in_all(replayed[name]) == served_in_all(expected)
        assert {key: replayed[name][key] for key in ("unlabelled", "censored")} == {
            key: expected[key] for key in ("unlabelled", "censored")
        }
        log_loss = replayed[name]["log_loss"]
        assert 0.0 < log_loss < 2.0 if replayed[name]["examples"] else log_loss is None


def served_in_all(figures: dict[str, Any]) -> int:
    total: int = figures["examples"] + figures["served_from_prior"]
    return total
