"""The engine with the smallest fold that keeps a row: JSON in, a row in RocksDB, a changelog, one JSON out per event.

What counts is the worker's own processor time, start-up taken off: a run with next to no work is measured, too. The
broker is the embedded one, in a process of its own.
"""

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import dropwhile
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final, NamedTuple

import msgspec
from confluent_kafka import KafkaException, Producer

from streams.contract.events import Event, encode_event
from streams.contract.settings import Kafka, Settings
from streams.contract.topics import CLICKSTREAM, USERS_CHANGELOG
from streams.engine.offsets import Offsets
from streams.ops.broker import EmbeddedBroker
from tests.engine.counting import Count
from tests.engine.running import Broker

ROOT: Final = Path(__file__).parents[1]
TOPICS: Final = {topic.name: topic.partitions for topic in Settings().topics}
PARTITIONS: Final = Settings().kafka.partitions
GROUP: Final = Settings().engine.app_id
USERS: Final = 20_000
TIMEOUT_S: Final = 900.0


class Usage(NamedTuple):
    """What a worker took from its start to its end."""

    cpu_s: float
    peak_rss_bytes: int


def measure_throughput(quick: bool) -> dict[str, Any]:
    """Folds a backlog that is there before the worker starts."""
    events = 20_000 if quick else 200_000
    start = idle_usage()
    with EmbeddedBroker(TOPICS) as broker:
        publish(broker, events)
        usage = run_worker(broker)
    cpu_s = usage.cpu_s - start.cpu_s
    return {
        "events": events,
        "events_per_core_s": round(events / cpu_s),
        "cpu_us_per_event": round(cpu_s / events * 1e6, 2),
        "start_up_cpu_s": round(start.cpu_s, 2),
    }


def measure_recovery(quick: bool) -> dict[str, Any]:
    """Reads a changelog of rows onto an empty disk."""
    rows = 20_000 if quick else 200_000
    start = idle_usage()
    with EmbeddedBroker(TOPICS) as broker:
        log_rows(broker, rows)
        publish(broker, PARTITIONS)
        usage = run_worker(broker)
    cpu_s = usage.cpu_s - start.cpu_s
    return {"rows": rows, "rows_per_core_s": round(rows / cpu_s), "cpu_us_per_row": round(cpu_s / rows * 1e6, 2)}


def measure_backlog(quick: bool) -> dict[str, Any]:
    """Takes the memory of a worker with a backlog far larger than its buffers; the broker holds the end of it."""
    published = 200_000 if quick else 2_000_000
    start = idle_usage()
    with EmbeddedBroker(TOPICS) as broker:
        publish(broker, published)
        with Offsets(Kafka(bootstrap_servers=broker.bootstrap_servers)) as offsets:
            held = sum(end - first for first, end in (offsets.coverage(CLICKSTREAM, n) for n in range(PARTITIONS)))
        usage = run_worker(broker)
    return {
        "published_events": published,
        "held_events": held,
        "peak_rss_mib": round(usage.peak_rss_bytes / 2**20),
        "idle_rss_mib": round(start.peak_rss_bytes / 2**20),
    }


def idle_usage() -> Usage:
    """Measures a worker that has one event in each partition."""
    with EmbeddedBroker(TOPICS) as broker:
        publish(broker, PARTITIONS)
        return run_worker(broker)


def publish(broker: Broker, events: int) -> None:
    with publisher(broker) as producer:
        for number in range(events):
            event = Event(
                event_id=f"e{number}",
                timestamp_ms=1_767_225_600_000 + number,
                kind="view",
                user_id=f"user-{number * 7919 % USERS}",
                item_id="x",
                price=1.5,
            )
            producer.produce(CLICKSTREAM, encode_event(event), event.user_id)
            if number % 1000 == 0:
                producer.poll(0)


def log_rows(broker: Broker, rows: int) -> None:
    with publisher(broker) as producer:
        for number in range(rows):
            row = msgspec.msgpack.encode(Count(guard=number, events=number))
            producer.produce(USERS_CHANGELOG, row, f"logged-{number}", partition=number % PARTITIONS)
            if number % 1000 == 0:
                producer.poll(0)


@contextmanager
def publisher(broker: Broker) -> Iterator[Producer]:
    producer = Producer(
        {
            "bootstrap.servers": broker.bootstrap_servers,
            "partitioner": "murmur2_random",
            "compression.type": "lz4",
            "linger.ms": 50,
            "batch.num.messages": Settings().engine.batch_records,
            "queue.buffering.max.messages": 0,
        }
    )
    yield producer
    producer.flush()


COUNTING: Final = (sys.executable, "-m", "tests.engine.counting")


def run_worker(
    broker: EmbeddedBroker,
    command: Sequence[str] = COUNTING,
    sources: Sequence[str] = (CLICKSTREAM,),
    until: Callable[[EmbeddedBroker, "subprocess.Popen[bytes]"], None] | None = None,
    engine: Mapping[str, int] = MappingProxyType({}),
) -> Usage:
    """Runs a worker on an empty disk until it has committed everything of its sources, or ``until`` returns.

    Args:
        engine: Settings of that section, other than the defaults.
    """
    with tempfile.TemporaryDirectory() as data_dir:
        environment = _environment(broker.bootstrap_servers, data_dir, engine)
        worker = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.DEVNULL)
        try:
            if until is None:
                wait_until_committed(broker, worker, sources)
            else:
                until(broker, worker)
            worker.send_signal(signal.SIGTERM)
            _, status, used = os.wait4(worker.pid, 0)
            worker.returncode = os.waitstatus_to_exitcode(status)
        finally:
            if worker.returncode is None:
                worker.kill()
                worker.wait()
    # The kernel counts in bytes on macOS, in KiB elsewhere.
    return Usage(used.ru_utime + used.ru_stime, used.ru_maxrss * (1 if sys.platform == "darwin" else 1024))


@contextmanager
def worker_of(
    servers: str, command: Sequence[str], stderr: int | None = None, **engine: object
) -> Iterator["subprocess.Popen[bytes]"]:
    """Has a worker on an empty disk meanwhile, and ends it in peace.

    Args:
        engine: Settings of that section, other than the defaults.
    """
    with tempfile.TemporaryDirectory() as data_dir:
        environment = _environment(servers, data_dir, engine)
        worker = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.DEVNULL, stderr=stderr)
        try:
            yield worker
            worker.send_signal(signal.SIGTERM)
            worker.wait(30.0)
        finally:
            if worker.poll() is None:
                worker.kill()
                worker.wait()


def _environment(servers: str, data_dir: str, engine: Mapping[str, object]) -> dict[str, str]:
    return {
        **os.environ,
        "KAFKA_BOOTSTRAP_SERVERS": servers,
        "HEADRACE_ENGINE__DATA_DIR": f'"{data_dir}"',
        "HEADRACE_ENGINE__APP_ID": GROUP,
        "PYTHONPATH": str(ROOT),
        **{f"HEADRACE_ENGINE__{key.upper()}": str(value) for key, value in engine.items()},
    }


def wait_until_committed(
    broker: Broker, worker: "subprocess.Popen[bytes]", sources: Sequence[str] = (CLICKSTREAM,)
) -> None:
    deadline_s = time.monotonic() + TIMEOUT_S
    kafka = Kafka(bootstrap_servers=broker.bootstrap_servers)
    with Offsets(kafka, group=GROUP) as offsets:
        # Sources in their order: what a fold sends to the next is there when it has committed.
        missing = [(source, number) for source in sources for number in range(offsets.partitions(source))]
        while missing:
            if worker.poll() is not None or time.monotonic() > deadline_s:
                raise RuntimeError(f"the worker has not committed {missing} (it ended with {worker.poll()})")
            time.sleep(0.2)
            missing = list(dropwhile(lambda each: is_committed(offsets, *each), missing))


def is_committed(offsets: Offsets, source: str, number: int) -> bool:
    """Says whether a group has committed all that a partition has."""
    try:
        return offsets.committed(source, number) >= offsets.coverage(source, number).end
    except KafkaException:
        return False  # The group has no coordinator before it has a member.
