"""What is created on a cluster, and what is refused there."""

import pytest
from confluent_kafka.admin import AdminClient
from hypothesis import given
from hypothesis import strategies as st

from streams.admin.topics import missing_topics
from streams.brokers.cluster import partition_counts
from streams.contract.connection import client_configuration
from streams.contract.errors import RefusedStart, UnreachableBroker
from streams.contract.settings import Engine, Kafka, Settings
from streams.contract.topic_config import (
    LONG_RETENTION_MS,
    PROPERTIES,
    RETENTION_MS,
    batch_bytes,
    differences,
    mending_commands,
    refusal,
    topic_config,
)

WANTED = Settings().topics
NO_BROKER = "127.0.0.1:1"
NAMES = [topic.name for topic in WANTED]
MADE = {topic.name: topic_config(topic, Kafka(), Engine()) for topic in WANTED}
PLACES = [(topic, name) for topic, config in MADE.items() for name in config]


@given(st.sets(st.sampled_from(NAMES)))
def test_what_is_missing_is_all_that_is_not_there(present: set[str]) -> None:
    there = {topic.name: topic.partitions for topic in WANTED if topic.name in present} | {"somebody-elses": 7}
    assert [topic.name for topic in missing_topics(WANTED, there)] == [name for name in NAMES if name not in present]


@given(st.dictionaries(st.sampled_from(NAMES), st.integers(1, 3), min_size=1))
def test_every_topic_with_another_partition_count_is_named(more: dict[str, int]) -> None:
    there = {topic.name: topic.partitions + more.get(topic.name, 0) for topic in WANTED}
    with pytest.raises(RefusedStart) as refusal:
        missing_topics(WANTED, there)
    named = {name for name in NAMES if f" {name} has " in str(refusal.value)}
    assert named == set(more)


def test_rows_and_feeds_are_compacted_and_never_expire() -> None:
    compacted = {topic.name for topic in WANTED if MADE[topic.name]["cleanup.policy"] == "compact"}
    assert compacted == {
        "models",
        "items",
        "catalogue",
        "experiments",
        "users-changelog",
        "item-rows-changelog",
        "learners-changelog",
    }
    assert not any("retention.ms" in MADE[topic.name] for topic in WANTED if topic.name in compacted)


def test_whatever_expires_is_stamped_by_the_broker_and_not_by_its_producer() -> None:
    expiring = [MADE[topic.name] for topic in WANTED if topic.cleanup == "delete"]
    assert {config["message.timestamp.type"] for config in expiring} == {"LogAppendTime"}


def test_what_models_are_rebuilt_from_is_kept_longer() -> None:
    kept = {topic.name: MADE[topic.name].get("retention.ms") for topic in WANTED}
    assert kept["examples"] == kept["decisions"] == str(LONG_RETENTION_MS)
    assert kept["clickstream"] == str(RETENTION_MS)


def worse(name: str, value: str) -> str:
    """Returns another value of a property, one that does not do."""
    match PROPERTIES[name].rule, value:
        case "equal", _:
            return "compact,delete" if name == "cleanup.policy" else "CreateTime"
        case "at least", "-1":
            return "1000000000000"
        case "at least", _:
            return str(int(value) // 2)
        case _:
            return str(float(value) * 2)


def test_every_property_that_is_set_is_compared_and_what_was_just_made_is_as_it_should_be() -> None:
    assert {name for config in MADE.values() for name in config} == set(PROPERTIES)
    assert differences(WANTED, MADE, Kafka(), Engine()) == []


@given(st.sets(st.sampled_from(PLACES), min_size=1))
def test_every_property_that_is_worse_is_named_with_its_topic_and_mended_by_its_command(
    places: set[tuple[str, str]],
) -> None:
    there = {topic: dict(config) for topic, config in MADE.items()}
    for topic, name in places:
        there[topic][name] = worse(name, there[topic][name])
    found = differences(WANTED, there, Kafka(), Engine())
    assert {(each.topic, each.name) for each in found} == places
    for command in mending_commands(found, Kafka()):
        words = command.split()
        topic = words[words.index("--entity-name") + 1]
        there[topic].update(pair.partition("=")[::2] for pair in words[-1].split(","))
    assert differences(WANTED, there, Kafka(), Engine()) == []


def test_of_the_clickstream_alone_producers_timestamps_leave_event_time_unprotected() -> None:
    there = {topic: {**config, "message.timestamp.type": "CreateTime"} for topic, config in MADE.items()}
    found = differences(WANTED, there, Kafka(), Engine())
    assert [each.topic for each in found if "wrong clocks" in str(each)] == ["clickstream"]
    assert all("retention deletes old events" in str(each) for each in found if each.topic == "clickstream")


@given(st.sampled_from(PLACES))
def test_what_loses_rows_is_refused_and_nothing_else_is(place: tuple[str, str]) -> None:
    topic, name = place
    there = {topic: {**MADE[topic], name: worse(name, MADE[topic][name])}}
    why = refusal(differences(WANTED, there, Kafka(), Engine()), Kafka())
    assert bool(why) == (name in {"cleanup.policy", "max.message.bytes"})
    if why:
        assert f"{topic}: {name} is " in why
        assert f"--alter --entity-type topics --entity-name {topic} --add-config {name}=" in why


@pytest.mark.parametrize(
    ("name", "better"),
    [("retention.ms", "-1"), ("retention.ms", str(10**15)), ("max.message.bytes", str(batch_bytes(Engine())))],
)
def test_a_topic_that_keeps_more_is_as_good(name: str, better: str) -> None:
    assert differences(WANTED, {"clickstream": {**MADE["clickstream"], name: better}}, Kafka(), Engine()) == []


def test_the_largest_row_and_the_largest_output_fit_into_a_batch_of_a_topic() -> None:
    for engine in (Engine(max_row_bytes=3_000_000), Engine(max_output_bytes=3_000_000)):
        for topic in WANTED:
            assert int(topic_config(topic, Kafka(), engine)["max.message.bytes"]) > 3_000_000


@pytest.mark.parametrize(("replicas", "in_sync"), [(1, "1"), (2, "2"), (3, "2"), (5, "3")])
def test_most_replicas_acknowledge(replicas: int, in_sync: str) -> None:
    config = topic_config(WANTED[0], Kafka(replication_factor=replicas), Engine())
    assert config["min.insync.replicas"] == in_sync


def test_a_cluster_with_credentials_gets_them_in_the_command() -> None:
    kafka = Kafka(security_protocol="SSL", bootstrap_servers="a:1,b:2")
    [command] = mending_commands(
        differences(WANTED[:1], {"clickstream": {"retention.ms": "1"}}, kafka, Engine()), kafka
    )
    assert command == (
        "kafka-configs.sh --bootstrap-server a:1,b:2 --command-config client.properties --alter --entity-type topics "
        "--entity-name clickstream --add-config retention.ms=604800000"
    )


@pytest.mark.parametrize("patience_s", [0.05, 2.5])
def test_no_broker_is_an_error_that_names_the_address_and_logs_nothing(
    patience_s: float, capfd: pytest.CaptureFixture[str]
) -> None:
    client = AdminClient(client_configuration(Kafka(bootstrap_servers=NO_BROKER)))
    with pytest.raises(UnreachableBroker, match=NO_BROKER):
        partition_counts(client, NO_BROKER, patience_s)
    assert capfd.readouterr() == ("", "")
