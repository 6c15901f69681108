"""The counting worker with one thing about its process otherwise: ``python -m benchmarks.untuned NAME``."""

import sys
from collections.abc import Callable
from typing import Any, Final

from aiokafka.consumer.fetcher import PartitionRecords

from streams.contract.settings import Engine, Kafka
from streams.engine import app, outputs, transport
from tests.engine import counting


def collector_as_python_has_it() -> None:
    app.collect_seldom = lambda: None


def allocator_as_glibc_has_it() -> None:
    app.keep_freed_memory = lambda: False


def turns_as_python_has_them() -> None:
    app.take_short_turns = lambda: None


def records_as_aiokafka_has_them() -> None:
    transport.PlainRecords._consumer_record = PartitionRecords._consumer_record


def linger_5_ms() -> None:
    _produce_with("linger.ms", 5)


def uncompressed() -> None:
    _produce_with("compression.type", "none")


def _produce_with(key: str, value: Any) -> None:
    original = outputs.producer_configuration

    def changed(kafka: Kafka, engine: Engine) -> dict[str, Any]:
        return {**original(kafka, engine), key: value}

    outputs.producer_configuration = changed


def uvloop() -> None:
    """Needs uvloop, which Headrace does not: ``pip install uvloop``."""
    import uvloop as library

    library.install()


UNTUNED: Final[dict[str, Callable[[], None]]] = {
    function.__name__: function
    for function in (
        collector_as_python_has_it,
        allocator_as_glibc_has_it,
        turns_as_python_has_them,
        records_as_aiokafka_has_them,
        linger_5_ms,
        uncompressed,
        uvloop,
    )
}

if __name__ == "__main__":
    UNTUNED[sys.argv.pop()]()
    counting.main()
