"""A worker's record of the metrics topic."""

from typing import Final

from streams.contract.metrics import FoldMetrics, PartitionMetrics, RecoveryMetrics, WorkerMetrics, encode_metrics
from streams.contract.topics import CLICKSTREAM
from streams.core.behaviour.tallies import summarise

_LAG: Final = 3


def worker_record(timestamp_ms: int, applied: int) -> bytes:
    """Returns the record of a worker that has applied so many events, and one duplicate."""
    partition = PartitionMetrics(
        lag=_LAG,
        applied_offset=applied,
        schema=1,
        watermark_ms=timestamp_ms,
        applied_positions={},
        counts={"applied": applied, "duplicates": 1, "decisions.bandit": applied},
        exposures={"bandit": (1, applied, 0, applied, 0, 0)},
        funnel={},
    )
    fold = FoldMetrics(
        records_per_s=1.0,
        records=applied,
        step_us_per_record={},
        latency_ms=None,
        latency_ms_overall=None,
        partitions={0: partition},
    )
    return encode_metrics(
        WorkerMetrics(
            source="worker/here-1",
            timestamp_ms=timestamp_ms,
            interval_s=1.0,
            recovery=RecoveryMetrics(recovered_rows=0, standby_rows=0, last=None),
            totals=summarise([partition]),
            experiment=None,
            folds={CLICKSTREAM: fold},
            unread={},
        )
    )
