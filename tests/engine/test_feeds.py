"""A global table is read whole before a worker starts, and what has come is applied meanwhile."""

import threading
from collections.abc import Iterator

import pytest
from confluent_kafka import Producer

from streams.brokers.embedded import EmbeddedBroker
from streams.contract.errors import RefusedStart
from streams.contract.settings import Kafka, Settings
from streams.engine import global_tables
from streams.engine.global_tables import GlobalTableReader, values_of

pytestmark = pytest.mark.broker

PARTITIONS = 2
RECORDS = 3000


@pytest.fixture(scope="module")
def settings() -> Iterator[Settings]:
    with EmbeddedBroker({"global_table": PARTITIONS}) as broker:
        producer = Producer({"bootstrap.servers": broker.bootstrap_servers, "linger.ms": 5})
        for number in range(RECORDS):
            producer.produce("global_table", b"%d" % number, partition=number % PARTITIONS)
        producer.flush()
        yield Settings(kafka=Kafka(bootstrap_servers=broker.bootstrap_servers))


def test_what_is_read_before_the_start_is_applied_in_order_and_never_waits_in_heaps(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(global_tables, "_MAX_QUEUED", 200)
    monkeypatch.setattr(global_tables, "_MAX_RECORDS", 100)
    applied: list[list[int]] = []
    reader = GlobalTableReader("global_table", settings, values_of(int), applied.append)
    reader.start()
    applied.append(reader.take())
    reader.stop()
    values = [value for part in applied for value in part]
    assert sorted(values) == list(range(RECORDS))
    for number in range(PARTITIONS):
        own = [value for value in values if value % PARTITIONS == number]
        assert own == sorted(own)
    assert max(map(len, applied)) <= 300


def test_without_anybody_who_applies_it_waits_to_be_taken(settings: Settings) -> None:
    reader = GlobalTableReader("global_table", settings, values_of(int))
    reader.start()
    assert len(reader.take()) == RECORDS
    reader.stop()


def test_a_feed_of_which_nothing_comes_is_refused(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    is_over = threading.Event()
    monkeypatch.setattr(GlobalTableReader, "_read", lambda self: is_over.wait())
    with pytest.raises(RefusedStart, match="no record came for 0 s"):
        GlobalTableReader("global_table", settings, values_of(int)).start(timeout_s=0.1)
    is_over.set()
