"""Replay of recorded events into Kafka: at the recorded speed, faster, or as fast as the workers can follow."""

import math
import time
from collections.abc import Callable, Iterable
from typing import Final

import msgspec

from producers.publisher import EventSink, publish_ticks
from streams.contract.errors import ConfigurationError, UndeliveredOutput, UnreadableSource
from streams.contract.events import Event

MATURE_S: Final = 7200.0
"""Default time from the last event to the closing ticks; longer than any default target's horizon."""

_POLL_S: Final = 0.1
_FLUSH_TIMEOUT_S: Final = 60.0


class ReplaySummary(msgspec.Struct, frozen=True):
    """Result of a replay.

    Attributes:
        produced: Events published, closing ticks included.
        undelivered: Events that failed, or were not acknowledged within the final wait.
        last_timestamp_ms: Latest event time of the file, -1 if it was empty.
        stopped: Whether ``should_stop`` ended it early.
        error: Complaint about the file that ended it early, or empty.
    """

    produced: int
    undelivered: int
    last_timestamp_ms: int
    stopped: bool
    error: str = ""


def parse_speed(text: str) -> float:
    """Parses a speed: ``max``, or a factor like ``1x``, ``60x`` or ``0.5x``.

    Raises:
        ConfigurationError: The text is not a speed.

    >>> parse_speed("60x"), parse_speed("max")
    (60.0, inf)
    """
    if text == "max":
        return math.inf
    try:
        speed = float(text.removesuffix("x"))
    except ValueError as error:
        raise ConfigurationError(f"speed {text!r} is neither max nor a factor like 60x") from error
    if not 0 < speed < math.inf:
        raise ConfigurationError(f"speed {text!r} is not above zero")
    return speed


def replay(
    events: Iterable[Event],
    publisher: EventSink,
    speed: float = math.inf,
    *,
    mature_s: float = MATURE_S,
    name: str = "replay",
    on_progress: Callable[[int], None] | None = None,
    should_stop: Callable[[], bool] | None = None,
    monotonic: Callable[[], float] = time.monotonic,
) -> ReplaySummary:
    """Publishes ``events`` in their order, and finally one tick for each partition so that labels mature.

    Args:
        events: Events, read lazily.
        publisher: Destination of the events.
        speed: Event seconds for each second of wall clock; infinity does not wait. An event is due by its time since
            the first one; an event older than its predecessor is due at once.
        mature_s: Time from the latest event to the ticks.
        name: Part of the ticks' event ids.
        on_progress: Called after each event with the number published.
        should_stop: Called before each event and while waiting; the ticks are still published, as they are after an
            ``UnreadableSource`` from ``events``.
        monotonic: Clock for the speed, seconds.

    Raises:
        UndeliveredOutput: The client can never deliver again; the message says how many events it was given before.
    """
    started_s = monotonic()
    first_ms = latest_ms = -1
    produced = 0
    stopped = False
    error = ""
    try:
        for event in events:
            if produced == 0:
                first_ms = event.timestamp_ms
            due_s = started_s + (event.timestamp_ms - first_ms) / 1000.0 / speed
            is_due = _wait_until(due_s, publisher, should_stop, monotonic)
            stopped = not (is_due and publisher.wait_for_room(should_stop))
            if stopped:
                break
            publisher.publish(event)
            produced += 1
            latest_ms = max(latest_ms, event.timestamp_ms)
            if on_progress is not None:
                on_progress(produced)
    except UnreadableSource as unreadable:
        error = str(unreadable)
    except UndeliveredOutput as undelivered:
        raise UndeliveredOutput(f"{undelivered}; {produced} events were handed to the client before") from undelivered
    if produced:
        produced += publish_ticks(publisher, latest_ms + int(mature_s * 1000), name)
    outstanding = publisher.flush(_FLUSH_TIMEOUT_S)
    return ReplaySummary(produced, publisher.failed + outstanding, latest_ms, stopped, error)


def _wait_until(
    due_s: float, publisher: EventSink, should_stop: Callable[[], bool] | None, monotonic: Callable[[], float]
) -> bool:
    while True:
        if should_stop is not None and should_stop():
            return False
        if (left_s := due_s - monotonic()) <= 0:
            return True
        publisher.poll(min(left_s, _POLL_S))
