"""Reader of the metrics topic in a worker: the figures that no worker has alone."""

import logging
import threading
from collections.abc import Mapping
from typing import Final, NamedTuple

from confluent_kafka import Consumer, KafkaException, TopicPartition

from streams.contract.connection import reader_configuration
from streams.contract.metrics import LearnerMetrics, PolicyTotals
from streams.contract.settings import Settings
from streams.contract.topics import CLICKSTREAM, METRICS
from streams.engine.offsets import Offsets
from streams.observability.metrics_view import MetricsView

_log: Final = logging.getLogger(__name__)
_TAIL: Final = 5000
"""Records read at the start: minutes of all workers, and learners that have learned in that time."""
_MAX_RECORDS: Final = 500
_POLL_S: Final = 0.5
_RETRY_S: Final = 5.0
_ANSWER_S: Final = 2.0


class ApplicationMetrics(NamedTuple):
    """State of the whole application.

    Attributes:
        policies: Totals of all partitions; empty until each of them was read.
        learners: Latest record of each learner.
        taken: Records read.
        rejected: Records that could not be decoded.
    """

    policies: Mapping[str, PolicyTotals]
    learners: Mapping[str, LearnerMetrics]
    taken: int
    rejected: int


class MetricsReader:
    """Follows the metrics topic on a thread of its own, without a consumer group.

    A broker that does not answer is logged, and asked again; the folds do not wait for this reader.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._view = MetricsView()
        self._taken = 0
        self._lock = threading.Lock()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="metrics reader", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stopping.set()
        self._thread.join()

    def application(self) -> ApplicationMetrics:
        """Returns the state as of the last record; callable from any thread."""
        with self._lock:
            is_whole = self._view.partitions(CLICKSTREAM) == self._settings.kafka.partitions
            policies = self._view.totals().policies if is_whole else {}
            return ApplicationMetrics(policies, self._view.learners(), self._taken, self._view.rejected)

    def take(self, value: bytes | None) -> None:
        """Takes the value of one record."""
        with self._lock:
            rejected = self._view.rejected
            self._view.take(value)
            self._taken += self._view.rejected == rejected

    def _run(self) -> None:
        consumer = Consumer(
            {
                **reader_configuration(self._settings),
                "auto.offset.reset": "earliest",
                "fetch.wait.max.ms": 500,
                "queued.max.messages.kbytes": 1024,
            }
        )
        try:
            while not self._stopping.is_set():
                try:
                    consumer.assign([self._begin()])
                    break
                except KafkaException as error:
                    _log.warning("the topic %s cannot be read yet: %s", METRICS, error)
                    self._stopping.wait(_RETRY_S)
            while not self._stopping.is_set():
                for message in consumer.consume(_MAX_RECORDS, _POLL_S):
                    if failure := message.error():
                        _log.warning("the topic %s cannot be read: %s", METRICS, failure.str())
                        self._stopping.wait(_RETRY_S)
                    else:
                        self.take(message.value())
        finally:
            consumer.close()

    def _begin(self) -> TopicPartition:
        with Offsets(self._settings, timeout_s=_ANSWER_S) as offsets:
            first, end = offsets.coverage(METRICS, 0)
        return TopicPartition(self._settings.names.topic(METRICS), 0, max(first, end - _TAIL))
