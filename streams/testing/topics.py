"""Topics in memory."""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from streams.contract.events import LATEST_TIMESTAMP_MS
from streams.contract.outputs import Output
from streams.contract.partitioning import partition_of


class MemoryRecord(NamedTuple):
    """A record of a topic in memory."""

    offset: int
    timestamp: int
    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes], ...] = ()
    timestamp_type: int = 0


class MemoryTopics:
    """All topics: what was produced stays, in order.

    >>> topics = MemoryTopics({"words": 4})
    >>> topics.append(Output("words", b"rose", b"rose"))
    3
    >>> topics.values("words")
    [b'rose']

    Args:
        partitions: How many partitions each topic has to which records go by their key.
        now_ms: See below. By default no event is ahead of it, so that none is refused as being so.

    Attributes:
        records: By topic and partition; an offset is a place in the list.
        now_ms: The broker's clock: the timestamp of the records that are appended next. Set it to let time pass.
        ids: Topic to the id that the broker gave it; without one, workers do not know a topic that was made anew.
    """

    def __init__(self, partitions: Mapping[str, int], now_ms: int = LATEST_TIMESTAMP_MS) -> None:
        self.partitions = dict(partitions)
        self.records: dict[tuple[str, int], list[MemoryRecord]] = defaultdict(list)
        self.now_ms = now_ms
        self.ids: dict[str, str] = {}

    def make_anew(self, topic: str, topic_id: str) -> None:
        """Deletes all records of a topic, which has another id from then on."""
        self.ids[topic] = topic_id
        for number in range(self.partitions[topic]):
            self.records[topic, number] = []

    def append(self, output: Output, timestamp_ms: int | None = None) -> int:
        """Produces one record, to its explicit partition or to its key's; returns the partition.

        Args:
            timestamp_ms: Of the record; ``now_ms`` by default.
        """
        number = output.partition
        if number is None:
            number = partition_of(output.key or b"", self.partitions[output.topic])
        records = self.records[output.topic, number]
        at_ms = self.now_ms if timestamp_ms is None else timestamp_ms
        records.append(MemoryRecord(len(records), at_ms, output.key, output.value, output.headers))
        return number

    def extend(self, outputs: Iterable[Output]) -> None:
        for output in outputs:
            self.append(output)

    def values(self, topic: str) -> list[bytes]:
        """Lists the values of a topic, partition by partition."""
        return MemoryReader(self, topic).take()


class MemoryReader:
    """Reads a topic from its beginning, all partitions."""

    def __init__(self, topics: MemoryTopics, topic: str) -> None:
        self._topics = topics
        self._topic = topic
        self._next = [0] * topics.partitions[topic]

    def take(self) -> list[bytes]:
        """Takes the values that have come since the last call, partition by partition."""
        return [record.value or b"" for record in self.take_records()]

    def take_records(self) -> list[MemoryRecord]:
        """Takes the records, with their keys; a tombstone's value is empty."""
        taken: list[MemoryRecord] = []
        for number, begin in enumerate(self._next):
            records = self._topics.records[self._topic, number]
            taken += records[begin:]
            self._next[number] = len(records)
        return taken
