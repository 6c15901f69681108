"""What counts of a recording: examples whose horizon it covers, beside the rate that was known at each."""

from math import log

import numpy as np
import pytest

from streams.contract.settings import Settings, Target
from streams.core.features.schema import feature_schema
from streams.core.learning.examples import Examples
from streams.ops.evaluate.served import measure_examples, table_of

SETTINGS = Settings(
    targets=(
        Target(name="purchase", label="purchase", horizon_s=10, sampling_rate=1.0, prior=0.2),
        Target(name="spend", rule="spend", horizon_s=10, sampling_rate=1.0, prior=2.0, members=("hurdle",)),
    )
)
SCHEMA = feature_schema(SETTINGS.windows)
RECENCY = SCHEMA.names.index("since_last_event_s")


def examples(learner: str, seconds: list[int], labels: list[float], given: list[float]) -> Examples:
    n = len(seconds)
    vectors = np.zeros((n, len(SCHEMA.names)), np.float32)
    vectors[:, RECENCY] = np.arange(n)
    return Examples(
        learner=learner,
        partition=0,
        offsets=np.arange(n, dtype=np.int64),
        indices=np.zeros(n, np.int32),
        vectors=vectors,
        labels=np.array(labels),
        members=["linear"],
        probabilities=np.array(given)[:, None],
        weights=np.ones(n),
        timestamps_ms=np.array(seconds, np.int64) * 1000,
        reward_types=[],
        rewards=np.zeros((n, 0)),
        uses=np.zeros(n, np.int8),
        chances=np.zeros(n),
    )


def test_what_the_recording_does_not_cover_and_what_was_said_before_any_label_are_told_apart() -> None:
    batch = examples("purchase", [0, 5, 12, 30, 45], [1.0, 0.0, 0.0, 1.0, 1.0], [0.2, 0.2, 0.4, 0.5, 0.9])
    measured = measure_examples(SETTINGS, [batch], until_ms=50_000)["purchase"]
    assert {key: measured[key] for key in ("censored", "at_prior", "examples", "positives", "rate")} == {
        "censored": 1,
        "at_prior": 2,
        "examples": 2,
        "positives": 1,
        "rate": 0.5,
    }
    assert measured["auc"] == 1.0
    assert measured["recency_auc"] == 0.0
    assert measured["calibration"] == pytest.approx(0.9)
    assert measured["log_loss"] == pytest.approx(-(log(0.6) + log(0.5)) / 2)
    # One label, a positive, was final by the third prediction, three by the fourth; the prior counts as one more.
    assert measured["running_log_loss"] == pytest.approx(-(log(1 - 1.2 / 2) + log(1.2 / 4)) / 2)
    assert measured["log_loss_with_prior"] == pytest.approx(-(log(0.2) + log(0.8) + log(0.6) + log(0.5)) / 4)


def test_amounts_have_a_line_of_their_own_below_the_table() -> None:
    bought = examples("spend", [0, 5, 12], [0.0, 8.0, 0.0], [2.0, 3.0, 1.0])
    early = examples("purchase", [0], [1.0], [0.2])
    measured = measure_examples(SETTINGS, [bought, early], until_ms=50_000)
    assert measured["spend"]["mae"] == pytest.approx((2.0 + 5.0 + 1.0) / 3)
    assert measured["purchase"]["log_loss"] is None
    rows = table_of(measured).splitlines()
    assert rows[2] == "| purchase | 1 | 0 | 0.0000 | - | - | - | - | - | - |"
    assert rows[-1].startswith("spend: 3 examples, 1 above zero, mean 2.67, mae 2.67")
