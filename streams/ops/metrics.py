"""Once a second, what this worker has done and how fast, to the metrics topic."""

import logging
import os
import socket
import threading
from collections.abc import Callable, Mapping
from time import monotonic, time
from typing import Any, Final, cast

import msgspec
import numpy as np
import orjson
from confluent_kafka import KafkaException, Producer
from numpy.typing import NDArray

from streams.contract.connection import client_configuration
from streams.contract.fold import decode_partition_row
from streams.contract.settings import Settings
from streams.contract.topics import CLICKSTREAM, METRICS
from streams.core.behaviour import BehaviourFold
from streams.core.summary import summarise
from streams.engine.offsets import Offsets
from streams.engine.protocol import OpenPartition
from streams.engine.watchdog import Condition
from streams.engine.worker import FoldWorker

_log: Final = logging.getLogger(__name__)
_JSON: Final = orjson.OPT_SERIALIZE_NUMPY | orjson.OPT_NON_STR_KEYS
_PERCENTILES: Final = (50, 95, 99)
LATENCY_EDGES_MS: Final = np.concatenate([[0.0], np.geomspace(0.5, 600_000.0, 400)])


class Reporter:
    """Publishes one record an interval, on a thread of its own, so that a stalled worker is seen to stall.

    The totals under ``partitions`` are exact and survive restarts; workers' totals are merged by taking each
    partition's record with the highest guard. What is per second is of this process and this interval.

    Args:
        condition: Asks the watchdog.
    """

    def __init__(
        self,
        settings: Settings,
        workers: Mapping[str, FoldWorker],
        condition: Callable[[], Condition],
        interval_s: float = 1.0,
    ) -> None:
        self._settings = settings
        self._workers = workers
        self._condition = condition
        self._interval_s = interval_s
        self._source = f"worker/{socket.gethostname()}-{os.getpid()}"
        self._offsets = Offsets(settings.kafka)
        self._producer = Producer({**client_configuration(settings.kafka), "log_level": 2})
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="reporter", daemon=True)
        self._since = monotonic()
        self._records: dict[str, int] = {}
        self._latencies: dict[str, NDArray[np.int64]] = {}

    def start(self) -> None:
        """Starts to report."""
        self._thread.start()

    def stop(self) -> None:
        """Reports once more, so that the last totals are out, and ends."""
        self._stopping.set()
        self._thread.join()
        self._report()
        self._producer.flush(5.0)

    def latencies(self) -> dict[str, NDArray[np.int64]]:
        """Returns by source how many records since the start had which latency, in the bins of the edges."""
        return self._latencies.copy()

    def _run(self) -> None:
        while not self._stopping.wait(self._interval_s):
            self._report()

    def _report(self) -> None:
        try:
            measured = self.measure()
        except KafkaException as error:
            # The folds go on without being measured; whether they do is the watchdog's business.
            _log.warning("the broker did not say how far its topics reach: %s", error)
            return
        self._producer.produce(METRICS, orjson.dumps(measured, option=_JSON), self._source)
        self._producer.poll(0)

    def measure(self) -> dict[str, Any]:
        """Takes this interval's numbers."""
        now = monotonic()
        interval_s, self._since = now - self._since, now
        behaviour = self._workers.get(CLICKSTREAM)
        condition = self._condition()
        rows = [] if behaviour is None else [decode_partition_row(open_.committed) for open_ in _opened(behaviour)]
        return {
            "source": self._source,
            "timestamp_ms": int(time() * 1000),
            "interval_s": interval_s,
            "recovery": {
                **(condition.recovery.facts() if condition.recovery else {}),
                "recovered_rows": condition.recovered_rows,
                "standby_rows": condition.standby_rows,
            },
            **summarise(rows),
            **({} if behaviour is None else {"experiment": _experiment(behaviour)}),
            "folds": {source: self._fold(worker, interval_s) for source, worker in self._workers.items()},
        }

    def _fold(self, worker: FoldWorker, interval_s: float) -> dict[str, Any]:
        progress = worker.engine.progress
        source = worker.engine.fold.source
        latencies, progress.latencies_ms = progress.latencies_ms, []
        counts, _ = np.histogram(np.maximum(latencies, 0), LATENCY_EDGES_MS)
        overall = self._latencies[source] = self._latencies.get(source, 0) + counts
        before = self._records.get(source, 0)
        self._records[source] = progress.records
        return {
            "records_per_s": (progress.records - before) / interval_s,
            "records": progress.records,
            "step_us_per_record": {
                step: spent / 1000 / max(progress.records, 1) for step, spent in progress.step_ns.items()
            },
            "latency_ms": percentiles(counts),
            "latency_ms_overall": percentiles(overall),
            "partitions": {str(open_.number): self._partition(source, open_) for open_ in _opened(worker)},
        }

    def _partition(self, source: str, open_partition: OpenPartition[Any, Any]) -> dict[str, Any]:
        row = decode_partition_row(open_partition.committed)
        end = self._offsets.coverage(source, open_partition.number).end
        return {"lag": max(end - open_partition.position, 0), **msgspec.structs.asdict(row)}


def percentiles(counts: NDArray[np.int64]) -> dict[str, float] | None:
    """Reads percentiles off a histogram of latencies, each as its bin's upper edge: at most 4 % too high."""
    total = int(counts.sum())
    if not total:
        return None
    places = np.searchsorted(np.cumsum(counts), [total * percent / 100 for percent in _PERCENTILES])
    return {
        f"p{percent}": float(LATENCY_EDGES_MS[place + 1]) for percent, place in zip(_PERCENTILES, places, strict=True)
    }


def _experiment(behaviour: FoldWorker) -> dict[str, Any]:
    """What is in force, and why the latest record of the feed is not, where that was refused."""
    running = cast(BehaviourFold, behaviour.engine.fold).experiment
    return {**msgspec.to_builtins(running.current), "refused": running.refused}


def _opened(worker: FoldWorker) -> list[OpenPartition[Any, Any]]:
    return list(worker.partitions.values())
