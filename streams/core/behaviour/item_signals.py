"""Item signals of one batch, gathered by the partition of the item."""

from collections.abc import Sequence
from typing import Final

from streams.contract.events import Event
from streams.contract.outputs import Output
from streams.contract.partitioning import partition_of
from streams.contract.records import MSGPACK, ItemSignal, ItemSignalBatch, SignalKind
from streams.contract.topics import ITEM_SIGNALS

MAX_ITEM_SIGNALS: Final = 2048
_MIRRORED: Final[dict[SignalKind, SignalKind]] = {"view": "covisit", "purchase": "copurchase"}
"""Kind of the signal that each related item gets, by the kind of event."""


class ItemSignals:
    """Gathers signals in source position order.

    Args:
        partition: Of the source.
        partitions: Of the item-signals topic.
        source_id: Id of the source topic.
    """

    def __init__(self, partition: int, partitions: int, source_id: str) -> None:
        self._partition = partition
        self._partitions = partitions
        self._source_id = source_id
        self._signals: dict[int, list[ItemSignal]] = {}
        self._offset = -1
        self._index = 0

    def add(self, offset: int, event: Event, item_id: str, kind: SignalKind, related: Sequence[str]) -> None:
        """Adds the signal of an event for an item, and one for each of the related items.

        Args:
            related: Earlier items of the session, viewed like it or bought like it, nearest first.
        """
        at_ms = event.timestamp_ms
        index = self._index + 1 if offset == self._offset else 0
        self._append(ItemSignal(offset, index, at_ms, item_id, kind, event.category, event.price, [*related]))
        for distance, other in enumerate(related):
            index += 1
            between = distance if kind == "view" else 0
            self._append(ItemSignal(offset, index, at_ms, other, _MIRRORED[kind], None, None, [item_id], between))
        self._offset, self._index = offset, index

    def outputs(self) -> list[Output]:
        """Encodes the signals by partition, at most :data:`MAX_ITEM_SIGNALS` a record."""
        return [
            Output(
                ITEM_SIGNALS, None, MSGPACK.encode(ItemSignalBatch(self._partition, part, self._source_id)), partition
            )
            for partition, signals in sorted(self._signals.items())
            for begin in range(0, len(signals), MAX_ITEM_SIGNALS)
            for part in (signals[begin : begin + MAX_ITEM_SIGNALS],)
        ]

    def _append(self, signal: ItemSignal) -> None:
        partition = partition_of(signal.item_id.encode(), self._partitions)
        self._signals.setdefault(partition, []).append(signal)
