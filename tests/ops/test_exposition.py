"""What Prometheus scrapes is what the partitions' rows, the progress and the watchdog say."""

from types import SimpleNamespace
from typing import Any

import msgspec
import numpy as np
import pytest
from prometheus_client import generate_latest
from prometheus_client.parser import text_string_to_metric_families

from streams.contract.fold import PartitionRow
from streams.contract.metrics import (
    AmountModels,
    AmountQuality,
    Drift,
    Estimate,
    LearnerMetrics,
    LearnerQuality,
    Lift,
    PolicyTotals,
    ProbabilityModels,
    ProbabilityQuality,
    Rewards,
    ServedAmounts,
    ServedProbabilities,
)
from streams.engine.protocol import Progress
from streams.engine.readers import Unread
from streams.engine.recovery import Recovery
from streams.engine.watchdog import Condition
from streams.observability.exposition import EXPOSED
from streams.observability.health import Health
from streams.observability.metrics_reader import ApplicationMetrics
from streams.observability.metrics_reporter import LATENCY_EDGES_MS
from streams.observability.prometheus import WorkerCollector, registry_of

ROW = PartitionRow(
    applied_offset=41,
    watermark_ms=5000,
    counts={
        "applied": 40,
        "duplicates": 2,
        "dead_letters.malformed": 3,
        "watermark_jumps": 1,
        "decisions.q": 9,
        "shadows.bandit": 8,
        "decisions_unshown": 4,
        "rewards.click": 6,
        "late_rewards.click": 5,
        "late_impressions": 7,
        "predictions_dropped.cart": 10,
        "kinds.view": 37,
    },
    tallies={
        "policy.q": [3, 20, 4, 150, 30, 8],
        "sales.q": [7, 5, 1250],
        "slots.related.q": [25, 19, 3],
        "slots.caller.q": [2, 1, 1],
    },
)


UNREAD = {("item-signals", 3): Unread(8, 61.0)}
RECOVERY = Recovery(begun_s=0.0, seconds=2.0, rows=60, offsets=75, left=25)


DRIFT = Drift(alarms=2, recoveries=1, open=True, window_examples=9, window_loss=0.25)
PROBABILITIES = ProbabilityModels(
    positives=1,
    served=ServedProbabilities(
        ProbabilityQuality(
            examples=30,
            positives=11,
            auc=0.75,
            log_loss=0.5,
            base_log_loss=0.625,
            calibration=1.25,
            accuracy=None,
            precision=None,
            recall=None,
            f1=None,
            threshold=None,
        ),
        from_prior=10,
        loss_above_base=Estimate(-0.125, -0.25, 0.0),
        calibration=Estimate(1.2, 1.1, 1.3),
    ),
    models={},
    switches=3,
    replacement=None,
    drift=DRIFT,
)
AMOUNTS = AmountModels(
    amount_sum=9.0,
    served=ServedAmounts(
        AmountQuality(
            examples=12,
            positives=5,
            mean=None,
            mae=3.5,
            base_mae=4.5,
            rmse=None,
            base_rmse=None,
            calibration=None,
        ),
        from_prior=0,
        loss_above_base=None,
        calibration=None,
    ),
    models={},
    switches=0,
    replacement=None,
    drift=DRIFT,
)
QUALITIES: dict[str, LearnerQuality] = {
    "cart": PROBABILITIES,
    "spend": AMOUNTS,
    "bandit": Rewards(mean_reward=0.25, mean_reward_by_type={}),
}
LIFT = Lift(0.5, (0.25, 0.75), (0.125, 1.0))
APPLICATION = ApplicationMetrics(
    {
        "q": PolicyTotals(
            decisions=9, users=3, impressions=20, clicks=4, ctr=None, lift={"random": LIFT, "ranked": None}
        )
    },
    {
        name: LearnerMetrics(
            source=f"learning/{name}",
            timestamp_ms=7500,
            learner=name,
            version=6,
            examples=28,
            champion="linear",
            quality=quality,
        )
        for name, quality in QUALITIES.items()
    },
    taken=99,
    rejected=1,
)


def scraped() -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    progress = Progress(records=45, batches=3)
    progress.step_ns["fold"] = 2_500_000_000
    opened = SimpleNamespace(committed=msgspec.msgpack.encode(ROW))
    worker: Any = SimpleNamespace(partitions={2: opened}, engine=SimpleNamespace(progress=progress))
    place = ("clickstream", 2)
    condition = Condition(frozenset({place}), None, {place: 21.0}, {place: 9}, 0.5, RECOVERY, 77, 5, 3, unread=UNREAD)
    # One record of each bin: 1 of 400 is at most 0.5 ms late.
    latencies = {"clickstream": np.ones(len(LATENCY_EDGES_MS) - 1, np.int64)}
    collector = WorkerCollector(
        {"clickstream": worker},
        lambda: condition,
        Health(lambda: True, lambda: condition, 20.0, {"clickstream"}),
        lambda: latencies,
        lambda: APPLICATION,
    )
    text = generate_latest(registry_of(collector)).decode()
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def test_every_number_is_exposed_under_its_name_and_place() -> None:
    samples = scraped()
    topic, place = ("topic", "clickstream"), (("partition", "2"), ("topic", "clickstream"))
    events = {labels: value for (name, labels), value in samples.items() if name == "headrace_events_total"}
    assert {dict(labels)["outcome"]: value for labels, value in events.items()} == {
        "applied": 40,
        "duplicates": 2,
        "late": 0,
        "clock_ahead": 0,
        "unjoinable": 0,
        "skipped_offsets": 0,
    }
    assert (("outcome", "applied"), *place) in events
    assert samples["headrace_dead_letters_total", (place[0], ("reason", "ahead"), topic)] == 0
    assert samples["headrace_dead_letters_total", (place[0], ("reason", "malformed"), topic)] == 3
    assert samples["headrace_next_offset", place] == 42
    assert samples["headrace_watermark_timestamp_seconds", place] == 5
    assert samples["headrace_watermark_jumps_total", place] == 1
    assert samples["headrace_lag_records", place] == 9
    assert samples["headrace_unread_records", (("partition", "3"), ("topic", "item-signals"))] == 8
    assert samples["headrace_records_total", (topic,)] == 45
    assert samples["headrace_batches_total", (topic,)] == 3
    assert samples["headrace_step_seconds_total", (("step", "fold"), topic)] == 2.5
    assert (samples["headrace_healthy", ()], samples["headrace_ready", ()]) == (0, 0)
    assert (samples["headrace_recovered_rows_total", ()], samples["headrace_standby_rows_total", ()]) == (77, 5)
    assert samples["headrace_standby_left_offsets", ()] == 3
    assert samples["headrace_recovery_done_ratio", ()] == 0.75
    assert samples["headrace_recovery_rows_per_second", ()] == 30
    assert samples["process_resident_memory_bytes", ()] > 0


PLACE = {"topic": "clickstream", "partition": "2"}


@pytest.mark.parametrize(
    ("name", "labels", "value"),
    [
        ("headrace_decisions_total", {"policy": "q", **PLACE}, 9),
        ("headrace_shadow_decisions_total", {"policy": "bandit", **PLACE}, 8),
        ("headrace_decisions_unshown_total", PLACE, 4),
        ("headrace_exposed_users_total", {"policy": "q", **PLACE}, 3),
        ("headrace_impressions_total", {"policy": "q", **PLACE}, 20),
        ("headrace_policy_carts_total", {"policy": "q", **PLACE}, 7),
        ("headrace_policy_purchases_total", {"policy": "q", **PLACE}, 5),
        ("headrace_policy_money_total", {"policy": "q", **PLACE}, 12.5),
        ("headrace_clicks_total", {"policy": "q", **PLACE}, 4),
        ("headrace_slots_total", {"policy": "q", "source": "related", "outcome": "decided", **PLACE}, 25),
        ("headrace_slots_total", {"policy": "q", "source": "related", "outcome": "shown", **PLACE}, 19),
        ("headrace_slots_total", {"policy": "q", "source": "caller", "outcome": "clicked", **PLACE}, 1),
        ("headrace_rewards_total", {"type": "click", **PLACE}, 6),
        ("headrace_late_rewards_total", {"type": "click", **PLACE}, 5),
        ("headrace_late_impressions_total", PLACE, 7),
        ("headrace_predictions_dropped_total", {"target": "cart", **PLACE}, 10),
        ("headrace_applied_events_total", {"kind": "view", **PLACE}, 37),
        ("headrace_lift_ratio", {"policy": "q", "control": "random"}, 0.5),
        *(
            ("headrace_lift_bound_ratio", {"policy": "q", "control": "random", "holds": holds, "bound": bound}, value)
            for (holds, bound), value in {
                ("once", "lower"): 0.25,
                ("once", "upper"): 0.75,
                ("anytime", "lower"): 0.125,
                ("anytime", "upper"): 1.0,
            }.items()
        ),
        ("headrace_predictions_measured_total", {"target": "cart", "by": "model"}, 30),
        ("headrace_predictions_measured_total", {"target": "cart", "by": "prior"}, 10),
        ("headrace_positives_total", {"target": "cart"}, 11),
        ("headrace_auc_ratio", {"target": "cart"}, 0.75),
        ("headrace_log_loss_nats", {"target": "cart"}, 0.5),
        ("headrace_base_log_loss_nats", {"target": "cart"}, 0.625),
        ("headrace_absolute_error", {"target": "spend"}, 3.5),
        ("headrace_base_absolute_error", {"target": "spend"}, 4.5),
        ("headrace_loss_above_base", {"target": "cart"}, -0.125),
        ("headrace_loss_above_base_bound", {"target": "cart", "bound": "lower"}, -0.25),
        ("headrace_calibration_ratio", {"target": "cart"}, 1.25),
        ("headrace_calibration_bound_ratio", {"target": "cart", "bound": "upper"}, 1.3),
        ("headrace_drift_alarms_total", {"target": "cart"}, 2),
        ("headrace_drift_open", {"target": "cart"}, 1),
        ("headrace_champion_switches_total", {"target": "cart"}, 3),
        ("headrace_examples_learned_total", {"learner": "bandit"}, 28),
        ("headrace_learned_records_total", {"learner": "bandit"}, 6),
        ("headrace_learned_timestamp_seconds", {"learner": "bandit"}, 7.5),
        ("headrace_mean_reward", {"learner": "bandit"}, 0.25),
        ("headrace_metrics_records_total", {"outcome": "taken"}, 99),
        ("headrace_metrics_records_total", {"outcome": "rejected"}, 1),
    ],
)
def test_a_figure_is_exposed_as_the_rows_and_the_topic_have_it(name: str, labels: dict[str, str], value: float) -> None:
    assert scraped()[name, tuple(sorted(labels.items()))] == value


def test_what_has_no_estimate_yet_is_absent_and_not_zero() -> None:
    samples = scraped()
    assert not [
        labels for name, labels in samples if name.startswith("headrace_lift") and ("control", "ranked") in labels
    ]
    assert ("headrace_calibration_ratio", (("target", "spend"),)) not in samples
    assert ("headrace_loss_above_base", (("target", "spend"),)) not in samples


def test_every_metric_that_is_declared_has_a_sample() -> None:
    named = {name for name, _ in scraped()}
    assert {each.name for each in EXPOSED} - named == {"headrace_latency_seconds"}


def test_the_latency_histogram_is_cumulative_and_whole() -> None:
    buckets = {
        float(dict(labels)["le"]): value
        for (name, labels), value in scraped().items()
        if name == "headrace_latency_seconds_bucket"
    }
    counts = [buckets[edge] for edge in sorted(buckets)]
    assert counts == sorted(counts)
    assert counts[-1] == len(LATENCY_EDGES_MS) - 1
    for edge_s, count in buckets.items():
        assert count == np.sum(LATENCY_EDGES_MS[1:] <= edge_s * 1000)
