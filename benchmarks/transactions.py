"""What exactly once costs: the counting fold on Apache Kafka, in transactions and at least once, in turn.

The rates are by the wall clock, broker and worker on one machine; compare the two of a batch size with each other.
"""

import time
from contextlib import AbstractContextManager
from typing import Any, Final

import numpy as np
import orjson
from confluent_kafka import Consumer, KafkaException, Producer, TopicPartition

from benchmarks.engine import COUNTING, PARTITIONS, publish, worker_of
from streams.contract.events import Event, encode_event
from streams.contract.settings import Kafka, Settings
from streams.contract.topics import CLICKSTREAM, PREDICTIONS, topics
from streams.engine.offsets import Offsets
from streams.ops.apache import ApacheKafka
from tests.broker.fresh import make_topics_anew
from tests.broker.running import Address

PROMISES: Final = ("at-least-once", "transactions")
RATES_PER_S: Final = (500, 2000)
WARM_UP_S: Final = 3.0
TIMEOUT_S: Final = 300.0


def measure_transactions(quick: bool) -> dict[str, Any]:
    """Folds backlogs at several batch sizes, and answers at several rates."""
    events, seconds = (40_000, 8.0) if quick else (200_000, 20.0)
    found: dict[str, Any] = {}
    with ApacheKafka() as kafka:
        servers = kafka.bootstrap_servers
        for batch_records in (100, 500, 2000):
            rates = {promise: drain_rate(servers, promise, batch_records, events) for promise in PROMISES}
            found[f"batches_of_{batch_records}"] = {
                **{f"{promise}_events_per_s": round(rate) for promise, rate in rates.items()},
                "cost_percent": round(100 * (1 - rates["transactions"] / rates["at-least-once"]), 1),
            }
        for rate_per_s in RATES_PER_S:
            found[f"at_{rate_per_s}_events_per_s"] = {
                f"{promise}_{name}": value
                for promise in PROMISES
                for name, value in latencies(servers, promise, rate_per_s, seconds).items()
            }
    return found


def drain_rate(servers: str, promise: str, batch_records: int, events: int) -> float:
    make_topics_anew(servers, topics(PARTITIONS, ["learner"]))
    publish(Address(servers), events)
    with (
        worker(servers, promise, batch_records),
        Offsets(Kafka(bootstrap_servers=servers), group="headrace") as offsets,
    ):
        deadline_s = time.monotonic() + TIMEOUT_S
        seen: list[tuple[float, int]] = []
        while not seen or seen[-1][1] < events:
            if time.monotonic() > deadline_s:
                raise RuntimeError(f"only {seen[-1:]} of {events} events were committed")
            try:
                committed = sum(offsets.committed(CLICKSTREAM, number) for number in range(PARTITIONS))
            except KafkaException:
                continue  # The group has no coordinator before it has a member.
            if committed and (not seen or committed > seen[-1][1]):
                seen.append((time.monotonic(), committed))
            time.sleep(0.02)
    (begun_s, first), (ended_s, last) = seen[0], seen[-1]
    return (last - first) / (ended_s - begun_s)


def latencies(servers: str, promise: str, rate_per_s: int, seconds: float) -> dict[str, float]:
    """From publishing an event to reading its committed output."""
    make_topics_anew(servers, topics(PARTITIONS, ["learner"]))
    published_s: dict[str, float] = {}
    read_s: dict[str, float] = {}
    reader = Consumer({"bootstrap.servers": servers, "group.id": "latency", "fetch.wait.max.ms": 5})
    reader.assign([TopicPartition(PREDICTIONS, number, 0) for number in range(PARTITIONS)])
    producer = Producer({"bootstrap.servers": servers, "partitioner": "murmur2_random", "linger.ms": 0})
    with worker(servers, promise, Settings().engine.batch_records):
        sent, begun_s = 0, time.monotonic()
        while len(read_s) < sent or time.monotonic() - begun_s < seconds:
            now_s = time.monotonic()
            if now_s - begun_s > seconds + TIMEOUT_S:
                raise RuntimeError(f"only {len(read_s)} of {sent} events were answered")
            due = int(min(now_s - begun_s, seconds) * rate_per_s)
            for number in range(sent, due):
                event = Event(
                    event_id="e", timestamp_ms=0, kind="view", user_id=f"u{number % 5000}", item_id="x", price=1.5
                )

                def delivered(error: object, message: Any, at_s: float = now_s) -> None:
                    published_s[f"{CLICKSTREAM}-{message.partition()}-{message.offset()}"] = at_s

                producer.produce(CLICKSTREAM, encode_event(event), event.user_id, on_delivery=delivered)
            sent = max(sent, due)
            producer.poll(0)
            for message in reader.consume(1000, 0.002):
                if message.error() is None:
                    read_s[orjson.loads(message.value() or b"")["event_ref"]] = time.monotonic()
    reader.close()
    # What was published while the worker started waited for that.
    settled_s = begun_s + seconds / 2 + WARM_UP_S / 2
    waited_ms = [1000 * (read_s[ref] - at_s) for ref, at_s in published_s.items() if at_s > settled_s]
    return {f"p{percent}_ms": round(float(np.percentile(waited_ms, percent)), 1) for percent in (50, 99)}


def worker(servers: str, promise: str, batch_records: int) -> AbstractContextManager[Any]:
    return worker_of(servers, COUNTING, delivery=promise, batch_records=batch_records, commit_interval_s=0.1)
