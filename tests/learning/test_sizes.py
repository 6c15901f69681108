"""A model that is too large is left out and reported; it never stops a worker, and the others do not notice."""

import msgspec
import pytest

from streams.contract.settings import Engine
from streams.contract.topics import MODELS
from streams.core.features.schema import feature_schema
from streams.core.models.scoring import Scorers
from tests.learning.test_learning_fold import SETTINGS, WHOLE, Worker, log, models_of


@pytest.mark.parametrize(
    "limits", [Engine(max_row_bytes=120_000), Engine(max_output_bytes=40_000)], ids=["the row", "the record"]
)
def test_a_member_over_the_limit_is_left_out_and_named_while_the_others_learn_on(limits: Engine) -> None:
    worker = Worker("purchase", msgspec.structs.replace(SETTINGS, engine=limits))
    events = worker.decode(log("purchase"))
    for start in range(0, 20, 4):
        worker.run(events[start : start + 4])
    (value,) = worker.rows.values()
    assert len(value) < limits.max_row_bytes
    assert all(len(output.value) < limits.max_output_bytes for output in worker.outputs)
    metrics = worker.metrics
    assert list(metrics.demoted_bytes) == ["perceptron"]
    assert metrics.demoted_bytes["perceptron"] > 40_000
    assert {output.key for output in worker.outputs if output.topic == MODELS} == {b"purchase/linear"}
    linear = worker.parameters()["purchase/linear"]
    assert linear.arrays == WHOLE["purchase"].parameters()["purchase/linear"].arrays
    assert linear.weights == {"linear": 1.0, "perceptron": 0.0}


def test_what_fits_is_not_spoken_of() -> None:
    assert b"demoted_bytes" not in WHOLE["purchase"].outputs[-1].value


@pytest.mark.parametrize(
    "limits", [Engine(max_row_bytes=120_000), Engine(max_output_bytes=40_000)], ids=["the row", "the record"]
)
def test_a_champion_over_the_limit_is_demoted_and_another_member_serves(limits: Engine) -> None:
    perceptron_first = msgspec.structs.replace(SETTINGS.targets[0], models=("perceptron", "linear"))
    settings = msgspec.structs.replace(SETTINGS, engine=limits, targets=(perceptron_first, *SETTINGS.targets[1:]))
    worker, scorers = Worker("purchase", settings), Scorers(settings.targets, feature_schema(settings.windows))
    assert scorers.champion("purchase") == "perceptron"
    events = worker.decode(log("purchase"))
    for start in range(0, 20, 4):
        worker.run(events[start : start + 4])
    metrics = worker.metrics
    assert (metrics.champion, list(metrics.demoted_bytes)) == ("linear", ["perceptron"])
    assert models_of(metrics).switches >= 1
    assert scorers.apply(worker.parameters()["purchase/linear"])
    assert (scorers.champion("purchase"), scorers.mixture("purchase")) == ("linear", {"linear": 1.0})
    assert scorers.version("purchase") > 0


def test_where_every_member_is_over_the_limit_the_champion_stays_and_all_are_named() -> None:
    worker = Worker("purchase", msgspec.structs.replace(SETTINGS, engine=Engine(max_output_bytes=100)))
    worker.run(worker.decode(log("purchase")))
    metrics = worker.metrics
    whole = WHOLE["purchase"].metrics
    assert (metrics.champion, models_of(metrics).switches) == (whole.champion, models_of(whole).switches)
    assert set(metrics.demoted_bytes) == {"linear", "perceptron"}
