"""Makes the topics of the settings on a cluster, as explicitly as a cluster lets one."""

from collections.abc import Mapping, Sequence
from time import monotonic, sleep
from typing import Any, Final, NamedTuple, assert_never

from confluent_kafka import KafkaError, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient
from confluent_kafka.admin._listoffsets import OffsetSpec
from confluent_kafka.cimpl import NewTopic

from streams.contract.connection import client_configuration
from streams.contract.errors import RefusedStart
from streams.contract.settings import Settings
from streams.contract.topics import DEAD_LETTERS, DECISIONS, EXPERIENCES, Topic
from streams.ops.clients import QUIET, partition_counts

DAY_MS: Final = 24 * 3600 * 1000
RETENTION_MS: Final = 7 * DAY_MS
LONG_RETENTION_MS: Final = 30 * DAY_MS
KEPT_LONG: Final = frozenset({DECISIONS, EXPERIENCES, DEAD_LETTERS})
"""What models are rebuilt from, policies are evaluated on, and faults are found by."""

SEGMENT_BYTES: Final = 64 * 1024 * 1024

_CREATION_TIMEOUT_S: Final = 30.0
_POLL_S: Final = 0.1


class Creation(NamedTuple):
    """What :func:`create_topics` did, as names of topics."""

    created: list[str]
    existing: list[str]


def topic_config(topic: Topic) -> dict[str, str]:
    """Builds the broker's configuration of a topic.

    Compacted topics get small segments and an early cleaner: a restart reads all of them, and the broker never compacts
    the segment that is being written.
    """
    match topic.cleanup:
        case "delete":
            kept_ms = LONG_RETENTION_MS if topic.name in KEPT_LONG else RETENTION_MS
            return {"cleanup.policy": "delete", "retention.ms": str(kept_ms)}
        case "compact":
            return {
                "cleanup.policy": "compact",
                "segment.bytes": str(SEGMENT_BYTES),
                "min.cleanable.dirty.ratio": "0.1",
                "delete.retention.ms": str(DAY_MS),
            }
        case _:
            assert_never(topic.cleanup)


def describe_topic(topic: Topic, replication_factor: int) -> dict[str, Any]:
    """Says everything about a topic in plain values, for other tools to create it by."""
    return {**topic._asdict(), "replication_factor": replication_factor, "config": topic_config(topic)}


def missing_topics(wanted: Sequence[Topic], partitions: Mapping[str, int]) -> list[Topic]:
    """Finds the topics that a cluster lacks.

    Args:
        wanted: What there must be.
        partitions: What the cluster has: name to number of partitions.

    Raises:
        RefusedStart: A topic exists with another number of partitions; all such are named.
    """
    unequal = [topic for topic in wanted if partitions.get(topic.name, topic.partitions) != topic.partitions]
    if unequal:
        found = ", ".join(f"{topic.name} has {partitions[topic.name]}, not {topic.partitions}" for topic in unequal)
        raise RefusedStart(
            f"partitions differ: {found}; keys would move to other partitions than their rows: "
            "set kafka.partitions to what is there, or start on new topics"
        )
    return [topic for topic in wanted if topic.name not in partitions]


def create_topics(settings: Settings) -> Creation:
    """Creates the topics that the cluster lacks, and leaves the others as they are.

    Raises:
        UnreachableBroker: No broker answers.
        RefusedStart: A topic exists with another number of partitions, or the cluster refuses to create one. Those
            created before that stay.
    """
    client = AdminClient({**client_configuration(settings.kafka), **QUIET})
    missing = missing_topics(settings.topics, partition_counts(client, settings.kafka.bootstrap_servers))
    names = [topic.name for topic in missing]
    if missing:
        _create(client, missing, settings.kafka.replication_factor)
    return Creation(names, [topic.name for topic in settings.topics if topic.name not in names])


def _create(client: AdminClient, missing: Sequence[Topic], replication_factor: int) -> None:
    requested = [
        NewTopic(topic.name, topic.partitions, replication_factor, config=topic_config(topic)) for topic in missing
    ]
    for name, future in client.create_topics(requested, request_timeout=_CREATION_TIMEOUT_S).items():
        try:
            future.result()
        except KafkaException as error:
            cause: KafkaError = error.args[0]
            if cause.code() == KafkaError.TOPIC_ALREADY_EXISTS:
                raise RefusedStart(f"somebody else created {name} just now: run this again to check it") from error
            if cause.code() == KafkaError._UNSUPPORTED_FEATURE:
                raise RefusedStart(
                    f"this broker cannot create topics, and lacks {', '.join(topic.name for topic in missing)}; "
                    "the embedded broker makes its topics when it starts: start it with these settings"
                ) from error
            raise RefusedStart(f"the cluster did not create {name}: {cause.str()}") from error
    wait_until_led(client, missing)


def wait_until_led(client: AdminClient, created: Sequence[Topic]) -> None:
    """Waits until the leaders of new topics' partitions answer; a cluster says "created" before they do.

    Raises:
        RefusedStart: One did not in time.
    """
    unasked = {
        TopicPartition(topic.name, number): OffsetSpec.latest()  # type: ignore[no-untyped-call] # ships no types for it
        for topic in created
        for number in range(topic.partitions)
    }
    deadline_s = monotonic() + _CREATION_TIMEOUT_S
    while unasked:
        for place, future in client.list_offsets(unasked, request_timeout=_CREATION_TIMEOUT_S).items():
            try:
                future.result()
                del unasked[place]
            except KafkaException as error:
                if monotonic() > deadline_s:
                    raise RefusedStart(f"{place.topic}[{place.partition}] has no leader: {error}") from error
        if unasked:
            sleep(_POLL_S)
