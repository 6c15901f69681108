"""A broker with all topics, and the commands of Headrace run against it as a user runs them."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, NamedTuple

import orjson
from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, Message, Producer, TopicPartition

from streams.brokers.embedded import EmbeddedBroker
from streams.contract.events import Event, encode_event
from streams.contract.fold import PARTITION_KEY, PartitionRow, decode_partition_row
from streams.contract.partitioning import partition_of
from streams.contract.settings import Settings, load_settings
from streams.contract.topics import (
    CLICKSTREAM,
    EXAMPLES,
    ITEM_ROWS_CHANGELOG,
    ITEM_SIGNALS,
    LEARNERS_CHANGELOG,
    USERS_CHANGELOG,
)
from streams.engine.exit_codes import STALLED
from tests.engine.supervised import REFUSAL
from tests.timeouts import HANG_S, Deadline, scaled

ROOT: Final = Path(__file__).parents[2]
CHANGELOGS: Final = {
    CLICKSTREAM: USERS_CHANGELOG,
    ITEM_SIGNALS: ITEM_ROWS_CHANGELOG,
    EXAMPLES: LEARNERS_CHANGELOG,
}
_WATCHDOG: Final = "HEADRACE_ENGINE__WATCHDOG_S"
# Short, so that the group soon notices a kill; the embedded broker takes any.
QUICK: Final = {
    "HEADRACE_ENGINE__SESSION_TIMEOUT_S": str(scaled(2.0)),
    "HEADRACE_ENGINE__HEARTBEAT_INTERVAL_S": "0.3",
    "HEADRACE_ENGINE__COMMIT_INTERVAL_S": "0.1",
    _WATCHDOG: str(scaled(10.0)),
    "HEADRACE_ENGINE__TRANSACTION_TIMEOUT_S": str(scaled(15.0)),
    "HEADRACE_ENGINE__SHUTDOWN_TIMEOUT_S": str(scaled(15.0)),
    "HEADRACE_ENGINE__HOLD_MS": "50",
    # What is late and what is final is then what a plain loop over one partition says.
    "HEADRACE_TIME__CONFIRMING_USERS": "1",
}


class Record(NamedTuple):
    """A record as a reader sees it."""

    partition: int
    offset: int
    key: bytes | None
    value: bytes
    headers: dict[str, bytes]


class Reader:
    """Reads what is committed in one topic from its beginning, a bit further with each call."""

    def __init__(self, servers: str, topic: str, partitions: int) -> None:
        self._consumer = Consumer(
            {
                "bootstrap.servers": servers,
                "group.id": "reader",
                "enable.partition.eof": True,
                "fetch.wait.max.ms": 20,
                "log_level": 2,
            }
        )
        # Behind the last record there may be markers of transactions: it is told of its end, and of no record there.
        self._reached = dict.fromkeys(range(partitions), 0)
        self._places = [TopicPartition(topic, number, OFFSET_BEGINNING) for number in range(partitions)]
        self._consumer.assign(self._places)
        self.records: list[Record] = []

    def read(self) -> list[Record]:
        """Returns what there is and was not returned before."""
        ends = [self._consumer.get_watermark_offsets(place, HANG_S)[1] for place in self._places]
        begun = len(self.records)
        deadline = Deadline(lambda: f"{self._reached} of {ends}")
        while any(self._reached[number] < end for number, end in enumerate(ends)):
            deadline.check()
            for message in self._consumer.consume(5000, 0.1):
                if (error := message.error()) and error.code() == KafkaError._PARTITION_EOF:
                    self._reached[message.partition() or 0] = message.offset() or 0
                else:
                    self.records.append(_record(message))
                    self._reached[self.records[-1].partition] = self.records[-1].offset + 1
        return self.records[begun:]

    def close(self) -> None:
        self._consumer.close()


def _record(message: Message) -> Record:
    assert message.error() is None, message.error()
    partition, offset, key, headers = message.partition(), message.offset(), message.key(), message.headers()
    assert partition is not None
    assert offset is not None
    assert key is None or isinstance(key, bytes)
    return Record(partition, offset, key, message.value() or b"", dict(headers or []))  # type: ignore[arg-type]


class Worker:
    """One ``headrace worker``; what it says is in ``log``."""

    def __init__(self, data_dir: Path, folds: Sequence[str], environment: Mapping[str, str], program: str) -> None:
        self.data_dir = data_dir
        self.folds = folds
        self.log = data_dir.with_suffix(".log")
        chosen = [word for fold in folds for word in ("--fold", fold)]
        with self.log.open("ab") as log:
            self._log_begin = log.tell()
            self._process = subprocess.Popen(
                [sys.executable, "-m", program, "worker", "--data", str(data_dir), *chosen],
                cwd=ROOT,
                env=dict(environment),
                stdout=log,
                stderr=log,
            )

    @property
    def code(self) -> int | None:
        return self._process.poll()

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def is_refused(self) -> bool:
        """Says whether the embedded broker refused it for good, as :mod:`tests.engine.supervised` has it."""
        return REFUSAL in self.log.read_bytes()[self._log_begin :]

    def wait(self) -> int:
        return self._process.wait(HANG_S)

    def send(self, number: int) -> None:
        self._process.send_signal(number)

    def said(self) -> str:
        return self.log.read_text()

    def kill(self) -> None:
        if self.code is None:
            self._process.kill()
            self._process.wait()

    def stop(self) -> None:
        """Ends it in peace."""
        self.send(signal.SIGTERM)
        assert self.wait() == 0, self.said()


class Cluster:
    """A broker that has the topics, and what a user does with it.

    Args:
        folder: For data directories, one a disk.
        overrides: Settings as environment variables, for every command.
    """

    def __init__(self, servers: str, folder: Path, overrides: Mapping[str, str]) -> None:
        self.servers = servers
        self.folder = folder
        ours = ("HEADRACE_", "KAFKA_")
        outside = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
        self.environment = {**outside, **QUICK, **overrides, "KAFKA_BOOTSTRAP_SERVERS": self.servers}
        self.settings = load_settings(environment=self.environment)
        self.partitions = {topic.called: topic.partitions for topic in self.settings.topics}
        self._readers: dict[str, Reader] = {}
        self._workers: list[Worker] = []
        self._guards: dict[str, dict[int, PartitionRow]] = {source: {} for source in CHANGELOGS}
        self.produced = 0
        # Small message sets, since the broker hands out one of each partition at a time.
        self._producer = Producer(
            {"bootstrap.servers": self.servers, "batch.num.messages": 150, "linger.ms": 5, "log_level": 2}
        )

    def headrace(self, *arguments: str, code: int | None = 0) -> "subprocess.CompletedProcess[bytes]":
        """Runs a command to its end, piped; ``None`` takes any exit code."""
        done = subprocess.run(
            [sys.executable, "-m", "streams.cli.main", *arguments],
            cwd=ROOT,
            env=self.environment,
            capture_output=True,
            timeout=HANG_S,
            check=False,
        )
        assert code is None or done.returncode == code, (done.returncode, done.stdout, done.stderr.decode())
        return done

    def replay(self, file: Path, worker: Worker, *arguments: str) -> Worker:
        """Replays a file; returns the worker that then runs.

        A replay waits for the workers when they are too far behind, so one that stood still must be started again.
        """
        with ThreadPoolExecutor(1) as pool:
            replayed = pool.submit(self.headrace, "replay", str(file), "--format", "taobao", *arguments)
            deadline = Deadline(lambda: [each.said() for each in self._workers])
            while not replayed.done():
                deadline.check()
                worker = self.keep(worker)
                time.sleep(0.05)
        replayed.result()
        return worker

    def inspect(self, view: str, disk: str) -> list[dict[str, Any]]:
        """Rows of a worker that has ended."""
        lines = self.headrace("inspect", view, "--data", str(self.folder / disk)).stdout.splitlines()
        return [orjson.loads(line) for line in lines]

    def start(self, disk: str, *folds: str, program: str = "streams.cli.main", **environment: str) -> Worker:
        """Starts a worker; ``program`` may be a wrong version of the command line."""
        worker = Worker(self.folder / disk, folds, {**self.environment, **environment}, program)
        self._workers.append(worker)
        return worker

    def publish(self, events: Sequence[Event]) -> None:
        """Publishes events to their users' partitions, and ticks to all, in one message set or more."""
        for event in events:
            if event.user_id is None:
                for number in range(self.settings.kafka.partitions):
                    self.produce(encode_event(event), None, number)
            else:
                key = event.user_id.encode()
                self.produce(encode_event(event), key, partition_of(key, self.settings.kafka.partitions))
        self.flush()

    def produce(self, value: bytes | None, key: bytes | None, partition: int, topic: str = CLICKSTREAM) -> None:
        self._producer.produce(self.settings.names.topic(topic), value, key, partition)
        self.produced += topic == CLICKSTREAM

    def flush(self) -> None:
        assert self._producer.flush(HANG_S) == 0

    def records(self, topic: str) -> list[Record]:
        """All records of a topic, each partition in order."""
        self._reader(topic).read()
        return self._reader(topic).records

    def fresh(self, topic: str) -> list[Record]:
        """What came to a topic since it was last read."""
        return self._reader(topic).read()

    def rows_of_partitions(self, source: str) -> dict[int, PartitionRow]:
        """The newest logged row of each partition of a fold, by its source."""
        known = self._guards[source]
        for record in self.fresh(CHANGELOGS[source]):
            if record.key == PARTITION_KEY:
                known[record.partition] = decode_partition_row(record.value)
        return known

    def is_folded(self, source: str) -> bool:
        """Says whether the rows of a fold have seen all that there is of its source."""
        ends: dict[int, int] = {}
        for record in self.records(source):
            ends[record.partition] = record.offset
        rows = self.rows_of_partitions(source)
        return all(number in rows and rows[number].applied_offset >= last for number, last in ends.items())

    def settle(self, *workers: Worker, meanwhile: Callable[[], None] = lambda: None) -> list[Worker]:
        """Waits until all that was published is folded by all folds; returns the workers that then run.

        A worker that ended because it stood still is started again, as a supervisor would.
        """
        running = list(workers)
        deadline = Deadline(lambda: [each.said() for each in running])
        for source in CHANGELOGS:
            # Behaviour is through by the time that the others' sources are asked for their ends.
            while not self.is_folded(source):
                deadline.check()
                running = [self.keep(worker) for worker in running]
                meanwhile()
                time.sleep(0.05)
        return running

    def until_killed(
        self, disk: str, crash_after: str, meanwhile: Callable[[], None] = lambda: None, folds: Sequence[str] = ()
    ) -> None:
        """Runs a worker that ends itself after a step."""
        while True:
            worker = self.start(disk, *folds, HEADRACE_CRASH_AFTER=crash_after)
            deadline = Deadline(worker.said)
            while worker.code is None and not worker.is_refused:
                deadline.check()
                meanwhile()
                time.sleep(0.05)
            if worker.code not in (None, STALLED):
                assert worker.code == -signal.SIGKILL, worker.said()
                return
            worker.kill()
            self.be_more_patient()

    def keep(self, worker: Worker) -> Worker:
        """Returns the worker, or another on its disk if it ended because it stood still, or would."""
        if worker.code == STALLED and not worker.is_refused:
            self.be_more_patient()
        if worker.code == STALLED or worker.is_refused:
            worker.kill()
            return self.start(worker.data_dir.name, *worker.folds)
        assert worker.code is None, worker.said()
        return worker

    def be_more_patient(self) -> None:
        """Has the watchdog wait longer: a worker that stood still may only have been too slow for it."""
        self.environment[_WATCHDOG] = str(1.5 * float(self.environment[_WATCHDOG]))

    def close(self) -> None:
        for worker in self._workers:
            worker.kill()
        for reader in self._readers.values():
            reader.close()

    def _reader(self, topic: str) -> Reader:
        if topic not in self._readers:
            self._readers[topic] = Reader(self.servers, self.settings.names.topic(topic), self.partitions[topic])
        return self._readers[topic]


class EmbeddedCluster(Cluster):
    """One whose broker takes orders."""

    def __init__(self, broker: EmbeddedBroker, folder: Path, overrides: Mapping[str, str]) -> None:
        super().__init__(broker.bootstrap_servers, folder, overrides)
        self.broker = broker


@contextmanager
def cluster(folder: Path, **overrides: str) -> Iterator[EmbeddedCluster]:
    """A cluster of its own; nothing of it is left running."""
    settings: Settings = load_settings(environment=overrides)
    with EmbeddedBroker({topic.name: topic.partitions for topic in settings.topics}) as broker:
        made = EmbeddedCluster(broker, folder, overrides)
        try:
            yield made
        finally:
            made.close()
