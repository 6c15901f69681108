"""Reporter of a worker's totals and speed to the metrics topic, once a second."""

import logging
import os
import socket
import threading
from collections.abc import Callable, Mapping
from time import monotonic, time
from typing import Any, Final, cast

import numpy as np
from confluent_kafka import KafkaException, Producer
from numpy.typing import NDArray

from streams.contract.connection import client_configuration
from streams.contract.fold import decode_partition_row
from streams.contract.metrics import (
    ExperimentMetrics,
    FoldMetrics,
    LastRecovery,
    PartitionMetrics,
    Percentiles,
    RecoveryMetrics,
    WorkerMetrics,
    encode_metrics,
)
from streams.contract.settings import Settings
from streams.contract.topics import CLICKSTREAM, METRICS
from streams.core.behaviour.fold import BehaviourFold
from streams.core.behaviour.tallies import partition_metrics, summarise
from streams.engine.offsets import Offsets
from streams.engine.protocol import OpenPartition
from streams.engine.readers import by_place
from streams.engine.watchdog import Condition
from streams.engine.worker import FoldWorker

_log: Final = logging.getLogger(__name__)
_PERCENTILES: Final = (50, 95, 99)
_INTERVAL_S: Final = 1.0
_FIRST_INTERVAL_S: Final = 0.25
"""Until partitions are assigned: somebody may wait for that."""
LATENCY_EDGES_MS: Final = np.concatenate([[0.0], np.geomspace(0.5, 600_000.0, 400)])


class MetricsReporter:
    """Publishes one record per interval, on a thread of its own, so that a stalled worker still reports.

    The totals under ``partitions`` are exact and survive restarts; workers' totals are merged by taking each
    partition's record with the highest applied offset. What is per second is of this process and this interval.

    Args:
        condition: Returns the watchdog's condition.
    """

    def __init__(
        self, settings: Settings, workers: Mapping[str, FoldWorker], condition: Callable[[], Condition]
    ) -> None:
        self._settings = settings
        self._workers = workers
        self._condition = condition
        self._source = f"worker/{socket.gethostname()}-{os.getpid()}"
        self._offsets = Offsets(settings)
        self._producer = Producer(client_configuration(settings.kafka))
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="reporter", daemon=True)
        self._since = monotonic()
        self._records: dict[str, int] = {}
        self._latencies: dict[str, NDArray[np.int64]] = {}

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Ends after a last report, which has the final totals."""
        self._stopping.set()
        self._thread.join()
        self._report()
        self._producer.flush(5.0)

    def latencies(self) -> dict[str, NDArray[np.int64]]:
        """Returns a histogram of latencies since the start for each source, in the bins of ``LATENCY_EDGES_MS``."""
        return self._latencies.copy()

    def _run(self) -> None:
        while not self._stopping.wait(_INTERVAL_S if self._condition().assigned is not None else _FIRST_INTERVAL_S):
            self._report()

    def _report(self) -> None:
        try:
            measured = self.measure()
        except KafkaException as error:
            # The folds go on without being measured; whether they do is the watchdog's business.
            _log.warning("the broker did not say how far its topics reach: %s", error)
            return
        self._producer.produce(self._settings.names.topic(METRICS), encode_metrics(measured), self._source)
        self._producer.poll(0)

    def measure(self) -> WorkerMetrics:
        """Measures the interval since the last call."""
        timestamp_ms, now = int(time() * 1000), monotonic()
        interval_s, self._since = now - self._since, now
        behaviour = self._workers.get(CLICKSTREAM)
        folds = {source: self._fold(worker, interval_s) for source, worker in self._workers.items()}
        condition = self._condition()
        return WorkerMetrics(
            source=self._source,
            timestamp_ms=timestamp_ms,
            interval_s=interval_s,
            recovery=_recovery(condition),
            totals=summarise(folds[CLICKSTREAM].partitions.values() if behaviour else ()),
            experiment=_experiment(behaviour) if behaviour else None,
            folds=folds,
            unread={place: each.records for place, each in by_place(condition.unread).items()},
        )

    def _fold(self, worker: FoldWorker, interval_s: float) -> FoldMetrics:
        progress = worker.engine.progress
        source = worker.engine.fold.source
        latencies, progress.latencies_ms = progress.latencies_ms, []
        counts, _ = np.histogram(np.maximum(latencies, 0), LATENCY_EDGES_MS)
        overall = self._latencies[source] = self._latencies.get(source, 0) + counts
        before = self._records.get(source, 0)
        self._records[source] = progress.records
        return FoldMetrics(
            records_per_s=(progress.records - before) / interval_s,
            records=progress.records,
            step_us_per_record={
                step: spent / 1000 / max(progress.records, 1) for step, spent in progress.step_ns.items()
            },
            latency_ms=percentiles(counts),
            latency_ms_overall=percentiles(overall),
            partitions={opened.number: self._partition(source, opened) for opened in list(worker.partitions.values())},
        )

    def _partition(self, source: str, opened: OpenPartition[Any, Any]) -> PartitionMetrics:
        end = self._offsets.coverage(source, opened.number).end
        return partition_metrics(decode_partition_row(opened.committed), lag=max(end - opened.position, 0))


def percentiles(counts: NDArray[np.int64]) -> Percentiles | None:
    """Estimates percentiles from a histogram of latencies by the bins' upper edges, at most 4 % too high."""
    total = int(counts.sum())
    if not total:
        return None
    places = np.searchsorted(np.cumsum(counts), [total * percent / 100 for percent in _PERCENTILES])
    return Percentiles(*LATENCY_EDGES_MS[places + 1].tolist())


def _recovery(condition: Condition) -> RecoveryMetrics:
    last = None
    if recovery := condition.recovery:
        last = LastRecovery(
            rows=recovery.rows, rows_per_s=recovery.rows_per_s, done=recovery.done, seconds=recovery.seconds
        )
    return RecoveryMetrics(recovered_rows=condition.recovered_rows, standby_rows=condition.standby_rows, last=last)


def _experiment(behaviour: FoldWorker) -> ExperimentMetrics:
    running = cast(BehaviourFold, behaviour.engine.fold).experiment
    return ExperimentMetrics(shares=running.current.shares, shadows=running.current.shadows, refused=running.refused)
