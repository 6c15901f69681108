"""What a worker serves while a recorded file is replayed to it: a broker, a worker, a publisher, all of them real."""

import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Final

import msgspec
import orjson
from confluent_kafka import OFFSET_BEGINNING, Consumer, TopicPartition

from producers.lag import LagGate
from producers.publisher import Publisher
from producers.replay.replay import ReplaySummary, replay
from streams.contract.connection import client_configuration
from streams.contract.errors import BrokenInvariant
from streams.contract.events import Event
from streams.contract.settings import Settings
from streams.contract.topics import CLICKSTREAM, EXPERIENCES, METRICS, RELATIONS
from streams.core.learning.examples import Examples, read_examples
from streams.ops.board import Board
from streams.ops.broker import EmbeddedBroker
from streams.ops.demo import child
from streams.ops.evaluate.served import horizon_s, measure_examples

_POLL_S: Final = 0.1
_QUIET_S: Final = 3.0
_STALLED_S: Final = 120.0


def measure_replayed(
    settings: Settings, events: Sequence[Event], speed: float, advance: Callable[[int], None]
) -> dict[str, Any]:
    """Replays ``events``, in their order, to a worker on an embedded broker, and measures what it had served.

    Examples are read off the topic while the worker sends them: the broker keeps 5 MiB of a partition.

    Args:
        speed: Event seconds for each second of wall clock. The faster, the older in event time are the weights that a
            prediction is made with: the models feed is read within half a second of wall clock.
        advance: Told how many events were published since the last call.

    Returns:
        As :func:`~streams.ops.evaluate.served.measure_served`.

    Raises:
        BrokenInvariant: The worker ended, stood still, or did not apply every event.
    """
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="headrace-replay-")))
        broker = stack.enter_context(EmbeddedBroker({topic.name: topic.partitions for topic in settings.topics}))
        kafka = msgspec.structs.replace(settings.kafka, bootstrap_servers=broker.bootstrap_servers)
        settings = msgspec.structs.replace(settings, kafka=kafka)
        config = folder / "headrace.json"
        config.write_bytes(msgspec.json.encode(settings))
        reader = stack.enter_context(_reading(settings))
        worker = stack.enter_context(child("worker", [str(config), str(folder / "data")]))
        publishing = _Publishing(settings, events, speed)
        stack.callback(publishing.stop)
        board, found, moved_at, shown = Board(), list[Examples](), time.monotonic(), 0
        while True:
            moved = _read(reader, board, found)
            advance(publishing.published - shown)
            moved |= publishing.published > shown
            shown = publishing.published
            now = time.monotonic()
            if moved:
                moved_at = now
            if worker.poll() is not None:
                raise BrokenInvariant(f"the worker ended with exit code {worker.returncode}")
            if now - moved_at > (_QUIET_S if publishing.is_done(board) else _STALLED_S):
                break
        if not publishing.is_done(board):
            raise BrokenInvariant(f"nothing has moved for {_STALLED_S:.0f} s: {board.totals()}")
    return measure_examples(settings, found, events[-1].timestamp_ms)


class _Publishing:
    """The replay, in a thread of its own."""

    def __init__(self, settings: Settings, events: Sequence[Event], speed: float) -> None:
        self.published = 0
        self._summary: ReplaySummary | None = None
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, args=(settings, events, speed), name="replay", daemon=True)
        self._thread.start()

    def is_done(self, board: Board) -> bool:
        """Tells whether all was published, and all of it is applied and learned."""
        if self._summary is None:
            return False
        behind = sum(board.lag(source) for source in (CLICKSTREAM, RELATIONS, EXPERIENCES))
        return behind == 0 and board.totals()["applied"] == self._summary.produced - self._summary.undelivered

    def stop(self) -> None:
        self._stopping.set()
        self._thread.join()

    def _run(self, settings: Settings, events: Sequence[Event], speed: float) -> None:
        gate = LagGate(settings.kafka, group=settings.engine.app_id)
        with Publisher(settings.kafka, gate) as publisher:
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
    consumer = Consumer(
        {
            **client_configuration(settings.kafka),
            # Partitions are assigned by hand and nothing is committed: the group is a name only.
            "group.id": "headrace-evaluate",
            "enable.auto.commit": False,
            "fetch.wait.max.ms": 100,
            "log_level": 2,
        }
    )
    places = [TopicPartition(EXPERIENCES, number, OFFSET_BEGINNING) for number in range(len(settings.targets))]
    consumer.assign([TopicPartition(METRICS, 0, OFFSET_BEGINNING), *places])
    try:
        yield consumer
    finally:
        consumer.close()


def _read(reader: Consumer, board: Board, found: list[Examples]) -> bool:
    """Takes what has come; returns whether any examples have."""
    known = len(found)
    for record in reader.consume(1000, _POLL_S):
        if record.error() is not None:
            continue
        if record.topic() == METRICS:
            board.take(orjson.loads(record.value() or b""))
        else:
            found.append(read_examples(record.value()))
    return len(found) > known
