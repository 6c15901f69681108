"""A partition whose records wait is unread if no group's position moves for long, whoever should read it."""

from concurrent.futures import Future
from functools import partial
from types import SimpleNamespace
from typing import Any, Final, cast

import pytest
from confluent_kafka import (
    OFFSET_INVALID,
    Consumer,
    KafkaError,
    KafkaException,
    Producer,
    TopicPartition,
)
from confluent_kafka.admin import AdminClient

from streams.brokers.embedded import EmbeddedBroker
from streams.contract.names import Names
from streams.contract.settings import load_settings
from streams.engine.offsets import committed_offsets
from streams.engine.readers import Readers, Unread, UnreadDetector, Waiting
from tests.timeouts import HANG_S

PATIENCE_S = 10.0
P0, P1 = ("item-signals", 0), ("item-signals", 1)
NOBODY: frozenset[Any] = frozenset()


def test_only_what_waits_without_a_reader_for_longer_than_the_patience_is_unread() -> None:
    detector = UnreadDetector(PATIENCE_S)
    for now_s, position in ((0.0, 5), (9.0, 6)):
        assert detector.unread({P0: Waiting(0, 3), P1: Waiting(position, 3)}, NOBODY, now_s) == {}
    assert detector.unread({P0: Waiting(0, 4), P1: Waiting(6, 2)}, NOBODY, 10.1) == {P0: Unread(4, 10.1)}
    assert detector.unread({P0: Waiting(1, 3), P1: Waiting(6, 2)}, NOBODY, 19.1) == {P1: Unread(2, 19.1 - 9.0)}


@pytest.mark.parametrize(
    ("waiting", "excused"), [({P0: Waiting(5, 0)}, NOBODY), ({P0: Waiting(5, 1)}, {P0}), ({}, NOBODY)]
)
def test_patience_begins_when_a_record_waits_for_others(waiting: dict[Any, Waiting], excused: set[Any]) -> None:
    detector = UnreadDetector(PATIENCE_S)
    detector.unread({P0: Waiting(5, 1)}, NOBODY, 0.0)
    assert detector.unread(waiting, excused, 50.0) == {}
    assert detector.unread({P0: Waiting(5, 1)}, NOBODY, 60.0) == {}
    assert detector.unread({P0: Waiting(5, 1)}, NOBODY, 60.1 + bool(not waiting) * PATIENCE_S)


def test_while_no_broker_answers_nobody_is_blamed() -> None:
    detector = UnreadDetector(PATIENCE_S)
    detector.unread({P0: Waiting(5, 1)}, NOBODY, 0.0)
    detector.restart()
    assert detector.unread({P0: Waiting(5, 1)}, NOBODY, 100.0) == {}
    assert detector.unread({P0: Waiting(5, 1), P1: Waiting(5, 1)}, NOBODY, 110.1).keys() == {P0}
    detector.restart()
    assert detector.unread({P0: Waiting(5, 1), P1: Waiting(5, 1)}, NOBODY, 200.0).keys() == {P0}


class Admin:
    """An admin client of a broker whose topics hold three records each, and have none read.

    Args:
        refused: Error by what is asked for: a group, or a topic.
    """

    def __init__(self, **refused: int) -> None:
        self._refused = {name.replace("_", "-"): KafkaException(KafkaError(code)) for name, code in refused.items()}

    def committed(self, group: str, asked: list[TopicPartition]) -> list[TopicPartition]:
        if refusal := self._refused.get(group):
            raise refusal
        return [TopicPartition(each.topic, each.partition, OFFSET_INVALID) for each in asked]

    def list_offsets(self, asked: dict[TopicPartition, Any], **_: Any) -> dict[TopicPartition, Any]:
        # The specifications are -2 for the first offset and -1 for the end.
        return {
            place: self._answer(place.topic, SimpleNamespace(offset=3 * (spec._value == -1)))
            for place, spec in asked.items()
        }

    def _answer(self, name: str, answer: object) -> "Future[Any]":
        future: Future[Any] = Future()
        if name in self._refused:
            future.set_exception(self._refused[name])
        else:
            future.set_result(answer)
        return future


TWO: Final = {"item-signals": ["all", "items"], "examples": ["all"]}
COUNTS: Final = dict.fromkeys(TWO, 1)


def readers_of(admin: Admin) -> Readers:
    return Readers(cast(AdminClient, admin), admin.committed, TWO, Names())


def waiting(readers: Readers, *own: Any) -> set[str]:
    return {topic for (topic, _), each in readers.waiting(COUNTS, own).items() if each == Waiting(0, 3)}


def test_what_only_a_hidden_group_may_read_is_not_judged_and_that_is_told_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    assert waiting(readers_of(Admin())) == {"item-signals", "examples"}
    readers = readers_of(Admin(items=KafkaError.GROUP_AUTHORIZATION_FAILED))
    assert waiting(readers) == waiting(readers) == {"examples"}
    [told] = caplog.messages
    assert told.startswith("readers-unknown group=items topics=item-signals why=")


def test_a_topic_that_is_gone_is_left_to_others_and_a_silent_broker_is_an_error() -> None:
    gone = Admin(item_signals=KafkaError.UNKNOWN_TOPIC_OR_PART)
    assert waiting(readers_of(gone)) == {"examples"}
    for silent in (Admin(all=KafkaError._TIMED_OUT), Admin(examples=KafkaError._TRANSPORT)):
        with pytest.raises(KafkaException):
            readers_of(silent).waiting(COUNTS)


def test_what_a_worker_reads_itself_needs_no_answer_of_any_group() -> None:
    hidden = readers_of(Admin(all=KafkaError.GROUP_AUTHORIZATION_FAILED))
    assert waiting(hidden, P0, ("examples", 0)) == set()
    assert waiting(readers_of(Admin()), ("examples", 0)) == {"item-signals"}


@pytest.mark.broker
def test_of_several_groups_that_may_read_a_topic_the_furthest_counts_on_all_partitions_that_there_are() -> None:
    with EmbeddedBroker({"shop.item-signals": 3, "shop.examples": 1}) as broker:
        address: dict[str, str | int | float | bool] = {"bootstrap.servers": broker.bootstrap_servers, "log_level": 2}
        producer = Producer(address)
        for topic, number in (
            ("shop.item-signals", 0),
            ("shop.item-signals", 0),
            ("shop.item-signals", 2),
            ("shop.examples", 0),
        ):
            producer.produce(topic, b"", partition=number)
        assert producer.flush(HANG_S) == 0
        commits = {
            "all": [TopicPartition("shop.item-signals", 0, 1), TopicPartition("shop.item-signals", 2, 1)],
            "items": [TopicPartition("shop.item-signals", 0, 2)],
            "others": [TopicPartition("shop.examples", 0, 1)],
        }
        for group, places in commits.items():
            reader = Consumer({**address, "group.id": group})
            reader.commit(offsets=places, asynchronous=False)
            reader.close()
        settings = load_settings(environment={"KAFKA_BOOTSTRAP_SERVERS": broker.bootstrap_servers})
        readers = Readers(
            AdminClient(address),
            partial(committed_offsets, settings),
            {"item-signals": ["all", "items"], "examples": ["all"], "no-topic": ["all"]},
            Names("shop", "shop."),
        )
        assert readers.waiting({"item-signals": 3, "examples": 1}) == {
            ("item-signals", 0): Waiting(2, 0),
            ("item-signals", 1): Waiting(0, 0),
            ("item-signals", 2): Waiting(1, 0),
            ("examples", 0): Waiting(0, 1),
        }
