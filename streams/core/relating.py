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
        self._append(offset, event, item_id, kind, related, event.category, event.price)
        for distance, other in enumerate(related):
            between = distance if kind == "view" else 0
            self._append(offset, event, other, _MIRRORED[kind], [item_id], None, None, between)

    def outputs(self) -> list[Output]:
        """Encodes what each partition is told, at most :data:`MAX_RELATIONS` a record."""
        return [
            Output(RELATIONS, None, MSGPACK.encode(RelationBatch(self._partition, part)), partition)
            for partition, relations in sorted(self._relations.items())
            for begin in range(0, len(relations), MAX_RELATIONS)
            for part in (relations[begin : begin + MAX_RELATIONS],)
        ]

    def _append(
        self,
        offset: int,
        event: Event,
        item_id: str,
        kind: str,
        related: list[str],
        category: str | None,
        price: float | None,
        distance: int = 0,
    ) -> None:
        self._index = self._index + 1 if offset == self._offset else 0
        self._offset = offset
        relation = Relation(offset, self._index, event.timestamp_ms, item_id, kind, category, price, related, distance)
        self._relations.setdefault(partition_of(item_id.encode(), self._partitions), []).append(relation)
