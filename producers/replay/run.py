"""Replay of recorded events to a cluster."""

import math
from collections.abc import Callable

from producers.event_time import reached_ms, shown
from producers.lag import LagGate
from producers.publisher import Publisher
from producers.replay.replay import ReplaySummary, replay
from producers.replay.timeline import Timeline
from streams.contract.errors import RefusedStart
from streams.contract.settings import Settings


def replay_timeline(
    settings: Settings,
    timeline: Timeline,
    speed: float,
    notify: Callable[[str], None],
    on_progress: Callable[[int], None],
    should_stop: Callable[[], bool],
    *,
    anyway: bool,
) -> ReplaySummary:
    """Replays recorded events; at full speed it waits while the workers are behind.

    Args:
        anyway: Publish also what begins before the cluster's event time.
        notify: Called with a sentence if it does.
        on_progress: Called after each event with the number published.
        should_stop: Called before each event and while waiting.

    Raises:
        UnreachableBroker: No broker answers.
        RefusedStart: There is no clickstream; or its event time is later than the file's beginning.
    """
    first_ms = next(timeline.events()).timestamp_ms
    latest_ms = reached_ms(settings)
    if first_ms < latest_ms - settings.time.allowed_lateness_s * 1000:
        reason = (
            f"the cluster's event time is {shown(latest_ms)}, and {timeline.name} begins earlier, at "
            f"{shown(first_ms)}: its events will be late, get no predictions, and events that were replayed "
            "before count in the windows again"
        )
        if not anyway:
            raise RefusedStart(
                f"{reason}: replay into new topics (another kafka.topic_prefix) with a new data directory, or publish "
                "it all the same with --anyway"
            )
        notify(f"{reason}; set admission.late_s to refuse late events")
    gate = LagGate(settings) if math.isinf(speed) else None
    with Publisher(settings, gate) as publisher:
        events = timeline.events()
        return replay(events, publisher, speed, on_progress=on_progress, should_stop=should_stop)
