"""Configuration of the topics: what they are created with, and the comparison with what a cluster has."""

import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Final, Literal, NamedTuple, assert_never

from streams.contract.connection import tool_options
from streams.contract.settings import Engine, Kafka, Settings
from streams.contract.topics import CLICKSTREAM, DEAD_LETTERS, DECISIONS, EXAMPLES, PUBLIC, Topic

DAY_MS: Final = 24 * 3600 * 1000
RETENTION_MS: Final = 7 * DAY_MS
LONG_RETENTION_MS: Final = 30 * DAY_MS
KEPT_LONG: Final = frozenset({DECISIONS, EXAMPLES, DEAD_LETTERS})
"""Topics needed for weeks: to rebuild models, to evaluate policies, and to find faults."""

PUBLIC_COMPRESSION: Final = "gzip"
"""Every client reads it; kafkajs has neither lz4 nor zstd nor snappy."""

SEGMENT_BYTES: Final = 64 * 1024 * 1024

_BROKERS_MAX_MESSAGE_BYTES: Final = 1_048_588
"""Kafka's default; producers of events may rely on it."""
_OVERHEAD_BYTES: Final = 64 * 1024
"""Of a batch of one record: its key, headers and fields."""
_UNLIMITED: Final = "-1"


class Property(NamedTuple):
    """One property of a topic's configuration.

    Attributes:
        rule: Which other values are as good as the wanted one.
        consequence: What another value leads to.
        loses: Whether that loses rows or records, so that no worker may run with it.
    """

    rule: Literal["equal", "at least", "at most"]
    consequence: str
    loses: bool = False


TIMESTAMP_TYPE: Final = "message.timestamp.type"

PROPERTIES: Final[Mapping[str, Property]] = {
    "cleanup.policy": Property("equal", "the broker removes rows or records that are still needed", loses=True),
    "max.message.bytes": Property("at least", "the broker refuses large records, and the worker ends", loses=True),
    TIMESTAMP_TYPE: Property("equal", "retention deletes old events before they are read"),
    "retention.ms": Property("at least", "records are deleted sooner"),
    "retention.bytes": Property("at least", "records are deleted sooner under load"),
    "min.insync.replicas": Property("at least", "acknowledged records may be lost with one broker"),
    "compression.type": Property("equal", "clients without other codecs, as kafkajs, cannot read it"),
    "delete.retention.ms": Property("at least", "a worker that is behind may miss a deletion"),
    "segment.bytes": Property("at most", "a restart reads more"),
    "min.cleanable.dirty.ratio": Property("at most", "a restart reads more"),
}
"""All properties that are set and compared, those that matter most first."""

_CLOCKS: Final = "wrong clocks of time.confirming_users clients move its event time"


class Difference(NamedTuple):
    """A property of a topic that is not as it should be."""

    topic: str
    name: str
    found: str
    wanted: str

    @property
    def loses(self) -> bool:
        return PROPERTIES[self.name].loses

    @property
    def consequence(self) -> str:
        consequence = PROPERTIES[self.name].consequence
        is_event_time = (self.topic, self.name) == (CLICKSTREAM, TIMESTAMP_TYPE)
        return f"{consequence}, and {_CLOCKS}" if is_event_time else consequence

    def __str__(self) -> str:
        word = {"equal": "not", "at least": "less than", "at most": "more than"}[PROPERTIES[self.name].rule]
        return f"{self.topic}: {self.name} is {self.found}, {word} {self.wanted}: {self.consequence}"


def batch_bytes(engine: Engine) -> int:
    """Returns the size of the largest batch that a worker produces: that of one record at its limit."""
    return max(engine.max_output_bytes, engine.max_row_bytes) + _OVERHEAD_BYTES


def topic_config(topic: Topic, kafka: Kafka, engine: Engine) -> dict[str, str]:
    """Builds the broker's configuration of a topic.

    Where old records are deleted, the broker stamps each record with its own clock. Retention then counts from when a
    record was written: with the producer's timestamp, which may be the time of an old event, the broker would delete
    new records before they are read.

    Compacted topics get small segments and an early cleaner: a restart reads them whole, and the broker never compacts
    the active segment.

    A write is acknowledged by most replicas, so that one lost broker loses nothing.

    A producer has one codec for all topics, so the broker compresses the public ones anew. Clickstream is as its
    producers compress it: it has the most records, and the shop writes it.
    """
    common = {
        "cleanup.policy": topic.cleanup,
        "max.message.bytes": str(max(batch_bytes(engine), _BROKERS_MAX_MESSAGE_BYTES)),
        "min.insync.replicas": str(kafka.replication_factor // 2 + 1),
        **({"compression.type": PUBLIC_COMPRESSION} if topic.called in PUBLIC else {}),
    }
    match topic.cleanup:
        case "delete":
            kept_ms = LONG_RETENTION_MS if topic.called in KEPT_LONG else RETENTION_MS
            return {
                **common,
                "retention.ms": str(kept_ms),
                "retention.bytes": _UNLIMITED,
                TIMESTAMP_TYPE: "LogAppendTime",
            }
        case "compact":
            return {
                **common,
                "segment.bytes": str(SEGMENT_BYTES),
                "min.cleanable.dirty.ratio": "0.1",
                "delete.retention.ms": str(DAY_MS),
            }
        case _:
            assert_never(topic.cleanup)


def differences(
    topics: Iterable[Topic], found: Mapping[str, Mapping[str, str]], kafka: Kafka, engine: Engine
) -> list[Difference]:
    """Compares the topics of a cluster with what they should be.

    Args:
        found: Topic to its configuration; topics and properties that are not there are not compared.
    """
    different = []
    for topic in topics:
        there = found.get(topic.name, {})
        # A smaller one than at creation will do, as long as it takes what workers write.
        wanted = {**topic_config(topic, kafka, engine), "max.message.bytes": str(batch_bytes(engine))}
        for name, property_ in PROPERTIES.items():
            if name in wanted and name in there and not _is_as_good(property_, there[name], wanted[name]):
                different.append(Difference(topic.name, name, there[name], wanted[name]))
    return different


def _is_as_good(property_: Property, found: str, wanted: str) -> bool:
    match property_.rule:
        case "equal":
            return {part.strip() for part in found.split(",")} == {wanted}
        case "at least":
            return found == _UNLIMITED or (wanted != _UNLIMITED and float(found) >= float(wanted))
        case "at most":
            return float(found) <= float(wanted)
        case _:
            assert_never(property_.rule)


def mending_commands(different: Sequence[Difference], kafka: Kafka) -> list[str]:
    """Returns the commands of Apache Kafka that set the properties as they should be, one for each topic."""
    by_topic: dict[str, list[str]] = {}
    for each in different:
        by_topic.setdefault(each.topic, []).append(f"{each.name}={each.wanted}")
    return [
        f"kafka-configs.sh {tool_options(kafka)} --alter --entity-type topics "
        f"--entity-name {topic} --add-config {','.join(values)}"
        for topic, values in by_topic.items()
    ]


def unprefixed_topics(settings: Settings, there: Collection[str]) -> str:
    """Says that a cluster has topics without the prefix, before the application has topics with it; empty otherwise.

    They may be its own, made before it had a prefix, or another application's, with the events that it is to read.
    """
    names = settings.names
    own = [topic for topic in settings.topics if topic.name != names.clickstream]
    found = [topic.called for topic in own if topic.called in there]
    if not names.prefix or not found or any(topic.name in there for topic in own):
        return ""
    ours = f'kafka.topic_prefix = "" goes on with them, if they are those of {names.app_id}'
    events = f"; kafka.clickstream = {json.dumps(CLICKSTREAM)} reads the same events as whoever has them"
    return (
        f"The topics of {names.app_id} begin with {names.prefix}, and there are topics without it "
        f"({', '.join(found)}): {ours}{events if CLICKSTREAM in found else ''}"
    )


def refusal(different: Sequence[Difference], kafka: Kafka) -> str:
    """Says what would be lost, and the commands that mend it; empty if nothing would be."""
    losing = [each for each in different if each.loses]
    if not losing:
        return ""
    named = "; ".join(map(str, losing))
    return f"these topics would lose rows or records: {named}. Run: {' && '.join(mending_commands(losing, kafka))}"
