"""What is too much is refused with its reason, kept as a dead letter and counted; the rest goes on untouched."""

from typing import Any

import msgspec
import pytest

from streams.contract.errors import RejectedRecord
from streams.contract.events import Event, decode_event, encode_event
from streams.contract.settings import Admission, Kafka
from streams.contract.topics import CLICKSTREAM, DEAD_LETTERS
from streams.testing import MemoryRecord, Pipeline
from tests.behaviour.small_shop import SETTINGS

START_MS = 1_700_000_040_000  # the beginning of a minute
LIMIT = 5


def view(number: int, at_s: float, user: str = "robot", **fields: Any) -> Event:
    return Event(
        event_id=f"{user}-{number}",
        timestamp_ms=START_MS + int(at_s * 1000),
        kind="view",
        user_id=user,
        item_id="shoe",
        **fields,
    )


def pipeline(**limits: Any) -> Pipeline:
    admission = Admission(**{"user_events_per_minute": LIMIT, **limits})
    return Pipeline(msgspec.structs.replace(SETTINGS, admission=admission, kafka=Kafka(partitions=1)))


def folded(events: list[Event], batch_records: int) -> Pipeline:
    it = pipeline()
    for event in events:
        it.publish(event)
    it.behaviour.drain(batch_records)
    return it


def counts(it: Pipeline) -> dict[str, int]:
    [row] = it.behaviour.partition_rows()
    return row.counts


STORM = [view(number, number * 0.1) for number in range(60)] + [view(99, 3.0, "shopper"), view(100, 61.0)]
"""Sixty in six seconds of which five are admitted, a shopper among them, and one in the next minute."""


@pytest.mark.parametrize("batch_records", [1, 7, 100])
def test_a_flood_is_refused_for_its_user_and_minute_alone(batch_records: int) -> None:
    it = folded(STORM, batch_records)
    assert counts(it)["applied"] == LIMIT + 2
    assert counts(it)["dead_letters.flood"] == 55
    letters = it.topics.records[DEAD_LETTERS, 0]
    assert [decode_event(letter.value) for letter in letters] == STORM[LIMIT:60]
    assert [dict(letter.headers)["offset"] for letter in letters] == [str(offset).encode() for offset in range(5, 60)]
    assert {dict(letter.headers)["reason"] for letter in letters} == {b"flood"}


def test_a_flood_is_refused_alike_in_any_batch_and_after_any_restart() -> None:
    whole = folded(STORM, 100).behaviour.table.rows
    assert folded(STORM, 1).behaviour.table.rows == folded(STORM, 7).behaviour.table.rows == whole
    it = pipeline()
    for event in STORM:
        it.publish(event)
        it.behaviour.drain(1)
        it.behaviour.restart()
    assert it.behaviour.table.rows == whole


def test_a_retry_takes_no_room_and_an_older_minute_is_not_begun_anew() -> None:
    retries = [view(0, 0.0)] * 50
    older = [view(number, -60.0) for number in range(1, 5)]
    it = folded([*retries, *older, view(5, 1.0), view(6, -60.0)], 100)
    assert counts(it)["duplicates"] == 49
    assert counts(it)["applied"] == LIMIT
    assert counts(it)["dead_letters.flood"] == 2


def browsing() -> list[Event]:
    """Five hours of three users; the last ticks."""
    events = [view(number, 60.0 * number, f"user-{number % 3}") for number in range(300)]
    return [*events, Event(event_id="tick", timestamp_ms=START_MS + 7 * 3_600_000, kind="tick")]


@pytest.mark.parametrize(("late_s", "applied_again"), [(0.0, 300), (5 * 3600.0, 181), (3600.0, 0)])
def test_of_a_file_that_is_replayed_twice_nothing_is_counted_again_that_is_older_than_the_limit(
    late_s: float, applied_again: int
) -> None:
    it = pipeline(late_s=late_s, user_events_per_minute=1000)
    for event in browsing() * 2:
        it.publish(event) if event.user_id else it.tick(event.timestamp_ms)
    it.behaviour.drain(100)
    assert counts(it)["applied"] == 302 + applied_again
    assert counts(it).get("late", 0) == applied_again
    refused = counts(it).get("duplicates", 0) + counts(it).get("dead_letters.stale", 0)
    assert refused == 300 - applied_again


@pytest.mark.parametrize(
    ("limits", "event", "recorded_s", "reason"),
    [
        ({"event_bytes": 150}, view(0, 0.0, category="x" * 100), 0, "oversized"),
        ({"behind_s": 60.0}, view(0, 0.0), 61, "behind"),
        ({"behind_s": 60.0}, view(0, 0.0), 60, None),
        ({}, view(0, 0.0), 10**8, None),
        ({}, view(0, 0.0), -301, "ahead"),
        ({}, view(0, 0.0), -300, None),
    ],
)
def test_a_record_is_judged_by_its_size_and_its_age(
    limits: dict[str, Any], event: Event, recorded_s: int, reason: str | None
) -> None:
    fold = pipeline(**limits).behaviour.fold
    record = MemoryRecord(0, START_MS + 1000 * recorded_s, b"robot", encode_event(event))
    if reason is None:
        assert fold.decode(record, 0).event == event
    else:
        with pytest.raises(RejectedRecord) as rejected:
            fold.decode(record, 0)
        assert rejected.value.reason == reason
    assert fold.source == CLICKSTREAM


@pytest.mark.parametrize("at_s", [-(10**8), 0.0, 10**8])
def test_a_record_without_a_timestamp_is_not_judged_by_it(at_s: float) -> None:
    fold = pipeline(behind_s=60.0).behaviour.fold
    event = view(0, at_s)
    assert fold.decode(MemoryRecord(0, -1, b"robot", encode_event(event)), 0).event == event
