"""The engine runs any fold on any topics: it has none of their names."""

import ast
import subprocess
import sys
from pathlib import Path
from pkgutil import resolve_name
from typing import Final, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

import streams.engine
from streams.agents import FOLDS
from streams.app import build_app
from streams.contract.fold import Identity
from streams.contract.names import AUTO
from streams.contract.settings import Engine, Kafka, Settings, load_settings
from streams.contract.topics import CLICKSTREAM, EXAMPLES, ITEM_SIGNALS
from streams.engine.app import BatchApp
from streams.engine.identity import difference, how_to_begin_anew
from streams.engine.transport import BatchTransport
from tests.engine.supervised import exported

SETTINGS = Settings()
NAMES = {
    *(topic.name for topic in SETTINGS.topics),
    *FOLDS,
    *SETTINGS.decisions.policy_names,
    *SETTINGS.learners,
}


@pytest.mark.parametrize("path", sorted(Path(streams.engine.__path__[0]).glob("*.py")), ids=lambda path: path.stem)
def test_no_topic_fold_policy_or_learner_is_named(path: Path) -> None:
    constants = (node.value for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Constant))
    assert NAMES.isdisjoint(constants)


def test_only_folds_that_nobody_waits_for_collect_records() -> None:
    app = build_app(Settings(engine=Engine(hold_ms=70)))
    assert cast(BatchTransport, app.transport).hold_ms == {CLICKSTREAM: 0, ITEM_SIGNALS: 70, EXAMPLES: 70}


def identities(settings: Settings) -> list[Identity]:
    app = BatchApp(settings)
    return [resolve_name(add)(app).identity for add in FOLDS.values()]


def test_rows_belong_to_the_application_to_the_partitions_and_to_the_windows_where_these_are_in_the_rows() -> None:
    now = identities(SETTINGS)
    assert [each.app_id for each in now] == ["headrace"] * 3
    assert [each.partitions for each in now] == [4, 4, 8]
    resized = (replace(SETTINGS.windows[0], panes=6), *SETTINGS.windows[1:])
    for windows in (resized, SETTINGS.windows[1:]):
        others = identities(replace(SETTINGS, windows=windows))
        assert [bool(difference(*pair, "users-changelog")) for pair in zip(now, others, strict=True)] == [
            True,
            False,
            True,
        ]


@given(
    st.sampled_from(["headrace", "shop", "shop2", "a-b_c"]),
    st.sampled_from([AUTO, "", "test.", "2.", "v2"]),
    st.sampled_from(["", "events"]),
    st.integers(1, 3),
)
def test_who_begins_anew_reads_the_same_events_and_shares_nothing_else_with_any_earlier_time(
    app_id: str, prefix: str, clickstream: str, times: int
) -> None:
    kafka = Kafka(topic_prefix=prefix, clickstream=clickstream)
    settings = Settings(kafka=kafka, engine=Engine(app_id=app_id, data_dir="a place/of its own"))
    before = [settings]
    for _ in range(times):
        environment = {"HEADRACE_ENGINE__APP_ID": app_id, **exported(how_to_begin_anew(settings, 8))}
        settings = load_settings(environment=environment)
        assert settings.kafka.partitions == 8
        assert {each.names.events for each in before} == {settings.names.events}
        for each in before:
            own = {topic.name for topic in settings.topics} - {settings.names.events}
            assert own.isdisjoint(topic.name for topic in each.topics)
            assert settings.names.group() != each.names.group()
            assert settings.engine.data_dir != str(Path(each.engine.data_dir).resolve())
        before.append(settings)


def test_a_worker_is_told_the_number_of_partitions_that_the_clickstream_has_now() -> None:
    app = build_app(SETTINGS)
    assert exported(app.how_to_begin_anew({CLICKSTREAM: 8, EXAMPLES: 9}))["HEADRACE_KAFKA__PARTITIONS"] == "8"
    assert exported(app.how_to_begin_anew())["HEADRACE_KAFKA__PARTITIONS"] == "4"


WITHOUT_LEARNING: Final = """
import sys
from streams.app import build_app
from streams.contract.settings import Settings
build_app(Settings(), sys.argv[1:])
print(*sorted({name.partition(".")[0] for name in sys.modules} & {"river", "scipy", "sklearn", "pandas", "rich"}))
"""


@pytest.mark.parametrize(
    ("folds", "loaded"), [(("behaviour", "items"), []), (("behaviour", "items", "learning"), ["river", "scipy"])]
)
def test_a_worker_without_learning_loads_no_library_of_it(folds: tuple[str, ...], loaded: list[str]) -> None:
    ended = subprocess.run([sys.executable, "-c", WITHOUT_LEARNING, *folds], capture_output=True, text=True, check=True)
    assert ended.stdout.split() == loaded
