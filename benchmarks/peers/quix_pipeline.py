"""The whole pipeline on Quix Streams: the same core event by event, its rows in Quix's RocksDB state with changelogs.

Quix hands a function the state of its record's key. Behaviour also matures the rows of others in its partition, so it
takes theirs from the same transaction. Quix sends a record where its key says, so learners and partitions of items are
keys here. It runs in a virtual environment of its own, see :mod:`benchmarks.table`.
"""

from collections.abc import Callable
from typing import Any

from quixstreams import State, message_context
from quixstreams.models.serializers import SerializationContext, Serializer
from quixstreams.models.topics import Topic

from benchmarks.peers.one_by_one import OneByOne, Record, Rows
from benchmarks.peers.quix import new_application
from streams.contract.outputs import Output
from streams.contract.settings import Settings
from streams.contract.topics import CLICKSTREAM, EXAMPLES, ITEM_SIGNALS, ITEMS, MODELS


class ValueOfOutput(Serializer):  # type: ignore[misc] # Quix is not installed here, so its classes are Any
    def __call__(self, value: Output, ctx: SerializationContext) -> bytes:
        return value.value


def rows_of(partition: int, state: State[Any, Any]) -> Rows:
    """Reads and writes all rows of a fold's partition, not only the one that belongs to the record's key."""
    rows = state._transaction.as_state(prefix=b"%d" % partition)
    return Rows(rows.get_bytes, rows.set_bytes)


def key_of(output: Output) -> bytes | None:
    return b"%d" % output.partition if output.key is None and output.partition is not None else output.key


def main() -> None:
    settings = Settings()
    folds = OneByOne(settings)
    partitions = {topic.name: topic.partitions for topic in settings.topics}
    app = new_application(lambda name: partitions[name.split("--")[1] if "--" in name else name])
    topics: dict[str, Topic] = {
        name: app.topic(
            name,
            key_serializer="bytes",
            key_deserializer="bytes",
            value_serializer=ValueOfOutput(),
            value_deserializer="bytes",
        )
        for name in partitions
    }
    place: dict[str, Callable[[bytes], int]] = {
        CLICKSTREAM: lambda _: message_context().partition,
        ITEM_SIGNALS: int,
        EXAMPLES: lambda key: settings.partition_of_learner(key.decode()),
    }

    def add(source: str) -> None:
        def fold(value: bytes, key: bytes, timestamp: int, _: Any, state: State[Any, Any]) -> list[Output]:
            partition = place[source](key)
            record = Record(message_context().offset, timestamp, key, value)
            return folds.fold(source, partition, record, rows_of(partition, state))

        outputs = app.dataframe(topics[source]).apply(fold, stateful=True, metadata=True, expand=True)
        outputs.to_topic(lambda output, *_: topics[output.topic], key=key_of)

    for source in place:
        add(source)
    app.dataframe(topics[ITEMS]).update(folds.take_item)
    app.dataframe(topics[MODELS]).update(folds.take_model)
    app.run()


if __name__ == "__main__":
    main()
