"""Batches with more events of one user than a worker remembers, which must be neither lost nor counted twice."""

import asyncio
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Final

from streams.contract.events import MAX_RETRIED_EVENTS
from streams.serving.clickstream import EventLog
from streams.serving.slates import Bounded
from streams.serving.tracking import Identified

_WRITTEN: Final = True


class LongBatches:
    """Writer of batches as libraries send them: whole, again after an error, and never in smaller parts.

    A worker recognises a retry among the last 64 events of its user. A longer batch is therefore written in parts, each
    acknowledged before the next, and the door remembers the events of the parts that were. When the batch comes again,
    these are left out, and of the part that failed the worker knows what it has. So none counts twice if the retry
    comes to the same door, and the door has not been restarted.

    Args:
        size: Events of long batches that are remembered.
    """

    def __init__(self, events: EventLog, size: int) -> None:
        self._events = events
        self._written: Bounded[int, bool] = Bounded(size)
        # A retry may come while the first attempt still waits for the broker.
        self._one_at_a_time = asyncio.Lock()

    async def append(self, records: Sequence[Identified]) -> None:
        """Appends records, as :meth:`EventLog.append` does."""
        parts = list(_parts(records))
        if len(parts) == 1:
            await self._append(records)
            return
        async with self._one_at_a_time:
            for part in parts:
                await self._append(part)
                for each in part:
                    self._written.put(_hash(each), _WRITTEN)

    async def _append(self, records: Sequence[Identified]) -> None:
        await self._events.append([each.record for each in records if self._written.get(_hash(each)) is None])


def _parts(records: Sequence[Identified]) -> Iterator[list[Identified]]:
    """Splits records into parts with at most 64 of each user, in their order."""
    by_part: list[list[Identified]] = [[]]
    counts: Counter[bytes | None] = Counter()
    for each in records:
        number = counts[each.record.key] // MAX_RETRIED_EVENTS
        counts[each.record.key] += 1
        if number == len(by_part):
            by_part.append([])
        by_part[number].append(each)
    return iter(by_part)


def _hash(identified: Identified) -> int:
    """Hashes user and event id to 64 bits: of 100,000, another one is among them with a probability of 5e-15."""
    return hash((identified.record.key, identified.event_id))
