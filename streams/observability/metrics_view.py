"""Latest state of all workers and learners, as read from the metrics topic."""

from collections.abc import Iterator, Mapping
from typing import assert_never

from streams.contract.errors import RejectedRecord
from streams.contract.metrics import (
    FoldMetrics,
    GroundTruthMetrics,
    LearnerMetrics,
    PartitionMetrics,
    Percentiles,
    PolicyRegret,
    Totals,
    WorkerMetrics,
    decode_metrics,
)
from streams.contract.topics import CLICKSTREAM, SOURCES
from streams.core.behaviour.tallies import summarise


class MetricsView:
    """View of the metrics topic; records may come in any order and from any number of workers.

    Attributes:
        busy_s: Sum of the intervals in which events of the clickstream were folded, over all workers.
        rejected: Records that were no metrics, or of a type that is not known here.
    """

    def __init__(self) -> None:
        self._partitions: dict[tuple[str, int], PartitionMetrics] = {}
        self._workers: dict[str, WorkerMetrics] = {}
        self._learners: dict[str, LearnerMetrics] = {}
        self._ground_truth: Mapping[str, PolicyRegret] = {}
        self.busy_s = 0.0
        self.rejected = 0

    def take(self, value: bytes | None) -> None:
        """Adds the value of one record; of each partition and learner only the latest state is kept."""
        try:
            record = decode_metrics(value)
        except RejectedRecord:
            self.rejected += 1
            return
        match record:
            case WorkerMetrics():
                self._take_worker(record)
            case LearnerMetrics():
                known = self._learners.get(record.learner)
                if known is None or record.version >= known.version:
                    self._learners[record.learner] = record
            case GroundTruthMetrics():
                self._ground_truth = record.policies
            case _:
                assert_never(record)

    def _take_worker(self, record: WorkerMetrics) -> None:
        self._workers[record.source] = record
        if CLICKSTREAM in record.folds and record.folds[CLICKSTREAM].records_per_s:
            self.busy_s += record.interval_s
        for source, fold in record.folds.items():
            for number, partition in fold.partitions.items():
                last = self._partitions.get((source, number))
                if last is None or partition.applied_offset >= last.applied_offset:
                    self._partitions[source, number] = partition

    def is_ready(self) -> bool:
        """Tells whether a worker of the clickstream has been assigned its partitions and has recovered their rows."""
        recoveries = [worker.recovery.last for worker in self._with(CLICKSTREAM)]
        return any(recovery is not None and recovery.done == 1.0 for recovery in recoveries)

    def is_measured_since(self, timestamp_ms: int) -> bool:
        """Tells whether each fold has been measured after a time, by the workers' clocks."""
        return all(
            any(worker.timestamp_ms > timestamp_ms for worker in self._with(source)) for source in SOURCES.values()
        )

    def totals(self) -> Totals:
        """Returns the exact totals since the first event."""
        return summarise(self._of(CLICKSTREAM))

    def lag(self, source: str = CLICKSTREAM) -> int:
        """Counts the records of a source topic that are not applied."""
        return sum(partition.lag for partition in self._of(source))

    def partitions(self, source: str) -> int:
        """Counts the partitions of a source topic that were reported so far."""
        return len(self._of(source))

    def records(self, source: str) -> int:
        """Counts the records of a source topic that the workers have applied since their starts, repeats included."""
        return sum(fold.records for fold in self._folds(source))

    def rate(self) -> float:
        """Returns the clickstream events per second, over all workers, in their last intervals."""
        return sum(fold.records_per_s for fold in self._folds(CLICKSTREAM))

    def latency_ms(self) -> Percentiles | None:
        """Returns latencies from acceptance by Kafka to the acknowledged decision, of the worker that reported last."""
        measured = [fold.latency_ms for fold in self._folds(CLICKSTREAM) if fold.latency_ms]
        return measured[-1] if measured else None

    def overall_latency_ms(self, source: str = CLICKSTREAM) -> Percentiles | None:
        """Returns the same latencies since the worker's start, of any fold's records."""
        measured = [fold.latency_ms_overall for fold in self._folds(source) if fold.latency_ms_overall]
        return measured[-1] if measured else None

    def workers(self) -> list[WorkerMetrics]:
        """Lists the last record of each worker."""
        return list(self._workers.values())

    def forget_silent(self, since_ms: int) -> None:
        """Forgets workers that have not reported since a time, by their clocks; what they applied stays counted."""
        silent = [source for source, worker in self._workers.items() if worker.timestamp_ms < since_ms]
        for source in silent:
            del self._workers[source]

    def partition_metrics(self, source: str) -> list[PartitionMetrics]:
        """Lists the totals of a source's partitions."""
        return self._of(source)

    def learners(self) -> dict[str, LearnerMetrics]:
        return dict(sorted(self._learners.items()))

    def ground_truth(self) -> Mapping[str, PolicyRegret]:
        """Returns each policy's regret from the simulator; empty for real shoppers."""
        return self._ground_truth

    def _of(self, source: str) -> list[PartitionMetrics]:
        return [partition for (topic, _), partition in sorted(self._partitions.items()) if topic == source]

    def _folds(self, source: str) -> Iterator[FoldMetrics]:
        return (worker.folds[source] for worker in self._with(source))

    def _with(self, source: str) -> Iterator[WorkerMetrics]:
        return (worker for worker in self._workers.values() if source in worker.folds)
