"""Creation of the topics on a cluster, with explicit configuration."""

from collections.abc import Mapping, Sequence
from time import monotonic, sleep
from typing import Any, Final, NamedTuple

from confluent_kafka import KafkaError, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient
from confluent_kafka.admin._listoffsets import OffsetSpec
from confluent_kafka.cimpl import NewTopic

from streams.brokers.cluster import partition_counts
from streams.contract.connection import client_configuration
from streams.contract.errors import RefusedStart
from streams.contract.settings import Kafka, Settings
from streams.contract.topic_config import Difference, differences, refusal, topic_config, unprefixed_topics
from streams.contract.topics import Topic
from streams.engine.reachability import is_unauthorised, unauthorised
from streams.engine.topic_configs import read_topic_configs

_ANSWER_S: Final = 3.0
"""Of one try."""
_CREATION_TIMEOUT_S: Final = 30.0
_LEADERS_TIMEOUT_S: Final = 120.0
"""For all partitions of new topics: a busy broker makes their files one after the other."""
_POLL_S: Final = 0.1


class Creation(NamedTuple):
    """What :func:`create_topics` did and found.

    Attributes:
        created: Names of the topics that it created.
        existing: Names of those that were there.
        differences: Properties of those that are not as they would be created, and what that leads to.
        unread: Why not all of them could be compared; empty if they were.
        unprefixed: Says that there are topics without the prefix; empty if it does not matter.
    """

    created: list[str]
    existing: list[str]
    differences: list[Difference]
    unread: str
    unprefixed: str


def describe_topic(topic: Topic, settings: Settings) -> dict[str, Any]:
    """Returns all properties of a topic as plain values, so that other tools can create it."""
    config = topic_config(topic, settings.kafka, settings.engine)
    return {**topic._asdict(), "replication_factor": settings.kafka.replication_factor, "config": config}


def missing_topics(wanted: Sequence[Topic], partitions: Mapping[str, int]) -> list[Topic]:
    """Finds the topics that a cluster lacks.

    Args:
        wanted: Required topics.
        partitions: Topics of the cluster: name to number of partitions.

    Raises:
        RefusedStart: Topics exist with another number of partitions; the message names all of them.
    """
    unequal = [topic for topic in wanted if partitions.get(topic.name, topic.partitions) != topic.partitions]
    if unequal:
        counts = ", ".join(f"{topic.name} has {partitions[topic.name]}, not {topic.partitions}" for topic in unequal)
        raise RefusedStart(
            f"partitions differ: {counts}; keys would move to other partitions than their rows: "
            "set kafka.partitions to the cluster's number, or kafka.topic_prefix to one that has no topics yet"
        )
    return [topic for topic in wanted if topic.name not in partitions]


def create_topics(settings: Settings) -> Creation:
    """Creates the topics that the cluster lacks, and compares the others; those are left as they are.

    Raises:
        UnreachableBroker: No broker answers.
        RefusedStart: A topic exists with another number of partitions or with a property that loses rows, or the
            cluster refuses to create one; topics created before that stay.
    """
    kafka = settings.kafka
    client = AdminClient(client_configuration(kafka))
    there = partition_counts(client, kafka.bootstrap_servers)
    missing = missing_topics(settings.topics, there)
    names = [topic.name for topic in missing]
    existing = [topic for topic in settings.topics if topic.name not in names]
    found, unread = read_topic_configs(client, [topic.name for topic in existing])
    different = differences(existing, found, kafka, settings.engine)
    if losing := refusal(different, kafka):
        raise RefusedStart(losing)
    if missing:
        _create(client, missing, settings)
    return Creation(names, [topic.name for topic in existing], different, unread, unprefixed_topics(settings, there))


def _create(client: AdminClient, missing: Sequence[Topic], settings: Settings) -> None:
    kafka = settings.kafka
    requested = [
        NewTopic(
            topic.name,
            topic.partitions,
            kafka.replication_factor,
            config=topic_config(topic, kafka, settings.engine),
        )
        for topic in missing
    ]
    for name, future in client.create_topics(requested, request_timeout=_CREATION_TIMEOUT_S).items():
        try:
            future.result()
        except KafkaException as error:
            cause: KafkaError = error.args[0]
            if cause.code() == KafkaError.TOPIC_ALREADY_EXISTS:
                raise RefusedStart(f"another client created {name} just now: run this again to check it") from error
            if cause.code() == KafkaError._UNSUPPORTED_FEATURE:
                raise RefusedStart(
                    f"this broker cannot create topics, and lacks {', '.join(topic.name for topic in missing)}; "
                    "if it is the embedded broker, restart it with these settings: it creates its topics at start"
                ) from error
            if is_unauthorised(cause):
                raise unauthorised(cause, kafka) from error
            raise RefusedStart(f"the cluster did not create {name}: {cause.str()}") from error
    wait_until_led(kafka, missing)


def wait_until_led(kafka: Kafka, created: Sequence[Topic]) -> None:
    """Waits until the leaders of new topics answer; a cluster reports "created", and even names leaders, before that.

    Raises:
        RefusedStart: A partition has no leader after two minutes.
    """
    pending = {
        TopicPartition(topic.name, number): OffsetSpec.latest()  # type: ignore[no-untyped-call] # ships no types for it
        for topic in created
        for number in range(topic.partitions)
    }
    deadline_s = monotonic() + _LEADERS_TIMEOUT_S
    while pending:
        # A new client each time: one can go on for ever with what it knew of the cluster before the topics were made.
        client = AdminClient(client_configuration(kafka))
        for place, future in client.list_offsets(pending, request_timeout=_ANSWER_S).items():
            try:
                future.result()
                del pending[place]
            except KafkaException as error:
                if monotonic() > deadline_s:
                    raise RefusedStart(f"{place.topic}[{place.partition}] has no leader: {error}") from error
        if pending:
            sleep(_POLL_S)
