"""Band 5: folds, workers and books, from the workers' records of the metrics topic."""

from typing import Final

from streams.contract.metrics import PartitionMetrics, Totals, WorkerMetrics
from streams.contract.source_epoch import epoch_of, plain_offset
from streams.contract.topics import CLICKSTREAM, SOURCES
from streams.observability.metrics_view import MetricsView
from streams.serving.page.document import Books, Fold, Health, WorkerState

SILENT_MS: Final = 6_000
"""A worker reports every second; one that has not for so long is taken for dead."""
_QUIET_MS: Final = 10_000
_BUSY: Final = 10_000


def health(metrics: MetricsView, event_ms: int, written_ms: int, now_ms: int) -> Health:
    """Describes the folds.

    Args:
        event_ms: Event time of the newest event, -1 before it.
        written_ms: When the newest event was written, -1 before it.
    """
    totals = metrics.totals()
    folds = [_fold(metrics, fold, source, event_ms) for fold, source in SOURCES.items()]
    workers = [_worker(worker, now_ms) for worker in metrics.workers()]
    age_s = max(now_ms - written_ms, 0) / 1000 if written_ms >= 0 else None
    return Health(
        problems=[*_problems(folds, age_s), *_unread(metrics)],
        is_alive=any(fold.workers for fold in folds if fold.source == CLICKSTREAM),
        folds=folds,
        books=_books(metrics.partition_metrics(CLICKSTREAM), totals, metrics.lag()),
        late_share=totals.late / totals.applied if totals.applied else None,
        dead_letters=totals.dead_letters,
        workers=workers,
        events_age_s=age_s,
        event_time_ms=event_ms,
    )


def _fold(metrics: MetricsView, fold: str, source: str, event_ms: int) -> Fold:
    reported = [worker.folds[source] for worker in metrics.workers() if source in worker.folds]
    latencies = [each.latency_ms for each in reported if each.latency_ms]
    watermarks = [each.watermark_ms for each in metrics.partition_metrics(source) if each.watermark_ms >= 0]
    return Fold(
        fold=fold,
        source=source,
        workers=len(reported),
        records_per_s=sum(each.records_per_s for each in reported),
        latency_ms=max(latencies, key=lambda each: each.p99, default=None),
        lag=metrics.lag(source),
        watermark_age_s=max(event_ms - min(watermarks), 0) / 1000 if watermarks and event_ms >= 0 else None,
    )


def _worker(worker: WorkerMetrics, now_ms: int) -> WorkerState:
    age_s = max(now_ms - worker.timestamp_ms, 0) / 1000
    return WorkerState(worker.source.removeprefix("worker/"), [*worker.folds], age_s, worker.recovery.last)


def _books(partitions: list[PartitionMetrics], totals: Totals, waiting: int) -> Books:
    is_first = all(epoch_of(each.applied_offset) == 0 for each in partitions)
    read = sum(plain_offset(each.applied_offset) + 1 for each in partitions) if is_first else None
    return Books(
        read + waiting if read is not None else None,
        read,
        totals.applied,
        totals.duplicates,
        sum(totals.dead_letters.values()),
        totals.skipped_offsets,
        waiting,
    )


def _problems(folds: list[Fold], age_s: float | None) -> list[str]:
    found = []
    for fold in folds:
        if not fold.workers:
            found.append(f"No worker of the fold {fold.fold} reports: start one with `headrace worker`.")
        elif fold.lag > _BUSY:
            found.append(f"{fold.lag:,} records of {fold.source} wait: the fold {fold.fold} is behind.")
    if age_s is None:
        found.append("No event has come yet.")
    elif age_s * 1000 > _QUIET_MS:
        found.append(f"The last event came {age_s:,.0f} s ago.")
    return found


def _unread(metrics: MetricsView) -> list[str]:
    unread = {place: count for worker in metrics.workers() for place, count in worker.unread.items() if count}
    return [f"Nobody reads {place}: {count:,} records." for place, count in sorted(unread.items())]
