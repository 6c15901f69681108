"""What is created on a cluster, and what is refused there."""

import pytest
from confluent_kafka.admin import AdminClient
from hypothesis import given
from hypothesis import strategies as st

from streams.contract.errors import RefusedStart, UnreachableBroker
from streams.contract.settings import Settings
from streams.ops.clients import QUIET, partition_counts
from streams.ops.topics import LONG_RETENTION_MS, RETENTION_MS, missing_topics, topic_config

WANTED = Settings().topics
NO_BROKER = "127.0.0.1:1"
NAMES = [topic.name for topic in WANTED]


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
    compacted = {topic.name for topic in WANTED if topic_config(topic)["cleanup.policy"] == "compact"}
    assert compacted == {
        "models",
        "items",
        "experiments",
        "users-changelog",
        "item-rows-changelog",
        "learners-changelog",
    }
    assert not any("retention.ms" in topic_config(topic) for topic in WANTED if topic.name in compacted)


def test_what_models_are_rebuilt_from_is_kept_longer() -> None:
    kept = {topic.name: topic_config(topic).get("retention.ms") for topic in WANTED}
    assert kept["experiences"] == kept["decisions"] == str(LONG_RETENTION_MS)
    assert kept["clickstream"] == str(RETENTION_MS)


@pytest.mark.parametrize("patience_s", [0.05, 2.5])
def test_no_broker_is_an_error_that_names_the_address_and_logs_nothing(
    patience_s: float, capfd: pytest.CaptureFixture[str]
) -> None:
    client = AdminClient({"bootstrap.servers": NO_BROKER, **QUIET})
    with pytest.raises(UnreachableBroker, match=NO_BROKER):
        partition_counts(client, NO_BROKER, patience_s)
    assert capfd.readouterr() == ("", "")
