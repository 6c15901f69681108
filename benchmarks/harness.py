"""Runs worker processes for benchmarks: a backlog, a worker on an empty disk, what it used.

A worker's processor time is its own, native threads included; broker and publisher are other processes.
"""

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import dropwhile
from pathlib import Path
from typing import Final, NamedTuple

from confluent_kafka import KafkaException, Producer

from streams.brokers.embedded import EmbeddedBroker
from streams.contract import topics
from streams.contract.settings import Kafka, Settings
from streams.engine.offsets import Offsets

ROOT: Final = Path(__file__).parents[1]
TOPICS: Final = {topic.name: topic.partitions for topic in Settings().topics}
PARTITIONS: Final = Settings().kafka.partitions
GROUP: Final = Settings().engine.app_id
TIMEOUT_S: Final = 900.0

COUNTING: Final = (sys.executable, "-m", "benchmarks.counting")
"""A worker with the smallest fold, which reads the clickstream."""
WORKER: Final = (sys.executable, "-m", "streams.cli.main", "worker")
"""A worker with all folds."""
SOURCES: Final = tuple(topics.SOURCES.values())
"""Topics that a worker with all folds reads."""

Worker = subprocess.Popen[bytes]
Until = Callable[[str, Worker], None]
"""Waits, by the broker's address, until a worker has done its work; raises if the worker ends before."""


class Usage(NamedTuple):
    """Resources that a worker used from its start to its end."""

    cpu_s: float
    peak_rss_bytes: int


class Message(NamedTuple):
    """A record to publish. Without a partition the key says where it goes."""

    topic: str
    value: bytes
    key: str
    partition: int = -1


def publish(servers: str, messages: Iterable[Message]) -> None:
    """Publishes messages and waits until the broker has them all."""
    producer = Producer(
        {
            "bootstrap.servers": servers,
            "partitioner": "murmur2_random",
            "compression.type": "lz4",
            "linger.ms": 50,
            "batch.num.messages": Settings().engine.batch_records,
            "queue.buffering.max.messages": 0,
        }
    )
    for number, message in enumerate(messages):
        producer.produce(message.topic, message.value, message.key, message.partition)
        if number % 1000 == 0:
            producer.poll(0)
    producer.flush()


def run_worker(
    backlog: Iterable[Message],
    command: Sequence[str],
    until: Until,
    *,
    topics: Mapping[str, int] = TOPICS,
    look: Callable[[str], object] = lambda servers: None,
) -> Usage:
    """Publishes a backlog to an embedded broker of its own, and runs a worker until ``until`` returns.

    Args:
        look: Called with the broker's address at the end.
    """
    with EmbeddedBroker(topics) as broker:
        servers = broker.bootstrap_servers
        publish(servers, backlog)
        with running_worker(servers, command) as worker:
            until(servers, worker)
            usage = stop(worker)
        look(servers)
    return usage


@contextmanager
def running_worker(servers: str, command: Sequence[str], **engine: object) -> Iterator[Worker]:
    """Starts a worker on an empty disk, and stops it at the end.

    Args:
        engine: Settings of that section, other than the defaults.
    """
    with tempfile.TemporaryDirectory() as data_dir:
        environment = {
            **os.environ,
            "KAFKA_BOOTSTRAP_SERVERS": servers,
            "HEADRACE_ENGINE__DATA_DIR": f'"{data_dir}"',
            "HEADRACE_ENGINE__APP_ID": GROUP,
            "PYTHONPATH": str(ROOT),
            **{f"HEADRACE_ENGINE__{key.upper()}": str(value) for key, value in engine.items()},
        }
        worker = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.DEVNULL)
        try:
            yield worker
            if worker.poll() is None:
                stop(worker)
        finally:
            if worker.poll() is None:
                worker.kill()
                worker.wait()


def stop(worker: Worker) -> Usage:
    """Ends a worker by SIGTERM and returns what it used."""
    worker.send_signal(signal.SIGTERM)
    _, status, used = os.wait4(worker.pid, 0)
    worker.returncode = os.waitstatus_to_exitcode(status)
    # The kernel counts in bytes on macOS, in KiB elsewhere.
    return Usage(used.ru_utime + used.ru_stime, used.ru_maxrss * (1 if sys.platform == "darwin" else 1024))


def until_committed(*sources: str) -> Until:
    """Waits until the group has committed all that the broker has of these topics, one topic after the other."""

    def wait(servers: str, worker: Worker) -> None:
        with Offsets(Settings(kafka=Kafka(bootstrap_servers=servers)), group=GROUP) as offsets:
            missing = [(source, number) for source in sources for number in range(offsets.partitions(source))]
            for _ in polls(worker, f"committed all of {', '.join(sources)}"):
                missing = list(dropwhile(lambda each: _is_committed(offsets, *each), missing))
                if not missing:
                    return

    return wait


def polls(worker: Worker, aim: str) -> Iterator[None]:
    """Yields five times a second.

    Raises:
        RuntimeError: The worker ended, or the time for it is over. ``aim`` says in the message what it has not done.
    """
    deadline_s = time.monotonic() + TIMEOUT_S
    while True:
        if worker.poll() is not None:
            raise RuntimeError(f"the worker has not {aim}: it ended with {worker.poll()}")
        if time.monotonic() > deadline_s:
            raise RuntimeError(f"the worker has not {aim} within {TIMEOUT_S:.0f} s")
        yield
        time.sleep(0.2)


def _is_committed(offsets: Offsets, source: str, number: int) -> bool:
    try:
        return offsets.committed(source, number) >= offsets.coverage(source, number).end
    except KafkaException:
        return False  # The group has no coordinator before it has a member.
