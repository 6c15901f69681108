"""What the broker has: first, end and committed offsets, and partition counts, asked by a client of our own."""

from collections.abc import Mapping
from types import TracebackType
from typing import NamedTuple

from confluent_kafka import OFFSET_INVALID, Consumer, KafkaException, TopicPartition

from streams.contract.connection import client_configuration
from streams.contract.errors import RefusedStart
from streams.contract.settings import Kafka


class Coverage(NamedTuple):
    """What the broker has of one partition: offsets ``[first, end)``."""

    first: int
    end: int


class Offsets:
    """Asks the broker about topics; it never joins a group. For one thread at a time.

    Args:
        group: Consumer group whose commits are asked for.

    Raises (all methods):
        cimpl.KafkaException: The broker did not answer in time.
    """

    def __init__(self, kafka: Kafka, group: str = "headrace-offsets", timeout_s: float = 10.0) -> None:
        self._timeout_s = timeout_s
        self._client = Consumer(
            {
                **client_configuration(kafka),
                "group.id": group,
                "enable.auto.commit": False,
                "auto.offset.reset": "earliest",
                "log_level": 2,
            }
        )

    def coverage(self, topic: str, partition: int) -> Coverage:
        """Returns what a partition has now."""
        first, end = self._client.get_watermark_offsets(TopicPartition(topic, partition), self._timeout_s)
        return Coverage(first, end)

    def committed(self, topic: str, partition: int) -> int:
        """Returns the offset at which the group goes on: what it committed, else the first that is there."""
        [answer] = self._client.committed([TopicPartition(topic, partition)], self._timeout_s)
        if answer.error is not None:
            raise KafkaException(answer.error)
        return self.coverage(topic, partition).first if answer.offset == OFFSET_INVALID else int(answer.offset)

    def next_record(self, topic: str, partition: int, offset: int) -> int | None:
        """Returns the offset of the first record at ``offset`` or above; markers of transactions are no records."""
        self._client.assign([TopicPartition(topic, partition, offset)])
        try:
            found = [message.offset() for message in self._client.consume(1, self._timeout_s) if not message.error()]
        finally:
            self._client.unassign()
        return found[0] if found else None

    def partitions(self, topic: str) -> int:
        """Counts the partitions of a topic.

        Raises:
            RefusedStart: There is no such topic.
        """
        # All topics are listed, since to ask for one by name may create it.
        found = self._client.list_topics(timeout=self._timeout_s).topics.get(topic)
        if found is None:
            raise RefusedStart(f"there is no topic {topic}; run `headrace topics create` first")
        return len(found.partitions)

    def refuse_other_counts(self, expected: Mapping[str, int]) -> None:
        """Compares the numbers of partitions with those that the settings imply.

        Raises:
            RefusedStart: A topic is missing, or has another number of partitions: rows and their events would not meet.
        """
        found = {topic: self.partitions(topic) for topic in sorted(expected)}
        unequal = [
            f"{name} has {count}, not {expected[name]}" for name, count in found.items() if count != expected[name]
        ]
        if unequal:
            raise RefusedStart(
                f"partitions differ: {', '.join(unequal)}; keys would move to other partitions than their rows: "
                "set kafka.partitions to what is there, or start on new topics"
            )

    def close(self) -> None:
        """Ends the connection."""
        self._client.close()

    def __enter__(self) -> "Offsets":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
