"""Watermark of a partition, which one wrong clock cannot move.

A confirmed event and a tick advance it alone. Unconfirmed events, whose time nobody but their client vouches for, do so
only where several users have come as far: the candidate is the k-th largest of the users' latest event times.
"""

from typing import Final, NamedTuple
from zlib import crc32

from streams.contract.events import Event
from streams.contract.fold import PartitionRow

JUMP_MS: Final = 24 * 3_600_000
"""An event that advances the watermark by more than this at once is worth a look."""


class TimedEvent(NamedTuple):
    """An event with its effective time, and what the broker's clock says of it.

    Attributes:
        event: Its ``timestamp_ms`` is not after the broker's time of writing, where that is known.
        is_confirmed: Whether it was written within the allowed lateness of its time, by the broker's clock.
        is_clamped: Whether its own time was after the broker's.
    """

    event: Event
    is_confirmed: bool = False
    is_clamped: bool = False


class Watermark:
    """Watermark in memory: advances event by event, the same in any batches.

    Args:
        reached_ms: The watermark so far, -1 at the beginning.
        latest: User hash and latest event time of the ``confirming_users`` users with the latest, from unconfirmed
            events. Two users of one hash count as one.
    """

    def __init__(self, reached_ms: int, latest: list[tuple[int, int]], lateness_ms: int, confirming_users: int) -> None:
        self.reached_ms = reached_ms
        self.latest = latest[:confirming_users]
        self._lateness_ms = lateness_ms
        self._confirming_users = confirming_users

    def advance(self, timed: TimedEvent) -> int:
        """Applies one event; returns the watermark."""
        event, is_confirmed, _ = timed
        at_ms = event.timestamp_ms
        if event.user_id is not None and not is_confirmed:
            at_ms = self._confirm(event.user_id, at_ms)
        self.reached_ms = max(self.reached_ms, at_ms - self._lateness_ms)
        return self.reached_ms

    def _confirm(self, user_id: str, at_ms: int) -> int:
        """Returns the event time that enough users have reached, -1 while there are too few users.

        Users' latest times only grow, so that one who falls out of the list and is not back in it is still below it.
        """
        latest, wanted = self.latest, self._confirming_users
        if len(latest) == wanted and at_ms <= latest[-1][1]:
            return latest[-1][1]
        user = crc32(user_id.encode())
        for place, (other, other_ms) in enumerate(latest):
            if other == user:
                if at_ms <= other_ms:
                    break
                del latest[place]
                latest.append((user, at_ms))
                break
        else:
            if len(latest) == wanted:
                del latest[-1]
            latest.append((user, at_ms))
        latest.sort(key=lambda entry: -entry[1])
        return latest[-1][1] if len(latest) == wanted else -1


def watermark_of(row: PartitionRow, lateness_ms: int, confirming_users: int) -> Watermark:
    """Makes the watermark of a partition's row; the row itself does not change."""
    return Watermark(row.watermark_ms, list(row.latest), lateness_ms, confirming_users)
