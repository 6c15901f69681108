"""Prometheus metrics of a worker, collected at each scrape. Nothing is computed here that the topic ``metrics`` has."""

from collections.abc import Callable, Iterable, Mapping
from typing import Final

import numpy as np
from numpy.typing import NDArray
from prometheus_client import CollectorRegistry, GCCollector, PlatformCollector, ProcessCollector
from prometheus_client.core import Metric
from prometheus_client.registry import Collector

from streams.contract.errors import REASONS
from streams.contract.fold import PartitionRow, decode_partition_row
from streams.contract.metrics import (
    AmountModels,
    Estimate,
    Interval,
    LearnerMetrics,
    Lift,
    ProbabilityModels,
    Rewards,
)
from streams.contract.source_epoch import plain_offset
from streams.core.behaviour.tallies import HUNDREDTHS, partition_metrics
from streams.engine.watchdog import Condition
from streams.engine.worker import FoldWorker
from streams.observability.exposition import Families
from streams.observability.health import Health
from streams.observability.metrics_reader import ApplicationMetrics
from streams.observability.metrics_reporter import LATENCY_EDGES_MS

_BUCKETS_S: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0)
_OUTCOMES: Final = ("applied", "duplicates", "late", "clock_ahead", "unjoinable", "skipped_offsets")
_COUNTERS: Final = {
    "decisions_unshown": "headrace_decisions_unshown_total",
    "late_impressions": "headrace_late_impressions_total",
}
_LABELLED: Final = {
    "dead_letters": ("headrace_dead_letters_total", "reason"),
    "decisions": ("headrace_decisions_total", "policy"),
    "shadows": ("headrace_shadow_decisions_total", "policy"),
    "rewards": ("headrace_rewards_total", "type"),
    "late_rewards": ("headrace_late_rewards_total", "type"),
    "predictions_dropped": ("headrace_predictions_dropped_total", "target"),
    "kinds": ("headrace_applied_events_total", "kind"),
}
"""Beginning of the name of a count, before a point, to its metric and the label that has the rest of the name."""
_NO_DEAD_LETTERS: Final = {f"dead_letters.{reason}": 0 for reason in REASONS}


class WorkerCollector(Collector):
    """Collector of progress, partition rows, lag and latencies of one worker, and of the application's figures.

    Counters of events belong to a partition: after a rebalance they continue in another worker's series.

    Args:
        workers: The folds by their source topic.
        condition: Returns the watchdog's condition.
        latencies: Returns by source how many records had which latency, in the bins of ``LATENCY_EDGES_MS``.
        application: Returns what was read from the topic ``metrics``.
    """

    def __init__(
        self,
        workers: Mapping[str, FoldWorker],
        condition: Callable[[], Condition],
        health: Health,
        latencies: Callable[[], Mapping[str, NDArray[np.int64]]],
        application: Callable[[], ApplicationMetrics],
    ) -> None:
        self._workers = workers
        self._condition = condition
        self._health = health
        self._latencies = latencies
        self._application = application

    def collect(self) -> Iterable[Metric]:
        families = Families()
        for source, worker in self._workers.items():
            for number, opened in sorted(worker.partitions.copy().items()):
                _partition(
                    families, {"topic": source, "partition": str(number)}, decode_partition_row(opened.committed)
                )
        self._progress(families)
        self._latency(families)
        self._state(families)
        self._of_application(families)
        return families.all()

    def _progress(self, families: Families) -> None:
        for source, worker in self._workers.items():
            progress = worker.engine.progress
            families.add("headrace_records_total", progress.records, topic=source)
            families.add("headrace_batches_total", progress.batches, topic=source)
            for step, spent_ns in progress.step_ns.items():
                families.add("headrace_step_seconds_total", spent_ns / 1e9, topic=source, step=step)

    def _latency(self, families: Families) -> None:
        for source, counts in self._latencies().items():
            below = [
                int(counts[: np.searchsorted(LATENCY_EDGES_MS[1:], 1000 * edge_s, "right")].sum())
                for edge_s in _BUCKETS_S
            ]
            buckets = [(str(edge_s), float(count)) for edge_s, count in zip(_BUCKETS_S, below, strict=True)]
            families.add_histogram(
                "headrace_latency_seconds",
                [*buckets, ("+Inf", float(counts.sum()))],
                float(counts @ LATENCY_EDGES_MS[1:]) / 1000,
                topic=source,
            )

    def _state(self, families: Families) -> None:
        condition = self._condition()
        for (topic, number), records in sorted(condition.lag.items()):
            families.add("headrace_lag_records", records, topic=topic, partition=str(number))
        for (topic, number), each in sorted(condition.unread.items()):
            families.add("headrace_unread_records", each.records, topic=topic, partition=str(number))
        families.add("headrace_healthy", not self._health.reasons_unhealthy())
        families.add("headrace_ready", not self._health.reasons_not_ready())
        families.add("headrace_assigned_partitions", len(condition.assigned or ()))
        families.add("headrace_recovered_rows_total", condition.recovered_rows)
        families.add("headrace_standby_rows_total", condition.standby_rows)
        if condition.standby_left is not None:
            families.add("headrace_standby_left_offsets", condition.standby_left)
        if recovery := condition.recovery:
            families.add("headrace_recovery_done_ratio", recovery.done)
            families.add("headrace_recovery_rows_per_second", recovery.rows_per_s)

    def _of_application(self, families: Families) -> None:
        application = self._application()
        families.add("headrace_metrics_records_total", application.taken, outcome="taken")
        families.add("headrace_metrics_records_total", application.rejected, outcome="rejected")
        for policy, totals in application.policies.items():
            for control, lift in totals.lift.items():
                if lift is not None:
                    _lift(families, policy, control, lift)
        for learner in application.learners.values():
            _learner(families, learner)


def _partition(families: Families, place: dict[str, str], row: PartitionRow) -> None:
    for outcome in _OUTCOMES:
        families.add("headrace_events_total", row.counts.get(outcome, 0), outcome=outcome, **place)
    # A counter that begins at its first increase hides it from increase() and rate().
    for name, count in (_NO_DEAD_LETTERS | row.counts).items():
        if counter := _COUNTERS.get(name):
            families.add(counter, count, **place)
        beginning, _, rest = name.partition(".")
        if beginning in _LABELLED:
            labelled, label = _LABELLED[beginning]
            families.add(labelled, count, **{label: rest}, **place)
    metrics = partition_metrics(row, lag=0)
    for policy, (users, impressions, clicks, *_) in metrics.exposures.items():
        families.add("headrace_exposed_users_total", users, policy=policy, **place)
        families.add("headrace_impressions_total", impressions, policy=policy, **place)
        families.add("headrace_clicks_total", clicks, policy=policy, **place)
    for policy, (carts, purchases, hundredths) in metrics.sales.items():
        families.add("headrace_policy_carts_total", carts, policy=policy, **place)
        families.add("headrace_policy_purchases_total", purchases, policy=policy, **place)
        families.add("headrace_policy_money_total", hundredths / HUNDREDTHS, policy=policy, **place)
    for policy, by_source in metrics.slots.items():
        for candidate_source, counts in by_source.items():
            for outcome, count in zip(("decided", "shown", "clicked"), counts, strict=True):
                labels = {"policy": policy, "source": candidate_source, "outcome": outcome}
                families.add("headrace_slots_total", count, **labels, **place)
    if row.watermark_ms >= 0:
        families.add("headrace_watermark_timestamp_seconds", row.watermark_ms / 1000, **place)
        families.add("headrace_watermark_jumps_total", row.counts.get("watermark_jumps", 0), **place)
    families.add("headrace_next_offset", plain_offset(row.applied_offset) + 1, **place)


def _lift(families: Families, policy: str, control: str, lift: Lift) -> None:
    names = {"policy": policy, "control": control}
    families.add("headrace_lift_ratio", lift.estimate, **names)
    for holds, interval in (("once", lift.ci95), ("anytime", lift.anytime95)):
        _bounds(families, "headrace_lift_bound_ratio", interval, holds=holds, **names)


def _learner(families: Families, record: LearnerMetrics) -> None:
    learner, quality = record.learner, record.quality
    families.add("headrace_examples_learned_total", record.examples, learner=learner)
    families.add("headrace_learned_records_total", record.version, learner=learner)
    families.add("headrace_learned_timestamp_seconds", record.timestamp_ms / 1000, learner=learner)
    if isinstance(quality, Rewards):
        families.add("headrace_mean_reward", quality.mean_reward, learner=learner)
    else:
        _target(families, learner, quality)


def _target(families: Families, target: str, models: ProbabilityModels | AmountModels) -> None:
    served = models.served
    families.add("headrace_predictions_measured_total", served.quality.examples, target=target, by="model")
    families.add("headrace_predictions_measured_total", served.from_prior, target=target, by="prior")
    families.add("headrace_positives_total", served.quality.positives, target=target)
    measures = {"headrace_calibration_ratio": served.quality.calibration}
    if isinstance(models, ProbabilityModels):
        quality = models.served.quality
        measures["headrace_auc_ratio"] = quality.auc
        measures["headrace_log_loss_nats"] = quality.log_loss
        measures["headrace_base_log_loss_nats"] = quality.base_log_loss
    else:
        measures["headrace_absolute_error"] = models.served.quality.mae
        measures["headrace_base_absolute_error"] = models.served.quality.base_mae
    for name, measure in measures.items():
        if measure is not None:
            families.add(name, measure, target=target)
    if above := served.loss_above_base:
        families.add("headrace_loss_above_base", above.estimate, target=target)
        _bounds(families, "headrace_loss_above_base_bound", _ends(above), target=target)
    if calibration := served.calibration:
        _bounds(families, "headrace_calibration_bound_ratio", _ends(calibration), target=target)
    families.add("headrace_drift_alarms_total", models.drift.alarms, target=target)
    families.add("headrace_drift_open", models.drift.open, target=target)
    families.add("headrace_champion_switches_total", models.switches, target=target)


def _ends(estimate: Estimate) -> Interval:
    return estimate.low, estimate.high


def _bounds(families: Families, name: str, interval: Interval, **labels: str) -> None:
    for bound, value in zip(("lower", "upper"), interval, strict=True):
        families.add(name, value, bound=bound, **labels)


def registry_of(collector: Collector) -> CollectorRegistry:
    """Creates a registry of a worker's and its process's metrics, apart from the library's global one."""
    registry = CollectorRegistry()
    registry.register(collector)
    ProcessCollector(registry=registry)
    PlatformCollector(registry=registry)
    GCCollector(registry=registry)
    return registry
