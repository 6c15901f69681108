"""The ground under all tests: where the data sets are, and that a test which should run cannot be skipped unseen."""

import os
import signal
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Final

import pytest
from hypothesis import HealthCheck, settings

from streams.contract.errors import RefusedStart
from streams.ops.apache import ApacheKafka
from tests.fuzzing import AT_LENGTH

# How long an example takes says something of the machine, not of the law. Under CI, hypothesis draws the same examples.
settings.register_profile("untimed", deadline=None)
settings.register_profile("fuzz", deadline=None, max_examples=20_000, suppress_health_check=list(HealthCheck))
settings.load_profile("fuzz" if AT_LENGTH else "untimed")

# A shell that runs pytest in the background lets it ignore Ctrl-C, and so would every process that a test sends one to.
signal.signal(signal.SIGINT, signal.default_int_handler)

DEFAULT_DATA: Final = Path(__file__).parents[2] / "shared" / "data"
"""Beside the project, never in it: licences are for research only, or not stated."""

REQUIRED_BY: Final = {"kafka": "HEADRACE_REQUIRE_KAFKA", "data": "HEADRACE_REQUIRE_DATA"}
"""Mark to the environment variable that makes a skip of a test with that mark a failure."""


@pytest.fixture(scope="session")
def data_dir() -> Path:
    """The folder of the public data sets, for tests marked ``data``."""
    folder = Path(os.environ.get("HEADRACE_DATA") or DEFAULT_DATA)
    if not folder.is_dir():
        pytest.skip(f"there are no data sets in {folder}; HEADRACE_DATA may name another folder")
    return folder


@pytest.fixture(scope="session")
def kafka() -> Iterator[str]:
    """The address of a real broker, for tests marked ``kafka``: one for the whole run, or KAFKA_BOOTSTRAP_SERVERS.

    Headrace's topics on it are deleted and made anew by every test.
    """
    if servers := os.environ.get("KAFKA_BOOTSTRAP_SERVERS"):
        yield servers
        return
    cluster = ApacheKafka()
    try:
        cluster.start()
    except RefusedStart as refusal:
        pytest.skip(f"no Apache Kafka: {refusal}; KAFKA_BOOTSTRAP_SERVERS may name a cluster for tests")
    try:
        yield cluster.bootstrap_servers
    finally:
        cluster.stop()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Leaves what needs a broker to one process where there is one broker for all; else each process has its own."""
    if os.environ.get("KAFKA_BOOTSTRAP_SERVERS"):
        for item in items:
            if item.get_closest_marker("kafka"):
                item.add_marker(pytest.mark.xdist_group("kafka"))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Turns a skip that nothing excuses into a failure: only what a mark says may be missing may be missing."""
    report = yield
    if report.skipped and not hasattr(report, "wasxfail"):
        marks = [mark for mark in REQUIRED_BY if item.get_closest_marker(mark)]
        required = [REQUIRED_BY[mark] for mark in marks if os.environ.get(REQUIRED_BY[mark])]
        if required or not marks:
            why = f"{required[0]} is set" if required else f"it is not marked {' or '.join(REQUIRED_BY)}"
            report.outcome = "failed"
            report.longrepr = f"{item.nodeid} was skipped, and {why}: {report.longrepr}"
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report() -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    """Refuses a module that skips itself whole: its tests would not even be counted."""
    report = yield
    if report.skipped:
        report.outcome = "failed"
        report.longrepr = f"{report.nodeid} skips itself whole; mark its tests instead: {report.longrepr}"
    return report
