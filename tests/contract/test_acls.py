"""The documented access: all that an application needs, and nothing of another one."""

from hypothesis import assume, given
from hypothesis import strategies as st

from streams.agents import FOLDS
from streams.app import consumer_group
from streams.contract.acls import ADMINISTRATORS, PUBLISHERS, WORKERS, acl_command, acls
from streams.contract.names import AUTO
from streams.contract.settings import Engine, Kafka, Settings

APPLICATIONS = st.builds(
    lambda app_id, prefix, clickstream: Settings(
        engine=Engine(app_id=app_id), kafka=Kafka(topic_prefix=prefix, clickstream=clickstream)
    ),
    st.sampled_from(["headrace", "shop", "shop2", "a"]),
    st.sampled_from([AUTO, AUTO, "", "test.", "a"]),
    st.sampled_from(["", "", "web-events", "shop.events"]),
)


def allowed(settings: Settings, needed_by: tuple[str, ...], resource: str, name: str) -> set[str]:
    """Returns what is allowed on a resource."""
    covering = [acl for acl in acls(settings) if acl.needed_by in needed_by and acl.resource == resource]
    return {operation for acl in covering if acl.covers(name) for operation in acl.operations}


@given(APPLICATIONS)
def test_all_that_an_application_uses_is_allowed(settings: Settings) -> None:
    for topic in settings.topics:
        is_events = topic.name == settings.names.events
        own = {"READ", "DESCRIBE_CONFIGS"} | (set() if is_events else {"WRITE"})
        assert allowed(settings, (WORKERS,), "topic", topic.name) >= own
        assert "WRITE" in allowed(settings, (WORKERS, PUBLISHERS), "topic", topic.name)
        assert allowed(settings, (ADMINISTRATORS,), "topic", topic.name) == {"CREATE", "DESCRIBE", "DESCRIBE_CONFIGS"}
        assert allowed(settings, (WORKERS,), "transactional-id", settings.names.transactional_id(topic.called, 3))
    for group in (settings.names.readers, *(consumer_group(settings.names, [fold]) for fold in FOLDS)):
        assert allowed(settings, (WORKERS,), "group", group) == {"READ"}


@given(APPLICATIONS, APPLICATIONS)
def test_no_topic_of_another_application_is_allowed(settings: Settings, other: Settings) -> None:
    assume(not other.names.prefix.startswith(settings.names.prefix or "\0"))
    own = {topic.name for topic in settings.topics}
    for topic in other.topics:
        if topic.name not in own and not (settings.names.prefix and topic.name.startswith(settings.names.prefix)):
            assert not allowed(settings, (WORKERS, PUBLISHERS, ADMINISTRATORS), "topic", topic.name)


def test_a_command_spells_it_as_kafka_does() -> None:
    kafka = Kafka(sasl_username="ada", sasl_password="x", security_protocol="SASL_SSL")
    settings = Settings(engine=Engine(app_id="shop"), kafka=kafka)
    assert acl_command(acls(settings)[0], settings) == (
        "kafka-acls.sh --bootstrap-server localhost:9092 --command-config client.properties --add --allow-principal "
        "User:ada --operation Read --operation Write --operation DescribeConfigs --topic shop. "
        "--resource-pattern-type prefixed"
    )
    assert "--allow-principal User:bob " in acl_command(acls(settings)[0], settings, "User:bob")
