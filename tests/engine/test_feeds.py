"""A feed is read whole before a worker starts, and what has come is applied meanwhile."""

import time
from collections.abc import Iterator

import pytest
from confluent_kafka import Producer

from streams.contract.errors import RefusedStart
from streams.contract.settings import Kafka
from streams.engine import feeds
from streams.engine.feeds import FeedReader
from streams.ops.broker import EmbeddedBroker

PARTITIONS = 2
RECORDS = 3000


@pytest.fixture(scope="module")
def kafka() -> Iterator[Kafka]:
    with EmbeddedBroker({"feed": PARTITIONS}) as broker:
        producer = Producer({"bootstrap.servers": broker.bootstrap_servers, "linger.ms": 5})
        for number in range(RECORDS):
            producer.produce("feed", b"%d" % number, partition=number % PARTITIONS)
        producer.flush()
        yield Kafka(bootstrap_servers=broker.bootstrap_servers)


def test_what_is_read_before_the_start_is_applied_in_order_and_never_waits_in_heaps(
    kafka: Kafka, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(feeds, "_MOST_WAITING", 200)
    monkeypatch.setattr(feeds, "_AT_ONCE", 100)
    applied: list[list[int]] = []
    reader = FeedReader("feed", kafka, int, applied.append)
    reader.start()
    applied.append(reader.take())
    reader.stop()
    values = [value for part in applied for value in part]
    assert sorted(values) == list(range(RECORDS))
    for number in range(PARTITIONS):
        own = [value for value in values if value % PARTITIONS == number]
        assert own == sorted(own)
    assert max(map(len, applied)) <= 300


def test_without_anybody_who_applies_it_waits_to_be_taken(kafka: Kafka) -> None:
    reader = FeedReader("feed", kafka, int)
    reader.start()
    assert len(reader.take()) == RECORDS
    reader.stop()


def test_a_feed_of_which_nothing_comes_is_refused(kafka: Kafka, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(FeedReader, "_read", lambda self: time.sleep(0.5))
    with pytest.raises(RefusedStart, match="nothing came for 0 s"):
        FeedReader("feed", kafka, int).start(timeout_s=0.1)
