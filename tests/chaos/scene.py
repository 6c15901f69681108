"""Workers of the counting fold under load, on either kind of broker, and how long a fault keeps their users waiting."""

import json
import random
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from confluent_kafka import Consumer, KafkaException, Producer, TopicPartition

from streams.brokers.embedded import EmbeddedBroker
from streams.contract.settings import Settings
from streams.contract.topics import topics
from tests.broker.fresh import make_topics_anew
from tests.broker.on_kafka import Address
from tests.chaos.oracle import committed_offsets
from tests.engine.supervised import PARTITIONS, Process, Supervisor
from tests.timeouts import HANG_S, Deadline, scaled

LOAD_USERS: Final = 2000
EMBEDDED: Final = {"ENGINE__SESSION_TIMEOUT_S": str(scaled(10.0)), "ENGINE__WATCHDOG_S": str(scaled(20.0))}
"""Patient enough for such a burst, and for round trips of 400 ms."""
EMBEDDED_PAUSE_S: Final = 0.2
"""Between small portions: that broker hands out one message set of a partition at a time, however small."""
QUIET_S: Final = scaled(2.0)
"""Without any output: whoever was paused or replaced has woken up by then, and writes what it should not."""


class Scene:
    """A broker with its topics, workers that are started again when they end, and someone who publishes and watches.

    Args:
        settings: Of all workers, as the environment names them.
        pause_s: Between the small portions that are published meanwhile.
    """

    def __init__(
        self,
        servers: str,
        folder: Path,
        workers: int,
        settings: Mapping[str, str],
        seed: int,
        pause_s: float = 0.0,
    ) -> None:
        self.servers = servers
        self.folder = folder
        self.draw = random.Random(seed)
        self.published = 0
        self.codes: list[int] = []
        self._address = Address(servers)
        self._supervisor = Supervisor(self._address, folder, settings)
        self._count = workers
        self._pause_s = pause_s
        self.workers: list[Process] = []
        self._producer = Producer(
            {"bootstrap.servers": servers, "partitioner": "murmur2_random", "linger.ms": 5, "log_level": 2}
        )
        self._watcher = Consumer({"bootstrap.servers": servers, "group.id": "watcher", "log_level": 2})
        self._watcher.assign([TopicPartition("predictions", number, 0) for number in range(PARTITIONS)])
        self._answered = dict.fromkeys(range(PARTITIONS), -1)

    def start(self) -> None:
        """Starts the workers, and waits until they work."""
        self.workers = [self.start_worker(f"disk-{number}") for number in range(self._count)]
        self.publish(200)
        self.until_recovered()

    def start_worker(self, disk: str, mishap: str = "") -> Process:
        return self._supervisor.start(disk, mutant=mishap, ENGINE__INSTANCE_ID="")

    def publish(self, events: int) -> None:
        """Publishes events of random users; all are acknowledged when it returns."""
        for _ in range(events):
            user = f"user-{self.draw.randrange(LOAD_USERS)}"
            self.published += 1
            event = {
                "event_id": f"e{self.published}",
                "user_id": user,
                "timestamp_ms": 1_736_121_600_000,
                "kind": "view",
                "item_id": "i",
                "price": self.draw.randrange(10_000) / 100,
            }
            self.publish_raw(json.dumps(event).encode(), user)
        assert self._producer.flush(HANG_S) == 0

    def publish_raw(self, value: bytes, user: str) -> None:
        while True:
            try:
                self._producer.produce("clickstream", value, user)
            except BufferError:
                self._producer.poll(0.1)
            else:
                return

    def until_recovered(self) -> float:
        """Goes on publishing until each partition answers what was published after now; returns how long that took."""
        begun_s = time.monotonic()
        targets = {number: self._end(number) for number in range(PARTITIONS)}
        deadline = Deadline(lambda: (self._answered, targets, self._said()))
        while any(self._answered[number] < target for number, target in targets.items()):
            deadline.check()
            self.supervise()
            self.publish(20)
            self._watch()
            time.sleep(self._pause_s)
        return time.monotonic() - begun_s

    def until_quiet(self) -> None:
        """Waits until nothing is left to fold, and nothing comes any more."""
        ends = {number: self._end(number) for number in range(PARTITIONS)}
        quiet_since_s = time.monotonic()
        deadline = Deadline(lambda: (self._answered, ends, self._said()))
        while time.monotonic() - quiet_since_s < QUIET_S or not self._is_committed(ends):
            deadline.check()
            self.supervise()
            if self._watch():
                quiet_since_s = time.monotonic()

    def supervise(self) -> None:
        """Starts those workers again that have ended."""
        for place, worker in enumerate(self.workers):
            if worker.code is not None:
                self.codes.append(worker.code)
                self.workers[place] = self.start_worker(worker.data_dir.name)

    def close(self) -> None:
        self._supervisor.close()
        self._watcher.close()

    def _is_committed(self, ends: Mapping[int, int]) -> bool:
        committed = committed_offsets(self.servers, Settings().engine.app_id)
        return all(committed[number] >= end for number, end in ends.items())

    def _watch(self) -> int:
        messages = self._watcher.consume(20_000, 0.05)
        for message in messages:
            if message.error() is None:
                _, number, offset = json.loads(message.value() or b"")["event_ref"].rsplit("-", 2)
                self._answered[int(number)] = max(self._answered[int(number)], int(offset))
        return len(messages)

    def _end(self, number: int) -> int:
        deadline = Deadline()
        while True:
            deadline.check()
            try:
                return self._watcher.get_watermark_offsets(TopicPartition("clickstream", number), 30.0)[1]
            except KafkaException:
                continue  # A broker that is just back leads nothing yet.

    def _said(self) -> list[str]:
        return [worker.log.read_text()[-500:] for worker in self.workers]


@contextmanager
def scene(
    servers: str, folder: Path, workers: int = 2, replication: int = 1, seed: int = 0, **settings: str
) -> Iterator[Scene]:
    """Makes the topics anew, starts the workers, and leaves nothing running."""
    make_topics_anew(servers, topics(PARTITIONS, 1), replication)
    with _played(Scene(servers, folder, workers, settings, seed)) as made:
        yield made


@contextmanager
def embedded_scene(folder: Path, seed: int = 0) -> Iterator[tuple[Scene, EmbeddedBroker]]:
    """The same on a broker that takes orders; it cannot judge transactions, so outputs come at least once.

    There is one worker: of two that join at once this broker now and then refuses one for good.
    """
    with (
        EmbeddedBroker({topic.name: topic.partitions for topic in topics(PARTITIONS, 1)}) as broker,
        _played(
            Scene(broker.bootstrap_servers, folder, 1, EMBEDDED, seed, EMBEDDED_PAUSE_S),
        ) as made,
    ):
        yield made, broker


@contextmanager
def _played(made: Scene) -> Iterator[Scene]:
    made.folder.mkdir(parents=True, exist_ok=True)
    try:
        made.start()
        yield made
    finally:
        made.close()


Fault = Callable[[Scene], None]
