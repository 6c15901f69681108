"""Real workers on the embedded broker: start, kill, supervise; and a count of the same events by plain Python."""

import os
import random
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Final, NamedTuple, Protocol, cast

import orjson
from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, Producer, TopicPartition
from rocksdict import AccessType, Options, Rdict

from streams.admin.inspection import find_tables, scan_tables
from streams.brokers.embedded import EmbeddedBroker
from streams.contract.events import Event, encode_event
from streams.contract.fold import PARTITION_KEY, PartitionRow, decode_partition_row
from streams.contract.names import names_of
from streams.contract.partitioning import partition_of
from streams.contract.settings import Kafka, Settings
from streams.contract.topics import CLICKSTREAM, PREDICTIONS, topics
from streams.engine.exit_codes import STALLED
from streams.engine.offsets import Offsets
from tests.engine.counting import Count, CountingFold
from tests.timeouts import HANG_S, Deadline, scaled, wait_until

ROOT: Final = Path(__file__).parents[2]
REFUSAL: Final = b"Unexpected error from SyncGroup: [Error 42]"
PARTITIONS: Final = Settings().kafka.partitions
# Short, so that the group soon notices a kill; the embedded broker takes any.
QUICK: Final = {
    "ENGINE__SESSION_TIMEOUT_S": str(scaled(2.0)),
    "ENGINE__HEARTBEAT_INTERVAL_S": "0.3",
    "ENGINE__BATCH_RECORDS": "100",
    "ENGINE__COMMIT_INTERVAL_S": "0.1",
    "ENGINE__WATCHDOG_S": str(scaled(8.0)),
    "ENGINE__TRANSACTION_TIMEOUT_S": str(scaled(15.0)),
    "ENGINE__SHUTDOWN_TIMEOUT_S": str(scaled(15.0)),
}


class Broker(Protocol):
    """Whatever kind of broker."""

    @property
    def bootstrap_servers(self) -> str: ...


class Shop:
    """Publishes events and remembers them all."""

    def __init__(self, broker: Broker, partitions: int) -> None:
        self.events: list[list[Event | None]] = [[] for _ in range(partitions)]
        self._random = random.Random(0)
        # Small message sets, since the broker hands out one of each partition at a time.
        self._producer = Producer(
            {
                "bootstrap.servers": broker.bootstrap_servers,
                "partitioner": "murmur2_random",
                "batch.num.messages": 150,
                "queue.buffering.max.messages": 1_000_000,
                "log_level": 2,
            }
        )

    def publish(self, events: int, users: int = 500) -> None:
        for _ in range(events):
            user = f"user-{self._random.randrange(users)}"
            event = Event(
                event_id="e", timestamp_ms=10**12, kind="view", user_id=user, item_id="i", price=self._random.random()
            )
            number = partition_of(user.encode(), len(self.events))
            self.events[number].append(event)
            self._producer.produce(CLICKSTREAM, encode_event(event), user, partition=number)
        assert self._producer.flush(HANG_S) == 0

    def publish_raw(self, value: bytes, number: int = 0) -> None:
        self.events[number].append(None)
        self._producer.produce(CLICKSTREAM, value, "raw", partition=number)
        assert self._producer.flush(HANG_S) == 0

    def refs(self) -> set[str]:
        """Names the events that must have an output."""
        return {
            f"{CLICKSTREAM}-{number}-{offset}"
            for number, events in enumerate(self.events)
            for offset, event in enumerate(events)
            if event is not None
        }

    def counts(self) -> dict[bytes, Count]:
        """Counts as the fold should."""
        fold = CountingFold()
        rows: dict[bytes, Count] = {}
        for events in self.events:
            for offset, event in enumerate(events):
                if event is not None:
                    fold.apply(rows.setdefault(fold.key(event), Count()), offset, event)
        return rows


class Reader:
    """Reads one topic from its beginning, and remembers what came."""

    def __init__(self, broker: Broker, topic: str, partitions: int = PARTITIONS) -> None:
        self._consumer = Consumer(
            {
                "bootstrap.servers": broker.bootstrap_servers,
                "group.id": "reader",
                "enable.partition.eof": True,
                "fetch.wait.max.ms": 20,
                "log_level": 2,
            }
        )
        self._places = [TopicPartition(topic, number, OFFSET_BEGINNING) for number in range(partitions)]
        self._reached = dict.fromkeys(range(partitions), 0)
        self._consumer.assign(self._places)
        self.values: list[bytes] = []
        self.headers: list[dict[str, bytes]] = []

    def read(self, timeout_s: float = 0.1) -> None:
        for message in self._consumer.consume(5000, timeout_s):
            if error := message.error():
                # Behind the last record there may be markers of transactions: the end is told by itself.
                assert error.code() == KafkaError._PARTITION_EOF, error
                self._reached[message.partition() or 0] = message.offset() or 0
                continue
            self.values.append(message.value() or b"")
            self.headers.append(dict(message.headers() or []))  # type: ignore[arg-type]

    def read_to_end(self) -> None:
        """Reads all that there is now."""
        ends = [self._consumer.get_watermark_offsets(place, HANG_S)[1] for place in self._places]
        deadline = Deadline(lambda: f"{self._reached} of {ends}")
        while any(self._reached[number] < end for number, end in enumerate(ends)):
            deadline.check()
            self.read()

    def refs(self) -> set[str]:
        return {orjson.loads(value)["event_ref"] for value in self.values}

    def close(self) -> None:
        self._consumer.close()


class Process:
    """One worker process; what it says on standard error is in ``log``."""

    def __init__(
        self,
        servers: str,
        data_dir: Path,
        crash_after: str,
        mutant: str,
        settings: Mapping[str, str],
    ) -> None:
        self.data_dir = data_dir
        self.log = data_dir.with_suffix(".log")
        environment = {
            **os.environ,
            "KAFKA_BOOTSTRAP_SERVERS": servers,
            "HEADRACE_ENGINE__DATA_DIR": f'"{data_dir}"',
            **{f"HEADRACE_{name}": value for name, value in settings.items()},
            "MUTANT": mutant,
        }
        if crash_after:
            environment["HEADRACE_CRASH_AFTER"] = f"{CLICKSTREAM}:{crash_after}"
        with self.log.open("ab") as log:
            self._log_begin = log.tell()
            self._process = subprocess.Popen(
                [sys.executable, "-m", "tests.engine.counting"], cwd=ROOT, env=environment, stdout=log, stderr=log
            )

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def code(self) -> int | None:
        return self._process.poll()

    @property
    def is_refused(self) -> bool:
        """Says whether the embedded broker refused it, as it does with a member that is slower than the leader.

        Such a member idles until its watchdog ends it.
        """
        return REFUSAL in self.log.read_bytes()[self._log_begin :]

    def wait(self) -> int:
        return self._process.wait(HANG_S)

    def send(self, number: int) -> None:
        self._process.send_signal(number)

    def told(self, words: str) -> int:
        """Counts the lines of its log with these words; it tells of incidents if LOGLEVEL is ``info``."""
        return sum(words in line for line in self.log.read_text().splitlines())

    def until_told(self, words: str, before: int = 0) -> str:
        """Waits until there is one more such line than ``before``, and returns the last."""

        def is_told() -> bool:
            if self.told(words) > before:
                return True
            assert self.code is None, self.log.read_text()[-3000:]
            return False

        wait_until(is_told, lambda: self.log.read_text()[-3000:])
        return [line for line in self.log.read_text().splitlines() if words in line][-1]

    def kill(self) -> None:
        if self.code is None:
            self._process.kill()
            self._process.wait()


class Supervisor:
    """Starts workers, starts those again that end because they stand still, and leaves none behind."""

    def __init__(self, broker: Broker, folder: Path, settings: Mapping[str, str]) -> None:
        self._settings = {**QUICK, **settings}
        self._servers = broker.bootstrap_servers
        self._folder = folder
        self._processes: list[Process] = []
        engine, kafka = Settings().engine, Settings().kafka
        app_id, prefix = (
            settings.get("ENGINE__APP_ID", engine.app_id),
            settings.get("KAFKA__TOPIC_PREFIX", kafka.topic_prefix),
        )
        self._group = names_of(app_id, prefix).group()

    @property
    def patience_s(self) -> float:
        """The watchdog's, of workers that are started now."""
        return float(self._settings["ENGINE__WATCHDOG_S"])

    def start(self, disk: str, crash_after: str = "", mutant: str = "", **settings: str) -> Process:
        process = Process(self._servers, self._folder / disk, crash_after, mutant, {**self._settings, **settings})
        self._processes.append(process)
        return process

    def run_until_killed(self, disk: str, crash_after: str, mutant: str = "") -> None:
        """Runs a worker that ends itself after a step."""
        while (code := self.start(disk, crash_after, mutant).wait()) == STALLED:
            self.be_more_patient()
        assert code == -signal.SIGKILL, f"{code}: {self._folder.joinpath(disk).with_suffix('.log').read_text()}"

    def run_to_the_end(self, disk: str, reader: Reader, refs: set[str]) -> None:
        """Runs a worker until every output is there, and ends it in peace."""
        process = self.wait_for_outputs(self.start(disk), reader, refs)
        process.send(signal.SIGTERM)
        assert process.wait() == 0, process.log.read_text()

    def keep(self, process: Process) -> Process:
        """Returns the worker, or another on its disk if it ended because it stood still, or would."""
        if process.code == STALLED and not process.is_refused:
            self.be_more_patient()
        if process.code == STALLED or process.is_refused:
            process.kill()
            process = self.start(process.data_dir.name)
        assert process.code is None, process.log.read_text()
        return process

    def wait_for_outputs(self, process: Process, reader: Reader, refs: set[str]) -> Process:
        missing = refs - reader.refs()
        deadline = Deadline(lambda: f"{len(missing)} outputs are missing, {sorted(missing)[:3]}")
        while missing:
            process = self.keep(process)
            deadline.check()
            begun = len(reader.values)
            reader.read()
            missing -= {orjson.loads(value)["event_ref"] for value in reader.values[begun:]}
        return process

    def lost_outputs(self, process: Process, reader: Reader, refs: set[str]) -> set[str]:
        """Waits until the group has committed all events, and returns those that have no output then."""
        with Offsets(Settings(kafka=Kafka(bootstrap_servers=self._servers)), self._group, HANG_S) as offsets:

            def lag() -> list[int]:
                return [
                    offsets.coverage(CLICKSTREAM, number).end - offsets.committed(CLICKSTREAM, number)
                    for number in range(offsets.partitions(CLICKSTREAM))
                ]

            deadline = Deadline(lag)
            while any(lag()):
                deadline.check()
                process = self.keep(process)
                time.sleep(0.1)
        reader.read_to_end()
        return refs - reader.refs()

    def be_more_patient(self) -> None:
        """Has the watchdog wait longer: a worker that stood still may only have been too slow for it."""
        self._settings["ENGINE__WATCHDOG_S"] = str(1.5 * self.patience_s)

    def close(self) -> None:
        for process in self._processes:
            process.kill()


class Running(NamedTuple):
    """A broker, a shop that publishes to it, someone to run workers, and a reader of what they put out."""

    broker: EmbeddedBroker
    shop: Shop
    supervisor: Supervisor
    reader: Reader


@contextmanager
def running(folder: Path, partitions: int = PARTITIONS, **settings: str) -> Iterator[Running]:
    """Starts a broker with what goes with it, and leaves nothing behind.

    Args:
        settings: Of all workers, as the environment names them.
    """
    settings["KAFKA__PARTITIONS"] = str(partitions)
    with EmbeddedBroker({topic.name: topic.partitions for topic in topics(partitions, 1)}) as broker:
        supervisor, reader = Supervisor(broker, folder, settings), Reader(broker, PREDICTIONS, partitions)
        try:
            yield Running(broker, Shop(broker, partitions), supervisor, reader)
        finally:
            supervisor.close()
            reader.close()


def exported(said: str) -> dict[str, str]:
    """Reads the variables that the command in a refusal sets."""
    command = said.partition(": export ")[2].partition(" && headrace topics create && headrace worker;")[0]
    return dict(word.split("=", 1) for word in shlex.split(command))


def stored_rows(data_dir: Path) -> dict[bytes, Count]:
    """Reads the rows from the disk of a worker that has ended."""
    decode = CountingFold().decode_row
    return {key: decode(value) for _, key, value in scan_tables(data_dir, "users")}


def stored_partition_rows(data_dir: Path) -> dict[int, PartitionRow]:
    """Reads the partitions' rows from there."""
    rows = {}
    for number, path in find_tables(data_dir, "users").items():
        database = Rdict(str(path), options=Options(raw_mode=True), access_type=AccessType.read_only(False))
        rows[number] = decode_partition_row(cast(bytes, database[PARTITION_KEY]))
        database.close()
    return rows
