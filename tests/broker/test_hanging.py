"""A transaction that has ended and was not told to a partition is ended there, the same way, by the id's next owner.

Kafka makes such transactions where its only node is killed at the right moment (KAFKA-20734). Here they are made by a
producer that writes to a partition without telling the coordinator, which a broker takes if it is told not to verify.
"""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from aiokafka import AIOKafkaProducer, TopicPartition
from confluent_kafka.admin import AdminClient
from confluent_kafka.admin._config import ConfigResource

from streams.contract.outputs import Output
from streams.contract.settings import Kafka, Settings
from streams.contract.topics import CLICKSTREAM, PREDICTIONS, USERS_CHANGELOG, topics
from streams.engine.transactions import TransactionalOutputs
from tests.broker.fresh import make_topics_anew, set_configs
from tests.broker.on_kafka import read_whole
from tests.engine.supervised import PARTITIONS
from tests.timeouts import HANG_S

pytestmark = pytest.mark.kafka

SOURCE = (CLICKSTREAM, 1)
ID = f"headrace.{CLICKSTREAM}.1"
TOLD = TopicPartition(PREDICTIONS, 1)
NOT_TOLD = TopicPartition(USERS_CHANGELOG, 1)


@pytest.fixture
def servers(kafka: str) -> Iterator[str]:
    make_topics_anew(kafka, topics(PARTITIONS, 1))
    with without_verification(kafka):
        yield kafka


@contextmanager
def without_verification(servers: str) -> Iterator[None]:
    client = AdminClient({"bootstrap.servers": servers})
    nodes = [str(node) for node in client.list_topics(timeout=HANG_S).brokers]

    def set_to(value: str) -> None:
        set_configs(client, ConfigResource.Type.BROKER, nodes, {"transaction.partition.verification.enable": value})

    set_to("false")
    try:
        yield
    finally:
        set_to("true")


async def leave_hanging(servers: str, *, commit: bool, partition: TopicPartition = NOT_TOLD) -> None:
    """Ends a transaction of which one partition hears nothing."""
    producer = AIOKafkaProducer(bootstrap_servers=servers, transactional_id=ID)
    async with producer:
        await producer.begin_transaction()
        producer._txn_manager._txn_partitions.add(partition)
        for there in {TOLD, NOT_TOLD}:
            await producer.send_and_wait(there.topic, b"before", b"key", there.partition)
        await (producer.commit_transaction() if commit else producer.abort_transaction())


async def take_over_and_write(servers: str, value: bytes) -> None:
    outputs = TransactionalOutputs(Settings(kafka=Kafka(bootstrap_servers=servers)))
    await outputs.take_over([SOURCE])
    if value:
        await outputs.emit(SOURCE, [Output(PREDICTIONS, b"key", value, 1)])
        await outputs.log(SOURCE, [Output(USERS_CHANGELOG, b"key", value, 1)])


def committed(servers: str, topic: str) -> list[bytes]:
    return [value for _, _, value in read_whole(servers, topic, PARTITIONS)]


def test_what_was_committed_can_be_read_before_the_changelog_is(servers: str) -> None:
    asyncio.run(leave_hanging(servers, commit=True))
    assert committed(servers, USERS_CHANGELOG) == []
    asyncio.run(take_over_and_write(servers, b""))
    assert committed(servers, USERS_CHANGELOG) == [b"before"]
    assert committed(servers, PREDICTIONS) == [b"before"]


def test_what_was_aborted_is_not_made_visible_by_the_next_commit(servers: str) -> None:
    asyncio.run(leave_hanging(servers, commit=False))
    asyncio.run(take_over_and_write(servers, b"after"))
    assert committed(servers, USERS_CHANGELOG) == [b"after"]
    assert committed(servers, PREDICTIONS) == [b"after"]


def test_an_output_that_hangs_is_found_as_the_changelog_is(servers: str) -> None:
    asyncio.run(leave_hanging(servers, commit=True, partition=TOLD))
    assert committed(servers, PREDICTIONS) == []
    asyncio.run(take_over_and_write(servers, b""))
    assert committed(servers, PREDICTIONS) == [b"before"]
