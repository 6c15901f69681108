"""Source epochs: a source that was deleted and made anew counts its offsets from 0 again, in the next epoch.

Within a fold an offset carries its epoch in the bits above :data:`EPOCH_BITS`, so that offsets of all epochs compare,
are stored and are hashed as one number. In epoch 0 it is the offset itself.
"""

from typing import Annotated, Final

import msgspec
from msgspec import Meta

EPOCH_BITS: Final = 48

MAX_SOURCES: Final = 64
"""Ids that a reader remembers."""

SourceId = Annotated[str, Meta(max_length=64)]
"""Id that the broker gave a topic when it was created; empty where brokers give none."""

SourcePosition = tuple[int, int]
"""Offset of an event and the number of what it caused."""

_ABOVE_ALL: Final = (1 << 63, 0)


def in_epoch(epoch: int, offset: int) -> int:
    """Returns an offset with its epoch; that of offset -1 is below all of the epoch and above all before it.

    >>> in_epoch(0, 41), epoch_of(in_epoch(2, 41)), plain_offset(in_epoch(2, 41)), epoch_of(in_epoch(1, -1))
    (41, 2, 41, 1)
    """
    return (epoch << EPOCH_BITS) + offset


def epoch_of(offset: int) -> int:
    """Returns the epoch of an offset; 0 for -1, which stands for nothing."""
    return (offset + 1) >> EPOCH_BITS


def plain_offset(offset: int) -> int:
    """Returns an offset as the broker counts it."""
    return offset - (epoch_of(offset) << EPOCH_BITS)


class AppliedPositions(msgspec.Struct, array_like=True):
    """Highest positions applied from each partition of the source that outputs go back to.

    A reader of outputs has epochs of its own, by the ids that come with them: rows that the writer has lost count their
    epochs from 0 again.

    Attributes:
        sources: Ids of the source in the order of their coming; the place of one is its epoch.
        last: Partition to epoch, offset and index.
    """

    sources: list[str] = []
    last: dict[int, tuple[int, int, int]] = {}

    def applied(self, source_id: str, partition: int) -> SourcePosition | None:
        """Returns the highest position applied from a partition of a source, ``None`` if there is none.

        Of a source that was made anew since, everything is applied.
        """
        epoch = self._epoch(source_id)
        last, offset, index = self.last.get(partition, (-1, -1, -1))
        if last == epoch:
            return offset, index
        return None if last < epoch else _ABOVE_ALL

    def advance(self, source_id: str, partition: int, position: SourcePosition) -> None:
        """Raises the highest position of a partition."""
        epoch = self._epoch(source_id)
        if source_id and source_id not in self.sources:
            self.sources.append(source_id)
        if len(self.sources) > MAX_SOURCES:
            del self.sources[0]
            epoch -= 1
            self.last = {number: (last - 1, offset, index) for number, (last, offset, index) in self.last.items()}
        applied = (epoch, *position)
        self.last[partition] = max(self.last.get(partition, applied), applied)

    def _epoch(self, source_id: str) -> int:
        if source_id in self.sources:
            return self.sources.index(source_id)
        # What has no id is of the present one.
        return len(self.sources) if source_id else max(len(self.sources) - 1, 0)
