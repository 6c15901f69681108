"""The embedded broker, as other processes see it."""

import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator

import pytest
from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, Producer, TopicPartition
from confluent_kafka.admin import AdminClient

from streams.brokers.embedded import EmbeddedBroker
from streams.brokers.mock_cluster import Request
from streams.contract.errors import ConfigurationError, RefusedStart
from streams.contract.partitioning import partition_of
from streams.contract.settings import Settings
from tests.timeouts import HANG_S, Deadline, scaled, wait_until

pytestmark = pytest.mark.broker

TOPICS = {topic.name: topic.partitions for topic in Settings().topics}


@pytest.fixture(scope="module")
def broker() -> Iterator[EmbeddedBroker]:
    with EmbeddedBroker(TOPICS) as broker:
        yield broker


def producer(broker: EmbeddedBroker, **config: str | int) -> Producer:
    return Producer(
        {
            "bootstrap.servers": broker.bootstrap_servers,
            "partitioner": "murmur2_random",
            "linger.ms": 0,
            "log_level": 0,
            "reconnect.backoff.max.ms": 100,
            "retry.backoff.ms": 20,
            **config,
        }
    )


def deliver(client: Producer, topic: str, value: bytes) -> KafkaError | None:
    """Produces one record and returns what became of it."""
    errors: list[KafkaError | None] = []
    client.produce(topic, value, callback=lambda error, _: errors.append(error))
    client.flush(HANG_S)
    (error,) = errors
    return error


def read(broker: EmbeddedBroker, topic: str, partitions: int, count: int) -> list[tuple[int, bytes, bytes]]:
    consumer = Consumer({"bootstrap.servers": broker.bootstrap_servers, "group.id": "test", "fetch.wait.max.ms": 20})
    try:
        consumer.assign([TopicPartition(topic, partition, OFFSET_BEGINNING) for partition in range(partitions)])
        records: list[tuple[int, bytes, bytes]] = []
        deadline = Deadline(lambda: records)
        while len(records) < count:
            deadline.check()
            for message in consumer.consume(count, timeout=0.2):
                partition, key, value = message.partition(), message.key(), message.value()
                assert partition is not None
                assert key is not None
                assert value is not None
                records.append((partition, key, value))
        return records
    finally:
        consumer.close()


def is_alive(pid: int) -> bool:
    """Tells whether a process runs; one that is dead and unreaped does not."""
    stat = subprocess.run(["ps", "-o", "stat=", "-p", str(pid)], capture_output=True, text=True, check=False)
    return bool(stat.stdout.strip()) and not stat.stdout.strip().startswith("Z")


def test_it_has_exactly_the_listed_topics_and_partitions(broker: EmbeddedBroker) -> None:
    metadata = AdminClient({"bootstrap.servers": broker.bootstrap_servers}).list_topics(timeout=HANG_S)
    assert {name: len(topic.partitions) for name, topic in metadata.topics.items()} == TOPICS


def test_keyed_records_come_back_from_the_partition_that_murmur2_says(broker: EmbeddedBroker) -> None:
    broker.create_topic("keyed", 5)
    keys = [f"user-{number}".encode() for number in range(100)]
    client = producer(broker)
    for key in keys:
        client.produce("keyed", key=key, value=key * 2)
    assert client.flush(HANG_S) == 0
    assert sorted(read(broker, "keyed", 5, len(keys))) == sorted((partition_of(key, 5), key, key * 2) for key in keys)


def test_it_listens_on_loopback_only(broker: EmbeddedBroker) -> None:
    host, port = broker.bootstrap_servers.split(":")
    assert host == "127.0.0.1"
    with socket.create_connection((host, int(port)), timeout=HANG_S):
        pass
    # The whole of 127/8 is this machine, so another address of it answers only a server that binds to all.
    with pytest.raises(OSError), socket.create_connection(("127.0.0.2", int(port)), timeout=HANG_S):  # noqa: PT011
        pass


def test_a_group_gets_all_partitions_without_the_default_wait(broker: EmbeddedBroker) -> None:
    broker.create_topic("grouped", 3)
    consumer = Consumer({"bootstrap.servers": broker.bootstrap_servers, "group.id": "group"})
    consumer.subscribe(["grouped"])
    try:

        def assigned() -> bool:
            consumer.poll(0.05)
            return len(consumer.assignment()) == 3

        wait_until(assigned)
    finally:
        consumer.close()


def test_a_topic_that_exists_is_refused_and_the_broker_goes_on(broker: EmbeddedBroker) -> None:
    with pytest.raises(ConfigurationError, match="already exists"):
        broker.create_topic("clickstream", 9)
    broker.create_topic("made-afterwards", 1)


@pytest.mark.parametrize(("name", "partitions"), [("", 1), ("none", 0), ("negative", -1)])
def test_sizes_that_the_library_would_abort_on_are_refused(broker: EmbeddedBroker, name: str, partitions: int) -> None:
    with pytest.raises(ConfigurationError):
        broker.create_topic(name, partitions)


def test_a_pushed_error_reaches_the_client_once(broker: EmbeddedBroker) -> None:
    client = producer(broker)
    broker.fail_requests(Request.PRODUCE, [KafkaError.MSG_SIZE_TOO_LARGE])
    error = deliver(client, "metrics", b"{}")
    assert error is not None
    assert error.code() == KafkaError.MSG_SIZE_TOO_LARGE
    assert deliver(client, "metrics", b"{}") is None


def test_a_round_trip_longer_than_the_clients_patience_times_out(broker: EmbeddedBroker) -> None:
    client = producer(broker, **{"message.timeout.ms": int(scaled(300))})
    wait_until(lambda: deliver(client, "metrics", b"{}") is None)
    broker.set_round_trip(int(scaled(2000)))
    try:
        error = deliver(client, "metrics", b"{}")
        assert error is not None
        assert error.code() == KafkaError._MSG_TIMED_OUT
    finally:
        broker.set_round_trip(0)


def test_what_is_stored_outlives_a_broker_that_is_down_and_up_again() -> None:
    with EmbeddedBroker({"kept": 1}) as broker:
        host, port = broker.bootstrap_servers.split(":")
        client = producer(broker)
        client.produce("kept", key=b"before", value=b"1")
        assert client.flush(HANG_S) == 0
        broker.take_down()
        with pytest.raises(ConnectionRefusedError), socket.create_connection((host, int(port)), timeout=HANG_S):
            pass
        broker.bring_up()
        client.produce("kept", key=b"after", value=b"2")
        assert client.flush(HANG_S) == 0
        assert read(broker, "kept", 1, 2) == [(0, b"before", b"1"), (0, b"after", b"2")]


def test_stop_ends_the_process_and_may_be_called_twice() -> None:
    broker = EmbeddedBroker()
    broker.start()
    pid = broker.pid
    broker.stop()
    broker.stop()
    assert not is_alive(pid)
    with pytest.raises(RefusedStart):
        broker.create_topic("late", 1)


def test_a_broker_that_died_is_an_error_and_not_a_wait() -> None:
    with EmbeddedBroker() as broker:
        os.kill(broker.pid, signal.SIGKILL)
        wait_until(lambda: not is_alive(broker.pid))
        with pytest.raises(RefusedStart, match="ended"):
            broker.create_topic("late", 1)


def test_a_broker_outlives_the_thread_that_started_it() -> None:
    broker = EmbeddedBroker()
    starter = threading.Thread(target=broker.start)
    starter.start()
    starter.join()
    try:
        broker.create_topic("later", 1)
    finally:
        broker.stop()


PARENT = """
import multiprocessing, os, signal, sys, time
from streams.brokers.embedded import EmbeddedBroker

broker = EmbeddedBroker()
broker.start()
sibling = os.fork() if sys.argv[1] == "with-sibling" else -1
if sibling == 0:
    time.sleep(86400)
print(broker.pid, sibling, flush=True)
time.sleep(86400)
"""


@pytest.mark.parametrize("family", ["alone", "with-sibling"])
def test_it_dies_with_a_parent_that_is_killed(family: str) -> None:
    """A forked sibling holds the pipe to the broker open, so that its end alone would not tell."""
    parent = subprocess.Popen([sys.executable, "-c", PARENT, family], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    broker_pid, sibling_pid = map(int, parent.stdout.readline().split())
    try:
        assert is_alive(broker_pid)
        parent.kill()
        parent.wait()
        wait_until(lambda: not is_alive(broker_pid))
    finally:
        if sibling_pid > 0:
            os.kill(sibling_pid, signal.SIGKILL)
        parent.stdout.close()
