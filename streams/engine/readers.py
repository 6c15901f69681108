"""Readers of the sources: shows by committed offsets whether somebody reads each partition of each source.

A description of the consumer groups would show to whom a partition is assigned, not whether it is read: Faust drops a
topic that was deleted for a moment and keeps its assignment. The embedded broker does not describe groups at all.
"""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Any, Final, NamedTuple

from confluent_kafka import IsolationLevel, KafkaError, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient
from confluent_kafka.admin._listoffsets import OffsetSpec

from streams.contract.names import Names
from streams.engine.incidents import READERS_UNKNOWN, report
from streams.engine.reachability import refusal_of

Partition = tuple[str, int]
Committed = Callable[[str, list[TopicPartition]], list[TopicPartition]]

_ANSWER_S: Final = 5.0
_READ_COMMITTED: Final = IsolationLevel.READ_COMMITTED


class Waiting(NamedTuple):
    """Records of a partition that no group has read.

    Attributes:
        position: Offset up to which groups have read.
        records: Offsets from there to the end.
    """

    position: int
    records: int


class Unread(NamedTuple):
    """A partition whose records nobody reads, and for how long that has been so."""

    records: int
    seconds: float


def by_place(unread: Mapping[Partition, Unread]) -> dict[str, Unread]:
    """Names partitions as logs and metrics do, in order."""
    return {f"{topic}-{number}": each for (topic, number), each in sorted(unread.items())}


class UnreadDetector:
    """Detector of partitions that nobody reads; the caller passes the time of a monotonic clock.

    Args:
        patience_s: How long a partition may have records while no group's position moves.
    """

    def __init__(self, patience_s: float) -> None:
        self._patience_s = patience_s
        self._moved: dict[Partition, tuple[int, float]] = {}
        self._unread: dict[Partition, Unread] = {}

    def restart(self) -> None:
        """Gives every partition the whole patience anew, but for those that are unread already."""
        self._moved = {partition: moved for partition, moved in self._moved.items() if partition in self._unread}

    def unread(
        self, waiting: Mapping[Partition, Waiting], excused: Collection[Partition], now_s: float
    ) -> dict[Partition, Unread]:
        """Returns the partitions whose records have waited for too long.

        Args:
            waiting: All partitions that can be judged now.
            excused: Partitions whose time begins anew: those that are being assigned.
        """
        moved: dict[Partition, tuple[int, float]] = {}
        unread: dict[Partition, Unread] = {}
        for partition, (position, records) in waiting.items():
            last_position, since_s = self._moved.get(partition, (position, now_s))
            if position != last_position or not records or partition in excused:
                since_s = now_s
            moved[partition] = position, since_s
            if now_s - since_s > self._patience_s:
                unread[partition] = Unread(records, now_s - since_s)
        self._moved, self._unread = moved, unread
        return unread


class Readers:
    """Reads the committed offsets of the groups that may read the sources; for one thread.

    Topics are called as in the code.

    Args:
        committed: :func:`~streams.engine.offsets.committed_offsets` of the cluster.
        groups: Source topic to the consumer groups whose members may read it.
    """

    def __init__(
        self, client: AdminClient, committed: Committed, groups: Mapping[str, Sequence[str]], names: Names
    ) -> None:
        self._client = client
        self._committed_by = committed
        self._groups = groups
        self._names = {topic: names.topic(topic) for topic in groups}
        self._called = {name: topic for topic, name in self._names.items()}
        self._reported: set[str] = set()

    def waiting(self, counts: Mapping[str, int], own: Collection[Partition] = frozenset()) -> dict[Partition, Waiting]:
        """Returns what waits in each partition of the sources; partitions that cannot be judged now are left out.

        Args:
            counts: Number of partitions of each topic that is there.
            own: Partitions that this worker reads; they are left out, too.

        Raises:
            KafkaException: The broker did not answer.
        """
        there = [(topic, number) for topic in self._groups for number in range(counts.get(topic, 0))]
        partitions = [partition for partition in there if partition not in own]
        if not partitions:
            return {}
        committed, unknown = self._committed(partitions)
        firsts, ends = (self._offsets(partitions, spec) for spec in (OffsetSpec.earliest(), OffsetSpec.latest()))  # type: ignore[no-untyped-call] # ships no types for it
        waiting = {}
        for partition in partitions:
            if partition in firsts and partition in ends and not unknown.intersection(self._groups[partition[0]]):
                position = max(committed.get(partition, 0), firsts[partition])
                waiting[partition] = Waiting(position, max(0, ends[partition] - position))
        return waiting

    def _committed(self, partitions: Iterable[Partition]) -> tuple[dict[Partition, int], set[str]]:
        """Returns the highest committed offset of each partition, and the groups that may not be described."""
        committed: dict[Partition, int] = {}
        unknown = set()
        for group in sorted({group for groups in self._groups.values() for group in groups}):
            asked = [self._place(partition) for partition in partitions if group in self._groups[partition[0]]]
            if not asked:
                continue
            try:
                answered = self._committed_by(group, asked)
            except KafkaException as error:
                self._report_unknown(group, refusal_of(error))
                unknown.add(group)
                continue
            for place in answered:
                partition = self._called[place.topic], place.partition
                committed[partition] = max(committed.get(partition, 0), place.offset)
        return committed, unknown

    def _offsets(self, partitions: Iterable[Partition], spec: Any) -> dict[Partition, int]:
        asked = {self._place(partition): spec for partition in partitions}
        found = {}
        answers = self._client.list_offsets(asked, isolation_level=_READ_COMMITTED, request_timeout=_ANSWER_S)
        for place, future in answers.items():
            try:
                found[self._called[place.topic], place.partition] = int(future.result().offset)
            except KafkaException as error:
                refusal_of(error)  # The topic is gone or the partition has no leader, which others say.
        return found

    def _place(self, partition: Partition) -> TopicPartition:
        topic, number = partition
        return TopicPartition(self._names[topic], number)

    def _report_unknown(self, group: str, error: KafkaError) -> None:
        if group not in self._reported:
            self._reported.add(group)
            topics = ",".join(topic for topic, groups in self._groups.items() if group in groups)
            report(READERS_UNKNOWN, group=group, topics=topics, why=error.str())
