"""The private names of Faust and aiokafka that the engine relies on are there, and there are no others.

A release may change them without notice.
"""

import ast
import importlib
import inspect
import pkgutil
from collections.abc import Iterator
from importlib.metadata import version
from typing import Any, Final, NamedTuple

import aiokafka
import mode
import pytest
from aiokafka.consumer.fetcher import Fetcher, PartitionRecords
from aiokafka.consumer.group_coordinator import GroupCoordinator
from aiokafka.producer.producer import AIOKafkaProducer
from faust.stores import rocksdb
from faust.tables.base import Collection
from faust.tables.manager import TableManager
from faust.transport.consumer import Consumer
from faust.transport.drivers import aiokafka as driver

import streams.engine

MODULES = [
    importlib.import_module(f"streams.engine.{module.name}") for module in pkgutil.iter_modules(streams.engine.__path__)
]
FOREIGN = ("faust", "aiokafka", "mode")

FAUST_VERSION: Final = "0.15.3"
"""The version whose source was read; pinned in pyproject.toml."""


class Internal(NamedTuple):
    """A private attribute or method, and why the engine uses it."""

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
    Internal(TableManager, "_update_channels", "what a start does, but for its second of sleep"),
    Internal(mode.Worker, "_sentinel_task", "sleeps for a second at the end, and does nothing"),
    Internal(Collection, "_changelog_topic_name", "changelogs have the names of the topics list"),
    Internal(Collection, "_new_store_by_url", "to put in the store that works in batches"),
)


def has(owner: type[Any], name: str) -> bool:
    """Says whether a class has the attribute, or sets it when it is made."""
    made = (vars(base)["__init__"] for base in owner.__mro__ if inspect.isfunction(vars(base).get("__init__")))
    return hasattr(owner, name) or any(name in function.__code__.co_names for function in made)


@pytest.mark.parametrize("internal", INTERNALS, ids=lambda internal: f"{internal.owner.__qualname__}.{internal.name}")
def test_every_private_name_that_the_engine_touches_is_there(internal: Internal) -> None:
    assert has(internal.owner, internal.name), (
        f"{internal.owner.__module__}.{internal.owner.__qualname__} has no {internal.name} any more ({internal.why}); "
        f"the engine was written for Faust {FAUST_VERSION}, this is {version('faust-streaming')}"
    )


def test_faust_is_of_the_version_that_was_read() -> None:
    assert version("faust-streaming") == FAUST_VERSION


def private_names(tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute):
            yield node.attr
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node.name


def own_names(tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node.name
        elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store) and ast.unparse(node.value) == "self":
            yield node.attr


ERROR_CODES: Final = {
    "_AUTHENTICATION",
    "_BAD_MSG",
    "_FENCED",
    "_PARTITION_EOF",
    "_RESOLVE",
    "_SSL",
    "_UNSUPPORTED_FEATURE",
}
"""Of the Kafka client's own errors, which begin so."""


def test_the_engine_touches_no_other_private_name() -> None:
    """Own private names are those that the engine's classes and modules make; all else must be listed."""
    listed = {internal.name for internal in INTERNALS}
    touched: set[str] = set()
    for module in MODULES:
        tree = ast.parse(inspect.getsource(module))
        own = set(own_names(tree))
        foreign = {
            name
            for kind in vars(module).values()
            if inspect.isclass(kind) and kind.__module__ == module.__name__
            for base in kind.__mro__
            if base.__module__.partition(".")[0] in FOREIGN
            for name in vars(base)
        }
        names = {name for name in private_names(tree) if name.startswith("_") and not name.startswith("__")}
        touched |= {name for name in names if name not in own or name in foreign}
    # `_replace` of a named tuple is public.
    assert touched - {"_exit", "_replace"} == listed | ERROR_CODES
