"""Workers of the counting fold under load, on either kind of broker, and how long a fault keeps their users waiting."""

import json
import random
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from confluent_kafka import Consumer, KafkaException, Producer, TopicPartition

from streams.contract.topics import topics
from streams.ops.broker import EmbeddedBroker
from tests.broker.fresh import make_topics_anew
from tests.broker.running import Address
from tests.engine.running import PARTITIONS, Process, Supervisor

LOAD_USERS: Final = 2000
RECOVERY_S: Final = 300.0
"""A burst of a dozen refusals takes a rebalance of a second or more for each, and perhaps several whole starts."""
EMBEDDED: Final = {"ENGINE__SESSION_TIMEOUT_S": "10.0", "ENGINE__WATCHDOG_S": "20.0"}
"""Patient enough for such a burst, and for round trips of 400 ms."""
EMBEDDED_PAUSE_S: Final = 0.2
"""Between small portions: that broker hands out one message set of a partition at a time, however small."""
QUIET_S: Final = 2.0


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
                "timestamp_ms": 0,
                "kind": "view",
                "item_id": "i",
                "price": self.draw.randrange(10_000) / 100,
            }
            self.publish_raw(json.dumps(event).encode(), user)
        assert self._producer.flush(60.0) == 0

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
        while any(self._answered[number] < target for number, target in targets.items()):
            assert time.monotonic() - begun_s < RECOVERY_S, f"no recovery: {self._answered}, {targets}: {self._said()}"
            self.supervise()
            self.publish(20)
            self._watch()
            time.sleep(self._pause_s)
        return time.monotonic() - begun_s

    def until_quiet(self) -> None:
        """Waits until nothing is left to fold, and nothing comes any more."""
        targets = {number: self._end(number) - 1 for number in range(PARTITIONS)}
        begun_s = quiet_since_s = time.monotonic()
        while time.monotonic() - quiet_since_s < QUIET_S:
            assert time.monotonic() - begun_s < RECOVERY_S * 2, f"{self._answered}, {targets}: {self._said()}"
            self.supervise()
            if self._watch() or any(self._answered[number] < target for number, target in targets.items()):
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

    def _watch(self) -> int:
        messages = self._watcher.consume(20_000, 0.05)
        for message in messages:
            if message.error() is None:
                _, number, offset = json.loads(message.value() or b"")["event_ref"].rsplit("-", 2)
                self._answered[int(number)] = max(self._answered[int(number)], int(offset))
        return len(messages)

    def _end(self, number: int) -> int:
        deadline_s = time.monotonic() + RECOVERY_S
        while True:
            try:
                return self._watcher.get_watermark_offsets(TopicPartition("clickstream", number), 30.0)[1]
            except KafkaException:
                # A broker that is just back leads nothing yet.
                if time.monotonic() > deadline_s:
                    raise

    def _said(self) -> list[str]:
        return [worker.log.read_text()[-500:] for worker in self.workers]


@contextmanager
def scene(
    servers: str, folder: Path, workers: int = 2, replication: int = 1, seed: int = 0, **settings: str
) -> Iterator[Scene]:
    """Makes the topics anew, starts the workers, and leaves nothing running."""
    make_topics_anew(servers, topics(PARTITIONS, ["learner"]), replication)
    with _played(Scene(servers, folder, workers, settings, seed)) as made:
        yield made


@contextmanager
def embedded_scene(folder: Path, seed: int = 0) -> Iterator[tuple[Scene, EmbeddedBroker]]:
    """The same on a broker that takes orders; it cannot judge transactions, so outputs come at least once.

    There is one worker: of two that join at once this broker now and then refuses one for good.
    """
    with (
        EmbeddedBroker({topic.name: topic.partitions for topic in topics(PARTITIONS, ["learner"])}) as broker,
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
