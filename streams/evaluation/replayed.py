"""Evaluation of a real worker's predictions while a recorded file is replayed to it, with a real broker."""

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any, Final

from confluent_kafka import OFFSET_BEGINNING, Consumer, TopicPartition

from producers.lag import LagGate
from producers.publisher import Publisher
from producers.replay.replay import ReplaySummary, replay
from streams.brokers.embedded import embedded_broker
from streams.brokers.process_group import ProcessGroup
from streams.brokers.worker_process import start_worker
from streams.contract.connection import reader_configuration
from streams.contract.errors import BrokenInvariant
from streams.contract.events import Event
from streams.contract.records import Prediction, decode_prediction
from streams.contract.settings import Settings
from streams.contract.topics import METRICS, PREDICTIONS, SOURCES
from streams.evaluation.outcomes import partitioned
from streams.evaluation.served import horizon_s, measure_predictions
from streams.observability.metrics_view import MetricsView

_POLL_S: Final = 0.1
_QUIET_S: Final = 3.0
_STALLED_S: Final = 120.0


def measure_replayed(
    settings: Settings, events: Sequence[Event], speed: float, advance: Callable[[int], None]
) -> dict[str, Any]:
    """Replays ``events``, in their order, to a worker on an embedded broker, and measures its predictions.

    Predictions are read from the topic while the worker publishes them: the broker keeps only 5 MiB of a partition.

    Args:
        speed: Event seconds for each second of wall clock. The faster, the older, in event time, are the weights behind
            a prediction: the models global table is read within half a second of wall clock.
        advance: Called with the number of events published since the last call.

    Returns:
        As :func:`~streams.evaluation.served.measure_served`.

    Raises:
        BrokenInvariant: The worker ended, made no progress, or did not apply every event.
    """
    with ExitStack() as stack:
        settings = stack.enter_context(embedded_broker(settings))
        group = stack.enter_context(ProcessGroup("headrace-replay-"))
        reader = stack.enter_context(_reading(settings))
        worker = stack.enter_context(start_worker(group, settings))
        publishing = _Publishing(settings, events, speed)
        stack.callback(publishing.stop)
        metrics, predictions, moved_at, shown = MetricsView(), list[Prediction](), time.monotonic(), 0
        while True:
            has_progress = _read(reader, settings.names.topic(METRICS), metrics, predictions)
            advance(publishing.published - shown)
            has_progress |= publishing.published > shown
            shown = publishing.published
            now = time.monotonic()
            if has_progress:
                moved_at = now
            if (code := worker.exit_code) is not None:
                raise BrokenInvariant(f"the worker ended with exit code {code}")
            if now - moved_at > (_QUIET_S if publishing.is_done(metrics) else _STALLED_S):
                break
        if not publishing.is_done(metrics):
            raise BrokenInvariant(f"nothing has moved for {_STALLED_S:.0f} s: {metrics.totals()}")
    return measure_predictions(settings, partitioned(events, settings.kafka.partitions), predictions)


class _Publishing:
    """The replay in its own thread."""

    def __init__(self, settings: Settings, events: Sequence[Event], speed: float) -> None:
        self.published = 0
        self._summary: ReplaySummary | None = None
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, args=(settings, events, speed), name="replay", daemon=True)
        self._thread.start()

    def is_done(self, metrics_view: MetricsView) -> bool:
        """Tells whether all was published, and all of it is applied and learned."""
        if self._summary is None:
            return False
        behind = sum(metrics_view.lag(source) for source in SOURCES.values())
        return behind == 0 and metrics_view.totals().applied == self._summary.produced - self._summary.undelivered

    def stop(self) -> None:
        self._stopping.set()
        self._thread.join()

    def _run(self, settings: Settings, events: Sequence[Event], speed: float) -> None:
        gate = LagGate(settings)
        with Publisher(settings, gate) as publisher:
            self._summary = replay(
                events,
                publisher,
                speed,
                mature_s=horizon_s(settings),
                on_progress=self._advance_to,
                should_stop=self._stopping.is_set,
            )

    def _advance_to(self, published: int) -> None:
        self.published = published


@contextmanager
def _reading(settings: Settings) -> Iterator[Consumer]:
    consumer = Consumer(reader_configuration(settings))
    names, partitions = settings.names, range(settings.kafka.partitions)
    places = [TopicPartition(names.topic(PREDICTIONS), number, OFFSET_BEGINNING) for number in partitions]
    consumer.assign([TopicPartition(names.topic(METRICS), 0, OFFSET_BEGINNING), *places])
    try:
        yield consumer
    finally:
        consumer.close()


def _read(reader: Consumer, metrics_topic: str, metrics: MetricsView, predictions: list[Prediction]) -> bool:
    """Reads the records that have arrived; returns whether there were predictions."""
    n_before = len(predictions)
    for record in reader.consume(1000, _POLL_S):
        if record.error() is not None:
            continue
        if record.topic() == metrics_topic:
            metrics.take(record.value())
        else:
            predictions.append(decode_prediction(record.value() or b""))
    return len(predictions) > n_before
