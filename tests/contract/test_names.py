"""Names on a cluster: two applications never have one in common, whatever they are called."""

from pathlib import Path

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from streams.agents import FOLDS
from streams.app import consumer_group
from streams.contract.errors import ConfigurationError
from streams.contract.names import AUTO
from streams.contract.settings import Engine, Kafka, Settings, load_settings
from streams.contract.settings.tree import check_settings
from streams.contract.topic_config import unprefixed_topics

APP_IDS = st.text("ab2-_", min_size=1, max_size=4) | st.sampled_from(["headrace", "readers", "items", "clickstream"])
PREFIXES = st.just(AUTO) | st.text("ab2-_.", max_size=4)


def settings_of(app_id: str, topic_prefix: str = AUTO, clickstream: str = "") -> Settings:
    settings = Settings(engine=Engine(app_id=app_id), kafka=Kafka(topic_prefix=topic_prefix, clickstream=clickstream))
    check_settings(settings)
    return settings


def groups(settings: Settings) -> set[str]:
    """All consumer groups and transactional ids of an application."""
    folds = [list(FOLDS), ["items"], ["learning"], ["items", "learning"]]
    return {
        settings.names.readers,
        *(consumer_group(settings.names, each) for each in folds),
        *(settings.names.transactional_id(topic.called, 0) for topic in settings.topics),
    }


@given(APP_IDS, APP_IDS, PREFIXES, PREFIXES)
def test_two_applications_have_no_group_and_no_transactional_id_in_common(
    one: str, other: str, prefix: str, other_prefix: str
) -> None:
    first, second = settings_of(one, prefix), settings_of(other, other_prefix)
    assume((one, first.names.prefix) != (other, second.names.prefix))
    assert groups(first).isdisjoint(groups(second))


@given(APP_IDS, APP_IDS)
def test_two_applications_have_no_topic_in_common_unless_they_are_set_to(one: str, other: str) -> None:
    assume(one != other)
    first, second = settings_of(one), settings_of(other)
    names = [topic.name for settings in (first, second) for topic in settings.topics]
    assert len(set(names)) == len(names)


@given(APP_IDS, PREFIXES)
def test_all_groups_begin_with_the_application_and_all_topics_with_the_prefix(app_id: str, prefix: str) -> None:
    settings = settings_of(app_id, prefix, clickstream="web")
    assert all(group.startswith(app_id) for group in groups(settings))
    assert [topic.name for topic in settings.topics if topic.name != settings.names.prefix + topic.called] == ["web"]


def test_only_the_default_application_has_no_prefix_by_default() -> None:
    assert settings_of("headrace").names.topic("items") == "items"
    assert settings_of("shop").names.topic("items") == "shop.items"
    assert settings_of("shop", "").names.topic("items") == "items"
    assert load_settings(environment={"HEADRACE_KAFKA__TOPIC_PREFIX": ""}).names.prefix == ""


@pytest.mark.parametrize(
    ("app_id", "prefix", "clickstream", "why"),
    [
        ("", AUTO, "", "engine.app_id is ''"),
        ("a.b", AUTO, "", "engine.app_id is 'a.b': use letters, digits, - and _"),
        ("shop", "shop/", "", "'shop/clickstream' the name of a topic"),
        ("shop", "x" * 240, "", "249 characters at most"),
        ("shop", AUTO, "..", "'..' the name of a topic"),
        ("shop", "x.", "x.items", "kafka.clickstream is 'x.items', which is another topic of the application"),
    ],
)
def test_a_name_that_kafka_does_not_take_is_refused(app_id: str, prefix: str, clickstream: str, why: str) -> None:
    with pytest.raises(ConfigurationError, match=why):
        settings_of(app_id, prefix, clickstream)


def test_who_has_topics_without_the_prefix_is_told_until_there_are_some_with_it() -> None:
    unprefixed = [topic.name for topic in Settings().topics]
    said = unprefixed_topics(settings_of("shop"), unprefixed)
    assert 'kafka.topic_prefix = "" goes on with them' in said
    assert 'kafka.clickstream = "clickstream" reads the same events' in said
    assert unprefixed_topics(settings_of("shop"), [*unprefixed, "shop.metrics"]) == ""
    assert unprefixed_topics(settings_of("shop", ""), unprefixed) == ""
    assert unprefixed_topics(Settings(), unprefixed) == ""
    assert unprefixed_topics(settings_of("shop"), ["orders"]) == ""


def test_only_one_place_gives_a_client_its_group() -> None:
    """A client that names its group itself belongs to no application."""
    root = Path(__file__).parents[2]
    paths = [path for room in ("streams", "producers") for path in (root / room).glob("**/*.py")]
    named = [str(path.relative_to(root)) for path in paths if '"group.id"' in path.read_text()]
    assert named == ["streams/contract/connection.py"]
