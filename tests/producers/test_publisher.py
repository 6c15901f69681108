"""Publishing, against the embedded broker."""

from collections.abc import Iterator
from functools import partial

import pytest
from confluent_kafka import Consumer, TopicPartition
from hypothesis import given
from hypothesis import strategies as st

from producers.lag import LagGate, lag_of
from producers.publisher import Publisher, publish_ticks
from streams.brokers.embedded import EmbeddedBroker
from streams.contract.errors import UndeliveredOutput, UnreachableBroker
from streams.contract.events import Event, decode_event
from streams.contract.partitioning import partition_of
from streams.contract.settings import Kafka, Settings
from tests.timeouts import HANG_S, Deadline, scaled, wait_until

PARTITIONS = 3
BEGIN_MS = 1_736_121_600_000


@pytest.fixture
def broker() -> Iterator[EmbeddedBroker]:
    with EmbeddedBroker({"clickstream": PARTITIONS}) as broker:
        yield broker


def settings_of(broker: EmbeddedBroker) -> Settings:
    return Settings(kafka=Kafka(bootstrap_servers=broker.bootstrap_servers))


def view(number: int, user: str = "user-1") -> Event:
    at_ms = BEGIN_MS + 1_000 * number
    return Event(event_id=f"e{number}", timestamp_ms=at_ms, kind="view", user_id=user, item_id="item-1")


def read_all(broker: EmbeddedBroker, count: int) -> dict[tuple[int, int], tuple[bytes | None, Event]]:
    consumer = Consumer({"bootstrap.servers": broker.bootstrap_servers, "group.id": "reader", "fetch.wait.max.ms": 10})
    consumer.assign([TopicPartition("clickstream", partition, 0) for partition in range(PARTITIONS)])
    found: dict[tuple[int, int], tuple[bytes | None, Event]] = {}
    deadline = Deadline(lambda: len(found))
    try:
        while len(found) < count:
            deadline.check()
            for message in consumer.consume(1000, 0.1):
                key, value = message.key(), message.value()
                assert isinstance(value, bytes)
                assert key is None or isinstance(key, bytes)
                partition, offset = message.partition(), message.offset()
                assert partition is not None
                assert offset is not None
                found[partition, offset] = key, decode_event(value)
    finally:
        consumer.close()
    return found


def wait_for(gate: LagGate, is_open: bool) -> None:
    wait_until(lambda: gate.is_open == is_open, lambda: gate.lag, interval_s=0.01)


@pytest.mark.broker
def test_an_event_lies_in_its_users_partition_at_the_place_that_was_told(broker: EmbeddedBroker) -> None:
    places: dict[str, tuple[int, int]] = {}

    def note(event_id: str, partition: int, offset: int) -> None:
        places[event_id] = partition, offset

    events = [view(number, f"user-{number % 17}") for number in range(300)]
    with Publisher(settings_of(broker)) as publisher:
        assert publisher.partitions == PARTITIONS
        for event in events:
            publisher.publish(event, partial(note, event.event_id))
        assert publish_ticks(publisher, BEGIN_MS + 900_000, "run") == PARTITIONS
        assert publisher.flush(HANG_S) == 0
        assert (publisher.produced, publisher.delivered, publisher.failed) == (303, 303, 0)

    found = read_all(broker, 303)
    for event in events:
        key, stored = found[places[event.event_id]]
        assert stored == event
        assert event.user_id is not None
        assert key == event.user_id.encode()
        assert places[event.event_id][0] == partition_of(key, PARTITIONS)
    for user in {event.user_id for event in events}:
        offsets = [places[event.event_id][1] for event in events if event.user_id == user]
        assert offsets == sorted(offsets)
    ticks = {place[0]: (key, event) for place, (key, event) in found.items() if event.kind == "tick"}
    assert sorted(ticks) == list(range(PARTITIONS))
    assert all(key is None and event.timestamp_ms == BEGIN_MS + 900_000 for key, event in ticks.values())
    assert len({event.event_id for _, event in ticks.values()}) == PARTITIONS


@pytest.mark.broker
def test_a_full_queue_makes_the_publisher_wait_and_loses_nothing(broker: EmbeddedBroker) -> None:
    with Publisher(settings_of(broker), queue_records=5, linger_ms=0) as publisher:
        for number in range(100):
            publisher.publish(view(number))
        assert publisher.flush(HANG_S) == 0
        assert publisher.delivered == 100
    assert len(read_all(broker, 100)) == 100


@pytest.mark.broker
def test_what_is_not_delivered_is_counted_and_logged_once(
    broker: EmbeddedBroker, caplog: pytest.LogCaptureFixture
) -> None:
    told: list[int] = []
    with Publisher(settings_of(broker), delivery_timeout_s=scaled(3.0)) as publisher:
        publisher.publish(view(0))
        assert publisher.flush(HANG_S) == 0
        broker.take_down()
        for number in (1, 2):
            publisher.publish(view(number), lambda _, offset: told.append(offset))
        assert publisher.flush(HANG_S) == 0
        assert (publisher.produced, publisher.delivered, publisher.failed) == (3, 1, 2)
        assert told == []
    errors = [record.message for record in caplog.records if "not delivered" in record.message]
    assert len(errors) == len(publisher.failures) == 1


@pytest.mark.broker
def test_only_a_tick_names_its_partition(broker: EmbeddedBroker) -> None:
    tick = Event(event_id="t", timestamp_ms=1, kind="tick")
    with Publisher(settings_of(broker)) as publisher:
        for event, partition in ((tick, None), (view(1), 0)):
            with pytest.raises(ValueError, match="cannot go to partition"):
                publisher.publish(event, partition=partition)
        assert publisher.produced == 0


@pytest.mark.broker
def test_an_event_too_large_for_the_client_is_refused_aloud(broker: EmbeddedBroker) -> None:
    with Publisher(settings_of(broker)) as publisher, pytest.raises(UndeliveredOutput, match="size"):
        publisher.publish(view(1, "u" * 2_000_000))


def test_no_broker_is_said_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("producers.publisher._START_TIMEOUT_S", 0.2)
    with pytest.raises(UnreachableBroker):
        Publisher(Settings(kafka=Kafka(bootstrap_servers="127.0.0.1:1")))


@pytest.mark.broker
def test_the_gate_closes_on_lag_and_opens_when_the_group_commits(broker: EmbeddedBroker) -> None:
    gate = LagGate(settings_of(broker), bound_records=50, interval_s=0.02)
    with Publisher(settings_of(broker), gate) as publisher:
        for number in range(51):
            publisher.publish(view(number))
        publisher.flush(HANG_S)
        wait_for(gate, is_open=False)
        assert gate.lag == 51
        asked = iter([False, False, True])
        assert not publisher.wait_for_room(lambda: next(asked))
        publish_ticks(publisher, 1_000_000, "run")

        publisher.flush(HANG_S)
        partition = partition_of(b"user-1", PARTITIONS)
        worker = Consumer({"bootstrap.servers": broker.bootstrap_servers, "group.id": "headrace"})
        worker.commit(offsets=[TopicPartition("clickstream", partition, 40)], asynchronous=False)
        wait_for(gate, is_open=True)
        assert gate.lag == 51 + PARTITIONS - 40
        assert publisher.wait_for_room()
        worker.close()


@pytest.mark.broker
def test_a_closed_gate_says_once_that_nothing_is_committed(
    broker: EmbeddedBroker, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def said() -> list[str]:
        return [record.message for record in caplog.records if "committed nothing" in record.message]

    readings = 0
    gate = LagGate(settings_of(broker), 50, 0.02, standstill_s=0.2)
    read_committed = gate._read_committed

    def counted(partitions: list[int]) -> None:
        nonlocal readings
        readings += 1
        read_committed(partitions)

    monkeypatch.setattr(gate, "_read_committed", counted)

    def wait_for_readings() -> None:
        """Waits for longer than a standstill takes."""
        until = readings + 20
        wait_until(lambda: readings > until)

    worker = Consumer({"bootstrap.servers": broker.bootstrap_servers, "group.id": "headrace"})
    partition = partition_of(b"user-1", PARTITIONS)
    with Publisher(settings_of(broker), gate) as publisher:
        for number in range(50):
            publisher.publish(view(number))
        publisher.flush(HANG_S)
        wait_for_readings()
        assert said() == []
        # Ticks pass a closed gate.
        publish_ticks(publisher, 1_000_000, "run")
        publisher.flush(HANG_S)
        wait_until(lambda: len(said()) == 1)
        wait_for_readings()
        assert len(said()) == 1
        worker.commit(offsets=[TopicPartition("clickstream", partition, 1)], asynchronous=False)
        wait_until(lambda: len(said()) == 2)
        assert "52 records behind" in said()[1]
    worker.close()


@pytest.mark.broker
def test_the_gate_closes_while_the_commits_cannot_be_read(broker: EmbeddedBroker) -> None:
    gate = LagGate(settings_of(broker), bound_records=5, interval_s=0.02)
    positions: dict[int, tuple[int, int]] = {}
    gate.watch(positions.copy)
    try:
        broker.take_down()
        positions[0] = (0, 6)
        wait_for(gate, is_open=False)
    finally:
        gate.close()
    assert gate.is_open


@given(st.dictionaries(st.integers(0, 5), st.tuples(st.integers(0, 50), st.integers(0, 50), st.integers(0, 120))))
def test_the_lag_is_what_was_delivered_and_not_committed(partitions: dict[int, tuple[int, int, int]]) -> None:
    positions = {partition: (first, first + count) for partition, (first, count, _) in partitions.items()}
    committed = {partition: offset for partition, (_, _, offset) in partitions.items() if partition % 2}
    expected = sum(len(range(committed.get(partition, first), end)) for partition, (first, end) in positions.items())
    assert lag_of(positions, committed) == expected
