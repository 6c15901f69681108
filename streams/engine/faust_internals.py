"""What the engine touches inside Faust and aiokafka: names that their authors may change without a word.

A contract test asserts that each is there, and that the engine uses no other.
"""

from typing import Any, Final, NamedTuple

import aiokafka
from aiokafka.consumer.fetcher import Fetcher, PartitionRecords
from aiokafka.consumer.group_coordinator import GroupCoordinator
from aiokafka.producer.producer import AIOKafkaProducer
from faust.stores import rocksdb
from faust.tables.base import Collection
from faust.transport.consumer import Consumer
from faust.transport.drivers import aiokafka as driver

FAUST_VERSION: Final = "0.15.3"
"""The version that these were read in; pinned in pyproject.toml."""


class Internal(NamedTuple):
    """A private attribute or method, and what the engine wants of it."""

    owner: type[Any]
    name: str
    why: str


INTERNALS: Final = (
    Internal(driver.AIOKafkaConsumerThread, "_create_worker_consumer", "the one place to set aiokafka's fetch wait"),
    Internal(aiokafka.AIOKafkaConsumer, "_fetch_max_wait_ms", "Faust hard-codes 1,500 ms and passes nothing else on"),
    Internal(aiokafka.AIOKafkaConsumer, "_isolation_level", "Faust hard-codes read_uncommitted"),
    Internal(driver.AIOKafkaConsumerThread, "_fetch_records", "to tell how far the position moved, records or not"),
    Internal(aiokafka.AIOKafkaConsumer, "_fetcher", "to wait for what is fetched"),
    Internal(Fetcher, "_create_fetch_waiter", "to wait without taking"),
    Internal(PartitionRecords, "_consumer_record", "copies each record into eleven fields, of which four are read"),
    Internal(aiokafka.AIOKafkaConsumer, "_subscription", "the positions"),
    Internal(driver.AIOKafkaConsumerThread, "_consumer", "to give up a join when the worker ends"),
    Internal(aiokafka.AIOKafkaConsumer, "_coordinator", "whether it waits for its group"),
    Internal(GroupCoordinator, "_coordination_task", "to end that waiting"),
    Internal(GroupCoordinator, "_group_instance_id", "a static member does not leave"),
    Internal(aiokafka.AIOKafkaConsumer, "_client", "to leave on a connection that is not the waiting one's"),
    Internal(AIOKafkaProducer, "_txn_manager", "to have a partition in a transaction without writing to it"),
    Internal(driver.Consumer, "_new_consumer_thread", "to put in a thread that sets the fetch wait"),
    Internal(driver.Consumer, "_getmany", "where fetched runs become batches"),
    Internal(driver.Consumer, "_to_message", "makes one message of a batch"),
    Internal(
        Consumer, "_wait_next_records", "sleeps for a second where all buffers are full, even if one drains at once"
    ),
    Internal(Consumer, "_get_active_partitions", "which partitions have room"),
    Internal(Consumer, "_buffered_partitions", "which partitions have none"),
    Internal(Consumer, "_is_changelog_tp", "changelogs have no committed offset to go back to"),
    Internal(driver.Consumer, "_seek", "what is held must be forgotten, since it will be fetched again"),
    Internal(Consumer, "_add_gap", "batches are gaps to Faust; its book of them stalls the commits"),
    Internal(Consumer, "_new_offset", "what to commit, without that book"),
    Internal(Consumer, "_acked", "last offsets of the batches that are acknowledged and not yet committed"),
    Internal(Consumer, "_acked_index", "the same offsets, as a set"),
    Internal(rocksdb.Store, "_db_for_partition", "the database, to read and write many rows at once"),
    Internal(Collection, "_changelog_topic_name", "changelogs have the names of the topics list"),
    Internal(Collection, "_new_store_by_url", "to put in the store that works in batches"),
)
