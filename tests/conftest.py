"""Rules for all tests: their tiers, their timeouts, the data sets, and that none which should run is skipped unseen."""

import os
import signal
import sys
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Any, Final

import pytest
from hypothesis import HealthCheck, settings

from streams.brokers.apache_kafka import ApacheKafka
from streams.brokers.embedded import EmbeddedBroker
from streams.contract.errors import RefusedStart
from tests.fuzzing import AT_LENGTH, EXAMPLES_AT_LENGTH
from tests.timeouts import scaled

# What fails in a helper says why, too.
pytest.register_assert_rewrite(*(f"tests.{room.name}" for room in Path(__file__).parent.iterdir() if room.is_dir()))

# How long an example takes says something of the machine, not of the law. Under CI, hypothesis draws the same examples.
settings.register_profile("untimed", deadline=None)
settings.register_profile(
    "fuzz", deadline=None, max_examples=EXAMPLES_AT_LENGTH, suppress_health_check=list(HealthCheck)
)
settings.load_profile("fuzz" if AT_LENGTH else "untimed")

# A shell that runs pytest in the background lets it ignore Ctrl-C, and so would every process that a test sends one to.
signal.signal(signal.SIGINT, signal.default_int_handler)

DEFAULT_DATA: Final = Path(__file__).parents[2] / "shared" / "data"
"""Beside the project, never in it: licences are for research only, or not stated."""

BROKER_FOLDERS: Final = ("broker", "chaos", "system")
"""Every test in them needs a broker; elsewhere those that do are marked one by one."""

REQUIRED_BY: Final = {
    "kafka": "HEADRACE_REQUIRE_KAFKA",
    "node": "HEADRACE_REQUIRE_NODE",
    "data": "HEADRACE_REQUIRE_DATA",
    "prometheus": "HEADRACE_REQUIRE_PROMETHEUS",
    "browser": "HEADRACE_REQUIRE_BROWSER",
    "peers": "HEADRACE_REQUIRE_PEERS",
}
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


def pytest_itemcollected(item: pytest.Item) -> None:
    """Marks what needs a broker, and scales the test's timeout."""
    if item.path.parent.name in BROKER_FOLDERS or item.get_closest_marker("kafka"):
        item.add_marker("broker")
    item.add_marker(pytest.mark.timeout(_timeout_s(item.config)))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Puts the longest tests first, so that processes end together."""
    items.sort(key=lambda item: item.get_closest_marker("broker") is None)


def _timeout_s(config: pytest.Config) -> float:
    """Returns the bound of one test, as long as this machine needs it; 0 is none, for a debugger."""
    asked = config.getoption("timeout")
    return scaled(float(config.getini("timeout") or 0) if asked is None else asked)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Keeps tests in one process that share what takes long to start."""
    from tests.scheduling import SharingScheduler

    return SharingScheduler(config, log)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    """Refuses a broker to a test without the mark ``broker``, which ``make test-fast`` would run."""
    with pytest.MonkeyPatch.context() as patch:
        if not item.get_closest_marker("broker"):
            for kind in (EmbeddedBroker, ApacheKafka):
                patch.setattr(kind, "start", _refuse_broker)
        return (yield)


def _refuse_broker(_: object) -> None:
    pytest.fail("this test starts a broker; mark it with pytest.mark.broker")


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


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Names what fails at once: a run that is cut, or waits for another test, has told its failures."""
    if report.failed and "PYTEST_XDIST_WORKER" not in os.environ:
        sys.stderr.write(f"\n{report.when} failed: {report.nodeid}\n")


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report() -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    """Refuses a module that skips itself whole: its tests would not even be counted."""
    report = yield
    if report.skipped:
        report.outcome = "failed"
        report.longrepr = f"{report.nodeid} skips itself whole; mark its tests instead: {report.longrepr}"
    return report
