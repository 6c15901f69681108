"""What exactly once costs in throughput: the counting fold on Apache Kafka, in transactions and at least once, in turn.

The rates are by the wall clock, broker and worker on one machine; compare the two of a batch size with each other. What
it costs in time to answer is in :mod:`benchmarks.latency`.
"""

import time
from contextlib import AbstractContextManager
from typing import Any, Final

from confluent_kafka import KafkaException

from benchmarks.engine import COUNTING, PARTITIONS, publish, worker_of
from streams.contract.settings import Kafka
from streams.contract.topics import CLICKSTREAM, topics
from streams.engine.offsets import Offsets
from streams.ops.apache import ApacheKafka
from tests.broker.fresh import make_topics_anew
from tests.broker.running import Address

PROMISES: Final = ("at-least-once", "transactions")
TIMEOUT_S: Final = 300.0


def measure_transactions(quick: bool) -> dict[str, Any]:
    """Folds backlogs at several batch sizes."""
    events = 40_000 if quick else 200_000
    found: dict[str, Any] = {}
    with ApacheKafka() as kafka:
        servers = kafka.bootstrap_servers
        for batch_records in (100, 500, 2000):
            rates = {promise: drain_rate(servers, promise, batch_records, events) for promise in PROMISES}
            found[f"batches_of_{batch_records}"] = {
                **{f"{promise}_events_per_s": round(rate) for promise, rate in rates.items()},
                "cost_percent": round(100 * (1 - rates["transactions"] / rates["at-least-once"]), 1),
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


def worker(servers: str, promise: str, batch_records: int) -> AbstractContextManager[Any]:
    return worker_of(servers, COUNTING, delivery=promise, batch_records=batch_records, commit_interval_s=0.1)
