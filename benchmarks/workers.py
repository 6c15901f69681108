"""Two workers beside one: the whole pipeline over one backlog, on the embedded broker and on Apache Kafka.

Workers and broker share this machine, so its cores bound what two workers can gain: what a second one costs by itself
is in the processor time of an event. It reads that of other processes from /proc, which only Linux has.
"""

import os
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path
from typing import Any, Final, NamedTuple

from benchmarks import engine, pipeline
from benchmarks.shop import Shop
from streams.contract.events import encode_event
from streams.contract.settings import Kafka, Settings
from streams.contract.topics import CLICKSTREAM, EXPERIENCES, RELATIONS
from streams.engine.offsets import Offsets
from streams.ops.apache import ApacheKafka
from streams.ops.broker import EmbeddedBroker
from tests.broker.fresh import make_topics_anew

SOURCES: Final = (CLICKSTREAM, RELATIONS, EXPERIENCES)
WARM_UP: Final = 5_000
SETTLED_S: Final = 5.0
TIMEOUT_S: Final = 300.0
_TICK_S: Final = 1.0 / os.sysconf("SC_CLK_TCK")


class Broker(NamedTuple):
    bootstrap_servers: str
    pid: int


class Run(NamedTuple):
    """What a backlog took.

    Attributes:
        wall_s: From its publication to its last commit.
        workers_cpu_s: Of all workers together.
    """

    wall_s: float
    workers_cpu_s: float
    broker_cpu_s: float


def measure_workers(quick: bool) -> dict[str, Any]:
    """Runs one worker and two, in turn, and compares the medians."""
    events, rounds = (10_000, 1) if quick else (60_000, 3)
    brokers: dict[str, Callable[[], AbstractContextManager[Broker]]] = {"embedded": _embedded, "apache": _apache}
    return {name: _compare(start, events, rounds) for name, start in brokers.items()}


def _compare(start: Callable[[], AbstractContextManager[Broker]], events: int, rounds: int) -> dict[str, Any]:
    runs: dict[int, list[Run]] = {1: [], 2: []}
    for _ in range(rounds):
        for workers, each in runs.items():
            with start() as broker:
                each.append(_run(broker, workers, events))
    found: dict[str, Any] = {}
    for workers, each in runs.items():
        run = sorted(each)[len(each) // 2]
        found[f"{workers}_workers"] = {
            "events_per_wall_s": round(events / run.wall_s),
            "workers_cpu_us_per_event": round(run.workers_cpu_s / events * 1e6, 1),
            "broker_cpu_us_per_event": round(run.broker_cpu_s / events * 1e6, 1),
            "busy_cores": round((run.workers_cpu_s + run.broker_cpu_s) / run.wall_s, 2),
        }
    one, two = found["1_workers"], found["2_workers"]
    found["two_to_one_by_wall"] = round(two["events_per_wall_s"] / one["events_per_wall_s"], 2)
    found["two_to_one_with_cores_to_spare"] = round(
        2 * one["workers_cpu_us_per_event"] / two["workers_cpu_us_per_event"], 2
    )
    return found


@contextmanager
def _embedded() -> Iterator[Broker]:
    with EmbeddedBroker(engine.TOPICS) as broker:
        yield Broker(broker.bootstrap_servers, broker.pid)


@contextmanager
def _apache() -> Iterator[Broker]:
    with ApacheKafka() as kafka:
        make_topics_anew(kafka.bootstrap_servers, Settings().topics)
        yield Broker(kafka.bootstrap_servers, kafka.pid())


def _run(broker: Broker, workers: int, events: int) -> Run:
    backlog = [(encode_event(event), event.user_id) for event in Shop().events(WARM_UP + events)]
    with ExitStack() as stack:
        started = (
            engine.worker_of(broker.bootstrap_servers, pipeline.WORKER, subprocess.DEVNULL) for _ in range(workers)
        )
        pids = [stack.enter_context(each).pid for each in started]
        offsets = stack.enter_context(Offsets(Kafka(bootstrap_servers=broker.bootstrap_servers), group=engine.GROUP))
        producer = stack.enter_context(engine.publisher(broker))
        for value, key in backlog[:WARM_UP]:
            producer.produce(CLICKSTREAM, value, key)
        producer.flush()
        _wait(offsets)
        time.sleep(SETTLED_S)
        cpu_s = [_cpu_s(pid) for pid in (*pids, broker.pid)]
        begun_s = time.monotonic()
        for value, key in backlog[WARM_UP:]:
            producer.produce(CLICKSTREAM, value, key)
        producer.flush()
        _wait(offsets)
        wall_s = time.monotonic() - begun_s
        *workers_s, broker_s = (_cpu_s(pid) - before for pid, before in zip((*pids, broker.pid), cpu_s, strict=True))
    return Run(wall_s, sum(workers_s), broker_s)


def _wait(offsets: Offsets) -> None:
    """Waits until all is committed; what one fold sends to the next is there when it has committed."""
    deadline_s = time.monotonic() + TIMEOUT_S
    for source in SOURCES:
        for number in range(offsets.partitions(source)):
            while not engine.is_committed(offsets, source, number):
                if time.monotonic() > deadline_s:
                    raise RuntimeError(f"the workers have not committed {source}[{number}]")
                time.sleep(0.05)


def _cpu_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text("ascii").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) * _TICK_S
