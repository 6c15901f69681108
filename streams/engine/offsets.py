"""First, end and committed offsets, and partition counts, as the broker reports them."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final, NamedTuple

from confluent_kafka import OFFSET_INVALID, Consumer, KafkaException, Message, TopicPartition

from streams.contract.connection import reader_configuration
from streams.contract.errors import RefusedStart
from streams.contract.fold import record_digest
from streams.contract.settings import Settings
from streams.engine.reachability import no_topic

_ANSWER_S: Final = 5.0


class Coverage(NamedTuple):
    """Offsets ``[first, end)`` that the broker retains of one partition."""

    first: int
    end: int


def committed_offsets(settings: Settings, group: str, places: list[TopicPartition]) -> list[TopicPartition]:
    """Returns the committed offsets of any group, negative where it has committed none.

    A consumer asks that lives for this question only, about 3 ms of CPU. An admin client could ask, but librdkafka
    aborts the process if the coordinator goes away meanwhile (its issues 3663 and 4605, open in 2.16).

    Raises:
        cimpl.KafkaException: The broker did not answer in time, or the group may not be described.
    """
    client = Consumer(reader_configuration(settings, group))
    try:
        return list(client.committed(places, _ANSWER_S))
    finally:
        client.close()


class Offsets:
    """Client that reads offsets and partition counts; joins no group; for one thread at a time.

    Topics are called as in the code.

    Args:
        group: Consumer group for :meth:`committed`.

    Raises (all methods):
        cimpl.KafkaException: The broker did not answer in time.
    """

    def __init__(self, settings: Settings, group: str = "", timeout_s: float = 10.0) -> None:
        self._timeout_s = timeout_s
        self._settings = settings
        self._names = settings.names
        self._client = Consumer({**reader_configuration(settings, group), "auto.offset.reset": "earliest"})

    def coverage(self, topic: str, partition: int) -> Coverage:
        first, end = self._client.get_watermark_offsets(self._place(topic, partition), self._timeout_s)
        return Coverage(first, end)

    def committed(self, topic: str, partition: int) -> int:
        """Returns the group's committed offset, or the first retained one if it has committed none."""
        [answer] = self._client.committed([self._place(topic, partition)], self._timeout_s)
        if answer.error is not None:
            raise KafkaException(answer.error)
        return self.coverage(topic, partition).first if answer.offset == OFFSET_INVALID else int(answer.offset)

    def next_record(self, topic: str, partition: int, offset: int) -> int | None:
        """Returns the offset of the first record at ``offset`` or above; transaction markers are not records."""
        found = self._first(topic, partition, offset)
        return None if found is None else found.offset()

    def digest(self, topic: str, partition: int, offset: int) -> tuple[int, int] | None:
        """Returns the digest of the record at an offset; ``None`` if it is not retained."""
        first, end = self.coverage(topic, partition)
        found = self._first(topic, partition, offset) if first <= offset < end else None
        if found is None or found.offset() != offset:
            return None
        key = found.key()
        return record_digest(found.timestamp()[1], key if isinstance(key, bytes) else None)

    def counts(self, topics: Iterable[str]) -> dict[str, int]:
        """Counts the partitions of those topics that are there."""
        found = self._there()
        names = {topic: self._names.topic(topic) for topic in topics}
        return {topic: len(found[name].partitions) for topic, name in names.items() if name in found}

    def partitions(self, topic: str) -> int:
        """Counts the partitions of a topic.

        Raises:
            RefusedStart: There is no such topic.
        """
        found = self._there()
        if (name := self._names.topic(topic)) not in found:
            raise RefusedStart(no_topic(topic, self._settings, found))
        return len(found[name].partitions)

    def refuse_other_counts(
        self, expected: Mapping[str, int], how_to_begin_anew: Callable[[Mapping[str, int]], str]
    ) -> None:
        """Compares partition counts with the expected ones.

        Args:
            how_to_begin_anew: Says it for the counts that were found.

        Raises:
            RefusedStart: A topic is missing, or has another count: events would not reach the partitions of their rows.
        """
        found = {topic: self.partitions(topic) for topic in sorted(expected)}
        unequal = [
            f"{self._names.topic(name)} has {count}, not {expected[name]}"
            for name, count in found.items()
            if count != expected[name]
        ]
        if unequal:
            raise RefusedStart(
                f"partitions differ: {', '.join(unequal)}. Events would not reach the partitions of their rows. Where "
                "there are no rows yet, set kafka.partitions to what the topics have and run `headrace topics create`. "
                f"Where there are, {how_to_begin_anew(found)}"
            )

    def _first(self, topic: str, partition: int, offset: int) -> Message | None:
        self._client.assign([self._place(topic, partition, offset)])
        try:
            return next((each for each in self._client.consume(1, self._timeout_s) if not each.error()), None)
        finally:
            self._client.unassign()

    def _there(self) -> Mapping[str, Any]:
        # All topics are listed, because asking for one by name may create it.
        found: dict[str, Any] = self._client.list_topics(timeout=self._timeout_s).topics
        return found

    def _place(self, topic: str, partition: int, offset: int = OFFSET_INVALID) -> TopicPartition:
        return TopicPartition(self._names.topic(topic), partition, offset)

    def close(self) -> None:
        self._client.close()

    def __enter__(self) -> "Offsets":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
