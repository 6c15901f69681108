"""Admission: how much of a shop's traffic is taken, so that no single user or producer can take all the room."""

from streams.contract.errors import RejectedRecord
from streams.contract.events import Event
from streams.contract.fold import SourceRecord
from streams.contract.settings import Admission as Limits
from streams.core.row import UserRow

_MINUTE_MS = 60_000


class Admission:
    """Refuses by what the record, the event and the user's row say, so the same log is always admitted alike."""

    def __init__(self, limits: Limits, ahead_tolerance_s: float) -> None:
        self._limits = limits
        self._ahead_ms = int(ahead_tolerance_s * 1000)
        self._behind_ms = int(limits.behind_s * 1000)
        self._late_ms = int(limits.late_s * 1000)

    def check(self, record: SourceRecord, event: Event) -> None:
        """Judges a record by itself.

        Raises:
            RejectedRecord: with reason ``oversized``, ``ahead`` or ``behind``.
        """
        size = len(record.value or b"")
        if size > self._limits.event_bytes:
            raise RejectedRecord("oversized", f"{size} bytes, admission.event_bytes is {self._limits.event_bytes}")
        ahead_ms = event.timestamp_ms - record.timestamp
        if ahead_ms > self._ahead_ms:
            raise RejectedRecord("ahead", f"the event is {ahead_ms / 1000:.0f} s ahead of its record")
        if self._behind_ms and -ahead_ms > self._behind_ms:
            raise RejectedRecord("behind", f"the event is {-ahead_ms / 1000:.0f} s behind its record")

    def admits(self, row: UserRow, event: Event, watermark_ms: int) -> RejectedRecord | None:
        """Counts an event in its user's minute, and returns why it is too old or too many where it is.

        A minute is never counted anew: events that are older than the latest one's minute count in that.
        """
        late_ms = watermark_ms - event.timestamp_ms
        if self._late_ms and late_ms > self._late_ms:
            return RejectedRecord("stale", f"the event is {late_ms / 1000:.0f} s behind its partition's watermark")
        minute = event.timestamp_ms // _MINUTE_MS
        if minute > row.minute:
            row.minute, row.minute_events = minute, 0
        row.minute_events += 1
        limit = self._limits.user_events_per_minute
        if row.minute_events <= limit:
            return None
        return RejectedRecord("flood", f"more than {limit} events of one user in a minute")
