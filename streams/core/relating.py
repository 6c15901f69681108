"""Relations of one batch: what its events say of items, gathered by the partition of the item."""

from typing import Final

from streams.contract.events import Event
from streams.contract.outputs import Output
from streams.contract.partitioning import partition_of
from streams.contract.records import MSGPACK, Relation, RelationBatch
from streams.contract.topics import RELATIONS

MAX_RELATIONS: Final = 2048
_MIRRORED: Final = {"view": "covisit", "purchase": "copurchase"}
"""What each related item is told of, by what the event says."""


class Relating:
    """Gathers relations in trigger order.

    Args:
        partition: Of the source.
        partitions: Of the relations topic.
    """

    def __init__(self, partition: int, partitions: int) -> None:
        self._partition = partition
        self._partitions = partitions
        self._relations: dict[int, list[Relation]] = {}
        self._offset = -1
        self._index = 0

    def add(self, offset: int, event: Event, item_id: str, kind: str, related: list[str]) -> None:
        """Adds what an event says of an item; each of the related items is told of it, too.

        Args:
            related: Items of the session before it, looked at or bought as it was, nearest first.
        """
        at_ms = event.timestamp_ms
        index = self._index + 1 if offset == self._offset else 0
        self._tell(Relation(offset, index, at_ms, item_id, kind, event.category, event.price, related))
        for distance, other in enumerate(related):
            index += 1
            between = distance if kind == "view" else 0
            self._tell(Relation(offset, index, at_ms, other, _MIRRORED[kind], None, None, [item_id], between))
        self._offset, self._index = offset, index

    def outputs(self) -> list[Output]:
        """Encodes what each partition is told, at most :data:`MAX_RELATIONS` a record."""
        return [
            Output(RELATIONS, None, MSGPACK.encode(RelationBatch(self._partition, part)), partition)
            for partition, relations in sorted(self._relations.items())
            for begin in range(0, len(relations), MAX_RELATIONS)
            for part in (relations[begin : begin + MAX_RELATIONS],)
        ]

    def _tell(self, relation: Relation) -> None:
        partition = partition_of(relation.item_id.encode(), self._partitions)
        self._relations.setdefault(partition, []).append(relation)
