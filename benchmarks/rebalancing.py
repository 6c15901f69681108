"""Workers that join, leave, are killed and are paused under a steady load, and what a standby saves, on Apache Kafka.

The counting fold, with the engine's default settings: a session of 10 s. After each step the oracle of the chaos suite
folds the log by itself and compares outputs and rows. What is waited for is the time from publishing an event to
reading its committed output.
"""

import os
import re
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, NamedTuple

import msgspec
import orjson
from confluent_kafka import Consumer, KafkaException, Message, Producer, TopicPartition
from confluent_kafka.admin import AdminClient

from benchmarks.engine import GROUP, PARTITIONS
from streams.contract.events import Event, encode_event
from streams.contract.settings import Settings
from streams.contract.topics import CLICKSTREAM, PREDICTIONS, USERS_CHANGELOG, topics
from streams.ops.apache import ApacheKafka
from tests.broker.fresh import make_topics_anew
from tests.broker.running import Address
from tests.chaos.oracle import Verdict, judge
from tests.engine.counting import Count
from tests.engine.running import Process, Supervisor

RATE_PER_S: Final = 200
USERS: Final = 2000
ROW_BYTES: Final = 400
"""About what a user's row takes when idle."""

RESTART_SESSION_S: Final = "60.0"
"""A start takes longer than the usual session where machines are busy."""

LATE_S: Final = 1.0
"""An event that waits longer was not being answered; the rest is batching."""

LEAD_S: Final = 2.0
QUIET_S: Final = 3.0
TIMEOUT_S: Final = 300.0
_DEFAULTS: Final = Settings().engine
SETTINGS: Final = {
    f"ENGINE__{name.upper()}": str(getattr(_DEFAULTS, name))
    for name in ("session_timeout_s", "heartbeat_interval_s", "batch_records", "commit_interval_s", "watchdog_s")
}


class Waited(NamedTuple):
    """One event: when it was published, and when its output was read, by the monotonic clock."""

    partition: int
    published_s: float
    answered_s: float


class Load:
    """Publishes at a steady rate and reads the committed outputs, on the caller's thread."""

    def __init__(self, servers: str) -> None:
        self._producer = Producer(
            {"bootstrap.servers": servers, "partitioner": "murmur2_random", "linger.ms": 0, "log_level": 2}
        )
        self._reader = Consumer(
            {"bootstrap.servers": servers, "group.id": "load", "fetch.wait.max.ms": 10, "log_level": 2}
        )
        self._reader.assign([TopicPartition(PREDICTIONS, number, 0) for number in range(PARTITIONS)])
        self._sent = 0
        self._due_s = time.monotonic()
        self._pending: dict[str, tuple[int, float]] = {}
        self._early: dict[str, float] = {}
        self.waited: list[Waited] = []

    def run(self, until: Callable[[], bool], *, publishing: bool = True) -> None:
        """Goes on until something holds, which is asked about ten times a second."""
        deadline_s, ask_s = time.monotonic() + TIMEOUT_S, 0.0
        self._due_s = time.monotonic()
        while True:
            now_s = time.monotonic()
            if now_s > deadline_s:
                raise RuntimeError(f"{len(self._pending)} events wait for their answers after {TIMEOUT_S:g} s")
            if now_s >= ask_s:
                if until():
                    return
                ask_s = now_s + 0.1
            if publishing:
                self._publish(now_s)
            self._producer.poll(0)
            self._read()

    def run_for(self, seconds: float) -> None:
        end_s = time.monotonic() + seconds
        self.run(lambda: time.monotonic() >= end_s)

    def settle(self) -> None:
        """Publishes nothing and waits until all is answered, and nothing more comes for a while."""
        self._producer.flush(TIMEOUT_S)
        self.run(lambda: self.is_answered(time.monotonic()), publishing=False)
        end_s = time.monotonic() + QUIET_S
        self.run(lambda: time.monotonic() >= end_s, publishing=False)

    def is_answered(self, before_s: float) -> bool:
        """Says whether every event that was published before then has its output."""
        return all(at_s >= before_s for _, at_s in self._pending.values())

    def is_answering(self, since_s: float) -> bool:
        """Says whether every partition has answered an event that was published since then."""
        fresh = {each.partition for each in self.waited[-20 * RATE_PER_S :] if each.published_s >= since_s}
        return len(fresh) == PARTITIONS

    def close(self) -> None:
        self._reader.close()

    def _publish(self, now_s: float) -> None:
        while self._due_s <= now_s:
            self._due_s += 1.0 / RATE_PER_S
            user = f"user-{self._sent * 7919 % USERS}"
            event = Event(event_id="e", timestamp_ms=0, kind="view", user_id=user, item_id="i", price=1.5)
            self._sent += 1
            self._producer.produce(CLICKSTREAM, encode_event(event), user, on_delivery=self._note(now_s))

    def _note(self, at_s: float) -> Callable[[object, Message], None]:
        def delivered(error: object, message: Message) -> None:
            partition = message.partition() or 0
            ref = f"{CLICKSTREAM}-{partition}-{message.offset()}"
            if (answered_s := self._early.pop(ref, None)) is not None:
                self.waited.append(Waited(partition, at_s, answered_s))
            else:
                self._pending[ref] = partition, at_s

        return delivered

    def _read(self) -> None:
        for message in self._reader.consume(2000, 0.005):
            if message.error() is not None:
                continue
            now_s, ref = time.monotonic(), orjson.loads(message.value() or b"")["event_ref"]
            if (found := self._pending.pop(ref, None)) is not None:
                self.waited.append(Waited(*found, now_s))
            else:
                self._early[ref] = now_s


class Crew:
    """The workers of one group, each with a disk of its own, and the load on them."""

    def __init__(self, servers: str, folder: Path, settings: Mapping[str, str]) -> None:
        self.servers = servers
        self.load = Load(servers)
        self.workers: list[Process] = []
        self._started = 0
        self._supervisor = Supervisor(Address(servers), folder, {**SETTINGS, **settings})
        self._admin = AdminClient({"bootstrap.servers": servers, "log_level": 2})

    def join(self, disk: str = "", *, named: bool = False) -> Process:
        """Starts a worker, on an empty disk if none is given; a named one is a static member of the group."""
        self._started += 1
        disk = disk or f"disk-{self._started}"
        self.workers.append(self._supervisor.start(disk, ENGINE__INSTANCE_ID=disk if named else ""))
        return self.workers[-1]

    def take_out(self, number: int, place: int = -1) -> Process:
        """Sends a worker, the one that was started last if none is named, a signal; it is no more of the group."""
        worker = self.workers.pop(place)
        worker.send(number)
        return worker

    def until_stable(self, members: int) -> None:
        """Loads on until the group has so many members and every partition answers what comes after that."""
        self.load.run(lambda: self._is_stable(members))
        since_s = time.monotonic()
        self.load.run(lambda: self.load.is_answering(since_s) and self.load.is_answered(since_s))

    def close(self) -> None:
        self._supervisor.close()
        self.load.close()

    def _is_stable(self, members: int) -> bool:
        ended = [worker for worker in self.workers if worker.code is not None]
        if ended:
            raise RuntimeError(f"a worker ended with {ended[0].code}: {ended[0].log.read_text()[-2000:]}")
        try:
            group = self._admin.describe_consumer_groups([GROUP])[GROUP].result()
        except KafkaException:
            return False  # It has no coordinator before it has a member.
        return group.state.name == "STABLE" and len(group.members) == members


def join(crew: Crew) -> None:
    crew.join()


def leave(crew: Crew) -> int | None:
    worker = crew.take_out(signal.SIGTERM)
    crew.load.run(lambda: worker.code is not None)
    return worker.code


def kill(crew: Crew) -> None:
    crew.take_out(signal.SIGKILL)


def pause(crew: Crew) -> int | None:
    """Stops a worker for longer than its session; it wakes up while another has its partitions, and must end."""
    members = len(crew.workers) - 1
    worker = crew.take_out(signal.SIGSTOP)
    crew.until_stable(members)
    worker.send(signal.SIGCONT)
    crew.load.run(lambda: worker.code is not None)
    return worker.code


Step = Callable[[Crew], int | None]
"""Does something to a crew under load; returns the exit code of the worker that it ended, where one is of interest."""

STEPS: Final[tuple[tuple[str, Step], ...]] = (
    ("1 to 2: joins", join),
    ("2 to 3: joins", join),
    ("3 to 4: joins", join),
    ("4 to 3: SIGKILL", kill),
    ("3 to 4: joins again", join),
    ("4 to 3: paused beyond the session", pause),
    ("3 to 4: joins once more", join),
    ("4 to 3: SIGTERM", leave),
    ("3 to 2: SIGTERM", leave),
    ("2 to 1: SIGKILL", kill),
)
QUICK_STEPS: Final = (STEPS[0], ("2 to 1: SIGKILL", kill))


def measure_rebalancing(quick: bool) -> dict[str, Any]:
    """Plays the steps; restarts a worker with and without a name; kills one with and without a standby."""
    rows = 20_000 if quick else 200_000
    with ApacheKafka() as kafka:
        return {
            "session_s": _DEFAULTS.session_timeout_s,
            "load_events_per_s": RATE_PER_S,
            "steps": play(kafka.bootstrap_servers, QUICK_STEPS if quick else STEPS),
            "restarted_with_a_name": restarted(kafka.bootstrap_servers, named=True),
            "restarted_without_one": restarted(kafka.bootstrap_servers, named=False),
            "killed_with_a_standby": killed(kafka.bootstrap_servers, rows, standbys=1),
            "killed_without_one": killed(kafka.bootstrap_servers, rows, standbys=0),
        }


def play(servers: str, steps: Sequence[tuple[str, Step]]) -> dict[str, Any]:
    """Plays the steps one after another, and judges after each."""
    found: dict[str, Any] = {}
    with crewed(servers) as crew:
        crew.join()
        crew.until_stable(1)
        before = Verdict(0, 0, 0, 0, 0, 0, 0)
        for name, step in steps:
            crew.load.run_for(LEAD_S)
            begun_s = time.monotonic()
            code = step(crew)
            crew.until_stable(len(crew.workers))
            crew.load.settle()
            verdict = judge(servers)
            found[name] = {
                **answers(crew.load.waited, begun_s),
                **judged(verdict, before),
                **({} if code is None else {"exit_code": code}),
            }
            print(name, found[name], file=sys.stderr, flush=True)
            before = verdict
    return found


def restarted(servers: str, *, named: bool) -> dict[str, Any]:
    """Ends one of two workers in peace, and starts it again on its disk at once, in a session that allows for it."""
    with crewed(servers, ENGINE__SESSION_TIMEOUT_S=RESTART_SESSION_S) as crew:
        other = crew.join(named=named)
        crew.until_stable(1)
        worker = crew.join(named=named)
        crew.until_stable(2)
        crew.load.run_for(LEAD_S)
        told, begun_s = other.log.read_text().count("rebalance-begins"), time.monotonic()
        leave(crew)
        crew.join(worker.data_dir.name, named=named)
        crew.until_stable(2)
        crew.load.settle()
        return {
            **answers(crew.load.waited, begun_s),
            "rebalances_of_the_other": other.log.read_text().count("rebalance-begins") - told,
            **judged(judge(servers)),
        }


def killed(servers: str, rows: int, standbys: int) -> dict[str, Any]:
    """Kills the first of two workers, which had all partitions, each with many rows.

    So the second has the rows of what it takes over as a standby, or not at all.

    Args:
        rows: Of each partition.
    """
    with crewed(servers, ENGINE__STANDBY_REPLICAS=str(standbys)) as crew:
        log_rows(servers, rows)
        crew.join()
        crew.until_stable(1)
        survivor = crew.join()
        crew.until_stable(2)
        if standbys:
            crew.load.run(lambda: survivor.told("standbys-ready") > 0)
        told = len(rebalances(survivor))
        crew.load.run_for(LEAD_S)
        begun_s = time.monotonic()
        crew.take_out(signal.SIGKILL, place=0)
        crew.until_stable(1)
        crew.load.settle()
        verdict = judge(servers)
        last = rebalances(survivor)[told:][-1]
        return {
            "rows": rows * PARTITIONS,
            **answers(crew.load.waited, begun_s),
            "recovered_rows": int(last["recovered_rows"]),
            "recovered_rows_per_s": int(last["rows_per_s"]),
            # The rows that nobody's events have made are those that were there before.
            **judged(verdict._replace(differing_rows=verdict.differing_rows - rows * PARTITIONS)),
        }


def answers(waited: list[Waited], begun_s: float) -> dict[str, Any]:
    """Says how long partitions gave no answers, from a step on.

    Returns:
        ``all_answer_again_s`` from the step to the last answer that was late, ``unanswered_s`` the longest wait of an
        event, and of how many partitions events were late.
    """
    late = [each for each in waited if each.answered_s >= begun_s and each.answered_s - each.published_s > LATE_S]
    return {
        "all_answer_again_s": round(max((each.answered_s - begun_s for each in late), default=0.0), 2),
        "unanswered_s": round(max((each.answered_s - each.published_s for each in late), default=0.0), 2),
        "unanswered_partitions": len({each.partition for each in late}),
    }


def judged(verdict: Verdict, before: Verdict | None = None) -> dict[str, int]:
    """What the oracle found since it last judged."""
    added = {
        name: getattr(verdict, name) - (getattr(before, name) if before else 0)
        for name in ("events", "lost", "duplicated", "differing_rows", "misordered")
    }
    return {**added, "committed_ahead": verdict.ahead, "lag": verdict.lag}


def rebalances(worker: Process) -> list[dict[str, str]]:
    """Reads what a worker said of the rebalances it has been through."""
    lines = [line for line in worker.log.read_text().splitlines() if "rebalance-ends" in line]
    return [dict(re.findall(r"(\w+)=(\S+)", line)) for line in lines]


def log_rows(servers: str, rows: int) -> None:
    """Writes rows of users who do nothing into the changelog, as if they had been folded."""
    producer = Producer({"bootstrap.servers": servers, "compression.type": "lz4", "linger.ms": 50, "log_level": 2})
    padding = "x" * ROW_BYTES
    for number in range(rows * PARTITIONS):
        row = msgspec.msgpack.encode([*msgspec.structs.astuple(Count(events=number)), padding])
        producer.produce(USERS_CHANGELOG, row, f"logged-{number}", partition=number % PARTITIONS)
        if number % 1000 == 0:
            producer.poll(0)
        while len(producer) > 50_000:
            producer.poll(0.1)
    producer.flush()


@contextmanager
def crewed(servers: str, **settings: str) -> Iterator[Crew]:
    """Makes the topics anew, and leaves no worker behind."""
    make_topics_anew(servers, topics(PARTITIONS, ["learner"]))
    folder, level = Path(tempfile.mkdtemp(prefix="headrace-rebalancing-")), os.environ.get("LOGLEVEL")
    os.environ["LOGLEVEL"] = "info"  # Workers then tell of each rebalance, and how many rows they read.
    crew = Crew(servers, folder, settings)
    try:
        yield crew
    finally:
        crew.close()
        shutil.rmtree(folder, ignore_errors=True)
        if level is None:
            del os.environ["LOGLEVEL"]
        else:
            os.environ["LOGLEVEL"] = level
