"""Prometheus metrics of a worker, collected at each scrape."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from prometheus_client import CollectorRegistry, GCCollector, PlatformCollector, ProcessCollector
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from streams.contract.fold import PartitionRow, decode_partition_row
from streams.contract.source_epoch import plain_offset
from streams.engine.watchdog import Condition
from streams.engine.worker import FoldWorker
from streams.observability.health import Health
from streams.observability.metrics_reporter import LATENCY_EDGES_MS

_BUCKETS_S: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0)
_OUTCOMES: Final = ("applied", "duplicates", "late", "clock_ahead", "unjoinable", "skipped_offsets")
_DEAD_LETTERS: Final = "dead_letters."


class WorkerCollector(Collector):
    """Collector of progress, partition rows, lag and latencies of one worker.

    Counters of events belong to a partition: after a rebalance they continue in another worker's series.

    Args:
        workers: The folds by their source topic.
        condition: Returns the watchdog's condition.
        latencies: Returns by source how many records had which latency, in the bins of ``LATENCY_EDGES_MS``.
    """

    def __init__(
        self,
        workers: Mapping[str, FoldWorker],
        condition: Callable[[], Condition],
        health: Health,
        latencies: Callable[[], Mapping[str, NDArray[np.int64]]],
    ) -> None:
        self._workers = workers
        self._condition = condition
        self._health = health
        self._latencies = latencies

    def collect(self) -> Iterable[Metric]:
        yield from self._partitions()
        yield from self._progress()
        yield self._latency()
        yield from self._state()

    def _partitions(self) -> Iterable[Metric]:
        places = ["topic", "partition"]
        events = CounterMetricFamily(
            "headrace_events",
            "Records by what became of them; late ones are applied, too.",
            labels=[*places, "outcome"],
        )
        letters = CounterMetricFamily(
            "headrace_dead_letters", "Records that could not be applied, by reason.", labels=[*places, "reason"]
        )
        watermark = GaugeMetricFamily("headrace_watermark_seconds", "Event time reached, Unix time.", labels=places)
        jumps = CounterMetricFamily(
            "headrace_watermark_jumps", "Advances of a watermark by more than a day at once.", labels=places
        )
        offset = GaugeMetricFamily("headrace_next_offset", "Source offset that comes next.", labels=places)
        for place, row in self._rows():
            for outcome in _OUTCOMES:
                if outcome in row.counts:
                    events.add_metric([*place, outcome], row.counts[outcome])
            for name, count in row.counts.items():
                if name.startswith(_DEAD_LETTERS):
                    letters.add_metric([*place, name.removeprefix(_DEAD_LETTERS)], count)
            if row.watermark_ms >= 0:
                watermark.add_metric(place, row.watermark_ms / 1000)
                jumps.add_metric(place, row.counts.get("watermark_jumps", 0))
            offset.add_metric(place, plain_offset(row.applied_offset) + 1)
        yield from (events, letters, watermark, jumps, offset)

    def _rows(self) -> Iterable[tuple[list[str], PartitionRow]]:
        for source, worker in self._workers.items():
            for number, opened in sorted(worker.partitions.copy().items()):
                yield [source, str(number)], decode_partition_row(opened.committed)

    def _progress(self) -> Iterable[Metric]:
        records = CounterMetricFamily(
            "headrace_records", "Records taken since the start, repeats too.", labels=["topic"]
        )
        batches = CounterMetricFamily("headrace_batches", "Batches acknowledged since the start.", labels=["topic"])
        steps = CounterMetricFamily("headrace_step_seconds", "Time spent by step.", labels=["topic", "step"])
        for source, worker in self._workers.items():
            progress = worker.engine.progress
            records.add_metric([source], progress.records)
            batches.add_metric([source], progress.batches)
            for step, spent_ns in progress.step_ns.items():
                steps.add_metric([source, step], spent_ns / 1e9)
        yield from (records, batches, steps)

    def _latency(self) -> Metric:
        family = HistogramMetricFamily(
            "headrace_latency_seconds", "From the record's timestamp to its outputs' delivery.", labels=["topic"]
        )
        for source, counts in self._latencies().items():
            total = int(counts.sum())
            below = [
                int(counts[: np.searchsorted(LATENCY_EDGES_MS[1:], 1000 * edge_s, "right")].sum())
                for edge_s in _BUCKETS_S
            ]
            buckets: list[Any] = [(str(edge_s), count) for edge_s, count in zip(_BUCKETS_S, below, strict=True)]
            family.add_metric([source], [*buckets, ("+Inf", total)], float(counts @ LATENCY_EDGES_MS[1:]) / 1000)
        return family

    def _state(self) -> Iterable[Metric]:
        condition = self._condition()
        lag = GaugeMetricFamily("headrace_lag_records", "Records still to be folded.", labels=["topic", "partition"])
        for (topic, number), records in sorted(condition.lag.items()):
            lag.add_metric([topic, str(number)], records)
        unread = GaugeMetricFamily(
            "headrace_unread_records", "Records of a partition that nobody reads.", labels=["topic", "partition"]
        )
        for (topic, number), each in sorted(condition.unread.items()):
            unread.add_metric([topic, str(number)], each.records)
        yield from (lag, unread)
        yield GaugeMetricFamily("headrace_healthy", "1 while the worker moves.", not self._health.reasons_unhealthy())
        yield GaugeMetricFamily("headrace_ready", "1 while the worker is ready.", not self._health.reasons_not_ready())
        yield GaugeMetricFamily("headrace_assigned_partitions", "Source partitions.", len(condition.assigned or ()))
        yield CounterMetricFamily("headrace_recovered_rows", "Rows read from changelogs.", condition.recovered_rows)
        yield CounterMetricFamily("headrace_standby_rows", "Rows read as a standby of others.", condition.standby_rows)
        if condition.standby_left is not None:
            yield GaugeMetricFamily(
                "headrace_standby_left_offsets", "Until standbys are ready.", condition.standby_left
            )
        if recovery := condition.recovery:
            yield GaugeMetricFamily("headrace_recovery_done_ratio", "Of the present or last one.", recovery.done)
            yield GaugeMetricFamily("headrace_recovery_rows_per_second", "Of the same.", recovery.rows_per_s)


def registry_of(collector: Collector) -> CollectorRegistry:
    """Creates a registry of a worker's and its process's metrics, apart from the library's global one."""
    registry = CollectorRegistry()
    registry.register(collector)
    ProcessCollector(registry=registry)
    PlatformCollector(registry=registry)
    GCCollector(registry=registry)
    return registry
