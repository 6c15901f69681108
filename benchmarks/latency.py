"""Latency of answers while events come at a steady rate, and of each step on the way: one worker on Apache Kafka.

The publisher never waits for answers. An event counts from the moment that the broker appended it, by the broker's own
timestamp, to the moment that its output was acknowledged (with its transaction, where there is one), and to the moment
that a reader of committed records had it. Publisher, reader, worker and broker share this machine.
"""

import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from contextlib import ExitStack
from itertools import islice
from pathlib import Path
from typing import Any, Final

import numpy as np
import orjson
from confluent_kafka import Consumer, Producer, TopicPartition
from numpy.typing import NDArray

from benchmarks.harness import PARTITIONS, running_worker
from benchmarks.shop import Shop
from streams.admin.topics import create_topics
from streams.brokers.apache_kafka import ApacheKafka
from streams.contract.events import encode_event
from streams.contract.settings import Kafka, Settings
from streams.contract.topics import CLICKSTREAM, PREDICTIONS, RECOMMENDATIONS

FOLDS: Final = {"counting": PREDICTIONS, "pipeline": RECOMMENDATIONS}
"""Fold of the worker to the output topic that is measured."""
PROMISES: Final = ("at-least-once", "transactions")
RATES_PER_S: Final = (500, 1000, 2000)
TICK_S: Final = 0.002
TIMEOUT_S: Final = 120.0
SETTLED_S: Final = 5.0
WARM_UP: Final = 10_000
"""Events at hand for the time in which the worker starts."""
LEGS: Final = (("fetched", "in the fetch"), ("begun", "in the buffer"), ("fold", "folding"), ("emit", "emit"))
LATER_LEGS: Final = (("log", "log or commit"), ("store", "disk"), ("acknowledge", "acknowledge"))

Stamps = dict[str, float]
"""By event_ref, milliseconds, UTC."""


def measure_latency(quick: bool) -> dict[str, Any]:
    """Measures every promise at every rate, with the counting fold and with all folds, each on a broker of its own."""
    rates, seconds = ((2000,), 8.0) if quick else (RATES_PER_S, 20.0)
    return {
        f"{fold}_{promise}_at_{rate}_per_s": answers(fold, promise, rate, seconds)
        for fold in FOLDS
        for rate in rates
        for promise in PROMISES
    }


def answers(fold: str, promise: str, rate: int, seconds: float) -> dict[str, Any]:
    """Publishes for so long, after it has settled, and waits for every answer."""
    with ExitStack() as stack:
        kafka = stack.enter_context(ApacheKafka())
        servers = kafka.bootstrap_servers
        create_topics(Settings(kafka=Kafka(bootstrap_servers=servers)))
        trace = Path(stack.enter_context(tempfile.TemporaryDirectory())) / "trace"
        reader = _reader(servers, FOLDS[fold])
        stack.callback(reader.close)
        publisher = Publisher(servers, rate, WARM_UP + int(rate * (SETTLED_S + seconds)))
        command = [sys.executable, "-m", "benchmarks.traced_worker", fold, str(trace)]
        with running_worker(servers, command, delivery=promise):
            publisher.warm_up(reader)
            publisher.start(SETTLED_S + seconds)
            read = _read(reader, publisher)
        batches = [orjson.loads(line) for line in trace.read_text("utf-8").splitlines()]
    counted_ms = publisher.begun_ms + SETTLED_S * 1000
    waited = [at - publisher.accepted[ref] for ref, at in read.items() if publisher.accepted[ref] >= counted_ms]
    return {
        "events": publisher.sent,
        "published_late_ms": round(publisher.late_ms, 1),
        **{f"read_p{percent}_ms": value for percent, value in _percentiles(np.array(waited)).items()},
        **_legs([batch for batch in batches if batch["source"] == CLICKSTREAM], counted_ms, promise),
    }


class Publisher:
    """Publishes at a steady rate, on a thread, whatever becomes of it.

    Attributes:
        accepted: When the broker appended each event.
        late_ms: By how much the latest tick was behind at the worst.
    """

    def __init__(self, servers: str, rate: int, events: int) -> None:
        self.accepted: Stamps = {}
        self.sent = 0
        self.late_ms = 0.0
        self.begun_ms = 0.0
        self.is_done = False
        self._rate = rate
        self._events = iter([(encode_event(event), event.user_id or "") for event in Shop().events(events)])
        self._producer = Producer(
            {
                "bootstrap.servers": servers,
                "partitioner": "murmur2_random",
                "linger.ms": 0,
                "on_delivery": self._note,
                "log_level": 2,
            }
        )

    def warm_up(self, reader: Consumer) -> None:
        """Publishes a little until there is an answer."""
        deadline_s = time.monotonic() + TIMEOUT_S
        while reader.poll(0.1) is None:
            if time.monotonic() > deadline_s:
                raise RuntimeError("the worker does not answer")
            self._send(8)
            self._producer.flush()

    def start(self, seconds: float) -> None:
        self.begun_ms = time.time() * 1000
        threading.Thread(target=self._run, args=(seconds,), daemon=True).start()

    def _run(self, seconds: float) -> None:
        begun_s, sent = time.monotonic(), 0
        while (passed_s := time.monotonic() - begun_s) < seconds:
            due = int(passed_s * self._rate)
            self.late_ms = max(self.late_ms, (due - sent) / self._rate * 1000)
            self._send(due - sent)
            sent = due
            self._producer.poll(0)
            time.sleep(TICK_S)
        self._producer.flush()
        self.is_done = True

    def _send(self, events: int) -> None:
        for value, key in islice(self._events, events):
            self._producer.produce(CLICKSTREAM, value, key)
        self.sent += events

    def _note(self, error: object, message: Any) -> None:
        self.accepted[f"{CLICKSTREAM}-{message.partition()}-{message.offset()}"] = message.timestamp()[1]


def _read(reader: Consumer, publisher: Publisher) -> Stamps:
    """Reads answers until there are none for a second after the last event was published."""
    read: Stamps = {}
    idle_since_s = time.monotonic()
    while not publisher.is_done or time.monotonic() - idle_since_s < 1.0:
        if (first := reader.poll(0.1)) is None:
            continue
        now_ms, idle_since_s = time.time() * 1000, time.monotonic()
        for message in (first, *reader.consume(1000, 0)):
            if message.error() is None:
                read[orjson.loads(message.value() or b"")["event_ref"]] = now_ms
    return read


def _legs(batches: Sequence[dict[str, Any]], counted_ms: float, promise: str) -> dict[str, Any]:
    """Returns percentiles of the time to the acknowledgement, and the mean and 99th percentile of each step before."""
    counted = [batch for batch in batches if batch["timestamps"] and batch["timestamps"][0] >= counted_ms]
    weights = np.array([len(batch["timestamps"]) for batch in counted])
    stamps = np.concatenate([batch["timestamps"] for batch in counted])
    safe = "log" if promise == "transactions" else "emit"
    acknowledged = np.repeat([batch[safe] for batch in counted], weights) - stamps
    found: dict[str, Any] = {
        **{f"acknowledged_p{percent}_ms": value for percent, value in _percentiles(acknowledged).items()},
        "records_a_batch": round(float(weights.mean()), 1),
    }
    before = stamps
    for point, leg in (*LEGS, *LATER_LEGS):
        reached = np.repeat([batch[point] for batch in counted], weights)
        found[f"{leg}_mean_ms"] = round(float((reached - before).mean()), 2)
        found[f"{leg}_p99_ms"] = round(float(np.percentile(reached - before, 99)), 2)
        before = reached
    return found


def _percentiles(waited_ms: NDArray[np.float64]) -> dict[int, float]:
    return {percent: round(float(np.percentile(waited_ms, percent)), 1) for percent in (50, 95, 99)}


def _reader(servers: str, topic: str) -> Consumer:
    reader = Consumer({"bootstrap.servers": servers, "group.id": "latency", "fetch.wait.max.ms": 100, "log_level": 2})
    reader.assign([TopicPartition(topic, number, 0) for number in range(PARTITIONS)])
    return reader
