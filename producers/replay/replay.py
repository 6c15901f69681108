"""Replaying recorded events into Kafka at their own pace, faster, or as fast as the workers take them."""

import math
import time
from collections.abc import Callable, Iterable
from typing import Final

import msgspec

from producers.publisher import EventSink, publish_ticks
from streams.contract.errors import ConfigurationError
from streams.contract.events import Event

MATURE_S: Final = 7200.0
"""Default time past the last event that the closing ticks announce; longer than any default target's horizon."""

_POLL_S: Final = 0.1
_FLUSH_TIMEOUT_S: Final = 60.0


class ReplaySummary(msgspec.Struct, frozen=True):
    """What a replay did.

    Attributes:
        produced: Events published, closing ticks included.
        undelivered: Events that failed, or were not yet acknowledged when the replay gave up waiting.
        last_timestamp_ms: Latest event time of the file, -1 where it was empty.
        stopped: Whether ``should_stop`` ended it before the events did.
    """

    produced: int
    undelivered: int
    last_timestamp_ms: int
    stopped: bool


def parse_speed(text: str) -> float:
    """Reads a speed: ``max``, or a factor like ``1x``, ``60x`` or ``0.5x``.

    Raises:
        ConfigurationError: It is none of these.

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
    """Publishes ``events`` in their order, and last one tick for each partition so that labels mature.

    Args:
        events: To publish, lazily.
        publisher: Takes them.
        speed: Event seconds for each second of wall clock; infinity does not wait. An event is due by its distance from
            the first one; one that is older than its predecessor is due at once.
        mature_s: How far past the latest event the ticks are.
        name: Goes into the ticks' event ids.
        on_progress: Called after each event with the number published.
        should_stop: Asked before each event and while waiting; the ticks are published all the same.
        monotonic: The clock that the pace is kept by, seconds.

    Raises:
        UnreadableSource: From ``events``; nothing is published after it, no ticks either.
    """
    started_s = monotonic()
    first_ms = latest_ms = -1
    produced = 0
    stopped = False
    for event in events:
        if produced == 0:
            first_ms = event.timestamp_ms
        due_s = started_s + (event.timestamp_ms - first_ms) / 1000.0 / speed
        stopped = not (_wait_until(due_s, publisher, should_stop, monotonic) and publisher.wait_for_room(should_stop))
        if stopped:
            break
        publisher.publish(event)
        produced += 1
        latest_ms = max(latest_ms, event.timestamp_ms)
        if on_progress is not None:
            on_progress(produced)
    if produced:
        produced += publish_ticks(publisher, latest_ms + int(mature_s * 1000), name)
    outstanding = publisher.flush(_FLUSH_TIMEOUT_S)
    return ReplaySummary(produced, publisher.failed + outstanding, latest_ms, stopped)


def _wait_until(
    due_s: float, publisher: EventSink, should_stop: Callable[[], bool] | None, monotonic: Callable[[], float]
) -> bool:
    while True:
        if should_stop is not None and should_stop():
            return False
        if (left_s := due_s - monotonic()) <= 0:
            return True
        publisher.poll(min(left_s, _POLL_S))
