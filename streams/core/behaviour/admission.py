"""Admission control: refuses events that are too large, too old, ahead of time, or too many of one user."""

from streams.contract.errors import RejectedRecord
from streams.contract.event_kinds import KINDS
from streams.contract.events import Event
from streams.contract.fold import SourceRecord
from streams.contract.settings import Admission as Limits
from streams.core.behaviour.row import UserRow

_MINUTE_MS = 60_000


class Admission:
    """Checks that read only the record, the event and the user's row, so the same log is always admitted the same."""

    def __init__(self, limits: Limits, ahead_tolerance_s: float) -> None:
        self._limits = limits
        self._ahead_ms = int(ahead_tolerance_s * 1000)
        self._behind_ms = int(limits.behind_s * 1000)
        self._late_ms = int(limits.late_s * 1000)

    def check(self, record: SourceRecord, event: Event) -> None:
        """Checks a record without its user's row. One without a timestamp, as Kafka allows, is not judged by it.

        Raises:
            RejectedRecord: with reason ``oversized``, ``ahead`` or ``behind``.
        """
        size = len(record.value or b"")
        if size > self._limits.event_bytes:
            raise RejectedRecord("oversized", f"{size} bytes, admission.event_bytes is {self._limits.event_bytes}")
        if record.timestamp < 0:
            return
        ahead_ms = event.timestamp_ms - record.timestamp
        if ahead_ms > self._ahead_ms:
            raise RejectedRecord("ahead", f"the event is {ahead_ms / 1000:.0f} s ahead of its record")
        if self._behind_ms and -ahead_ms > self._behind_ms:
            raise RejectedRecord("behind", f"the event is {-ahead_ms / 1000:.0f} s behind its record")

    def admits(self, row: UserRow, event: Event, watermark_ms: int) -> RejectedRecord | None:
        """Counts an event in its user's minute; returns a rejection if it is too old, or one too many.

        An event that is older than the latest minute counts in the latest minute, so that no minute is counted twice.
        A request is never too old: somebody waits for the answer, and it is nothing that the shopper did.
        """
        late_ms = watermark_ms - event.timestamp_ms
        if self._late_ms and late_ms > self._late_ms and KINDS[event.kind].role != "request":
            return RejectedRecord("stale", f"the event is {late_ms / 1000:.0f} s behind its partition's watermark")
        minute = event.timestamp_ms // _MINUTE_MS
        if minute > row.minute:
            row.minute, row.minute_events = minute, 0
        row.minute_events += 1
        limit = self._limits.user_events_per_minute
        if row.minute_events <= limit:
            return None
        return RejectedRecord("flood", f"more than {limit} events of one user in a minute")
