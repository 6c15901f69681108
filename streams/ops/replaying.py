"""Running a replay against a broker, with its progress."""

import math
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from confluent_kafka import Consumer, TopicPartition

from producers.lag import LagGate
from producers.publisher import Publisher
from producers.replay.formats import FORMATS
from producers.replay.replay import ReplaySummary, parse_speed, replay
from streams.contract.connection import client_configuration
from streams.contract.errors import ConfigurationError, RejectedRecord, UnreadableSource
from streams.contract.events import decode_event
from streams.contract.settings import Kafka, Settings
from streams.contract.topics import CLICKSTREAM
from streams.ops.clients import QUIET, partition_counts
from streams.ops.progress import progress

_ANSWER_S: Final = 5.0


def replay_shown(settings: Settings, file: Path, name: str, speed: str, notify: Callable[[str], None]) -> ReplaySummary:
    """Replays ``file``, held back while the workers are behind if it runs at full speed.

    Args:
        notify: Is told, in a sentence, when the clickstream is ahead of the file already.

    Raises:
        ConfigurationError: There is no such format or speed.
        UnreadableSource: The file is missing, or a line of it is not of the format.
        UnreachableBroker: No broker answers.
    """
    if name not in FORMATS:
        raise ConfigurationError(f"there is no format {name!r}; there are {', '.join(FORMATS)}")
    factor = parse_speed(speed)
    if not file.is_file():
        raise UnreadableSource(f"there is no file {file}")
    first = next(iter(FORMATS[name](file)), None)
    newest_ms = newest_event_ms(settings.kafka)
    if first is not None and first.timestamp_ms < newest_ms - settings.time.allowed_lateness_s * 1000:
        reached = datetime.fromtimestamp(newest_ms / 1000, UTC).isoformat(timespec="seconds")
        notify(
            f"the clickstream has reached {reached}, and {file.name} begins before that: its events will be late, so "
            "nothing is predicted at them, and what was replayed before counts in windows again; admission.late_s "
            "refuses them"
        )
    gate = LagGate(settings.kafka, group=settings.engine.app_id) if math.isinf(factor) else None
    shown = 0
    with Publisher(settings.kafka, gate) as publisher, progress(f"replaying {file.name}", "events") as advance:

        def advance_to(published: int) -> None:
            nonlocal shown
            advance(published - shown)
            shown = published

        return replay(FORMATS[name](file), publisher, factor, on_progress=advance_to)


def newest_event_ms(kafka: Kafka) -> int:
    """Returns the latest event time among the last records of all partitions, -1 where there are none.

    Raises:
        UnreachableBroker: No broker answers.
    """
    consumer = Consumer({**client_configuration(kafka), **QUIET, "group.id": "headrace-replay"})
    try:
        count = partition_counts(consumer, kafka.bootstrap_servers).get(CLICKSTREAM, 0)
        ends = [consumer.get_watermark_offsets(TopicPartition(CLICKSTREAM, n), _ANSWER_S) for n in range(count)]
        last = [TopicPartition(CLICKSTREAM, n, end - 1) for n, (first, end) in enumerate(ends) if end > first]
        consumer.assign(last)
        times = [-1]
        # Where the last offset is a transaction's marker nothing comes of that partition.
        while len(times) <= len(last) and (messages := consumer.consume(len(last), _ANSWER_S)):
            times += [_event_ms(message.value()) for message in messages if not message.error()]
        return max(times)
    finally:
        consumer.close()


def _event_ms(value: bytes | None) -> int:
    try:
        return decode_event(value).timestamp_ms
    except RejectedRecord:
        return -1
