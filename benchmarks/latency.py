"""How long an answer takes while events come at a steady rate, and where the time goes: one worker on Apache Kafka.

The publisher never waits for answers. An event counts from the moment that the broker appended it, by the broker's own
timestamp, to the moment that its output was acknowledged (with its transaction, where there is one), and to the moment
that a reader of committed records had it. Publisher, reader, worker and broker share this machine.

    python -m benchmarks.latency --rates 2000 --folds counting --promises transactions
"""

import argparse
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from itertools import islice
from pathlib import Path
from typing import Any, Final

import numpy as np
import orjson
from confluent_kafka import Consumer, Producer, TopicPartition
from numpy.typing import NDArray

from benchmarks.engine import PARTITIONS, worker_of
from benchmarks.shop import Shop
from streams.contract.events import encode_event
from streams.contract.settings import Settings
from streams.contract.topics import CLICKSTREAM, PREDICTIONS, RECOMMENDATIONS
from streams.ops.apache import ApacheKafka
from tests.broker.fresh import make_topics_anew

FOLDS: Final = {"counting": PREDICTIONS, "pipeline": RECOMMENDATIONS}
"""What the worker runs, and the output that is waited for."""
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
    """Measures every promise at every rate, with the counting fold and with all folds."""
    return measure((2000,) if quick else RATES_PER_S, tuple(FOLDS), PROMISES, 8.0 if quick else 20.0)


def measure(rates: Sequence[int], folds: Sequence[str], promises: Sequence[str], seconds: float) -> dict[str, Any]:
    with ApacheKafka(overrides={"log.message.timestamp.type": "LogAppendTime"}) as kafka:
        return {
            f"{fold}_{promise}_at_{rate}_per_s": answers(kafka.bootstrap_servers, fold, promise, rate, seconds)
            for fold in folds
            for rate in rates
            for promise in promises
        }


def answers(servers: str, fold: str, promise: str, rate: int, seconds: float) -> dict[str, Any]:
    """Publishes for so long, after it has settled, and waits for every answer."""
    make_topics_anew(servers, Settings().topics)
    with ExitStack() as stack:
        trace = Path(stack.enter_context(tempfile.TemporaryDirectory())) / "trace"
        reader = stack.enter_context(_reader(servers, FOLDS[fold]))
        publisher = Publisher(servers, rate, WARM_UP + int(rate * (SETTLED_S + seconds)))
        command = [sys.executable, "-m", "benchmarks.traced_worker", fold, str(trace)]
        with worker_of(servers, command, delivery=promise):
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
    """Says how long records waited for their acknowledgement, and the mean of each leg of the way."""
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


@contextmanager
def _reader(servers: str, topic: str) -> Iterator[Consumer]:
    reader = Consumer({"bootstrap.servers": servers, "group.id": "latency", "fetch.wait.max.ms": 100, "log_level": 2})
    reader.assign([TopicPartition(topic, number, 0) for number in range(PARTITIONS)])
    yield reader
    reader.close()


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.latency", description=__doc__)
    parser.add_argument("--rates", type=int, nargs="+", default=RATES_PER_S, help="events a second")
    parser.add_argument("--folds", nargs="+", choices=FOLDS, default=tuple(FOLDS))
    parser.add_argument("--promises", nargs="+", choices=PROMISES, default=PROMISES)
    parser.add_argument("--seconds", type=float, default=20.0, help="of each, after it has settled")
    arguments = parser.parse_args()
    found = measure(arguments.rates, arguments.folds, arguments.promises, arguments.seconds)
    print(orjson.dumps(found, option=orjson.OPT_INDENT_2).decode())


if __name__ == "__main__":
    main()
