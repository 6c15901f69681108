"""Who has which partitions, on a real broker: a worker that is known by name may be away for a moment."""

import signal
from pathlib import Path

import pytest

from tests.broker.on_kafka import OnKafka, on_kafka
from tests.engine.supervised import PARTITIONS, Process

pytestmark = pytest.mark.kafka

SHARE = PARTITIONS // 2
PATIENT = {"ENGINE__SESSION_TIMEOUT_S": "600.0", "ENGINE__WATCHDOG_S": "1200.0"}
"""A restart must not take longer, on however busy a machine; each group is one of its own, for it lives on as long."""


def until_each_has_its_share(*workers: Process) -> None:
    for worker in workers:
        worker.until_told(f"rebalance-ends partitions={SHARE} ")


def start(it: OnKafka, disk: str, *, named: bool) -> Process:
    return it.supervisor.start(disk, ENGINE__INSTANCE_ID=disk if named else "")


def rebalances_of_the_other_when_one_is_restarted(it: OnKafka, number: int, *, named: bool) -> int:
    """Two workers share the partitions; one ends and is started again. Every event must be answered."""
    restarted, other = (start(it, disk, named=named) for disk in ("restarted", "other"))
    it.shop.publish(200)
    until_each_has_its_share(restarted, other)
    before = other.told("rebalance-begins")
    restarted.send(number)
    assert restarted.wait() == (0 if number == signal.SIGTERM else -number), restarted.log.read_text()
    restarted.log.unlink()
    restarted = start(it, "restarted", named=named)
    it.shop.publish(200)
    it.run_to_the_end(restarted, other)
    assert it.wrong() == {}
    if named:
        assert restarted.told(f"rebalance-ends partitions={SHARE} ") == 1
    return other.told("rebalance-begins") - before


@pytest.fixture(autouse=True)
def _workers_tell_of_incidents(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOGLEVEL", "info")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_a_worker_with_a_name_that_is_back_within_the_session_costs_the_others_nothing(
    kafka: str, tmp_path: Path, number: int
) -> None:
    with on_kafka(kafka, tmp_path, 1, ENGINE__APP_ID=f"named-{number}", **PATIENT) as it:
        assert rebalances_of_the_other_when_one_is_restarted(it, number, named=True) == 0


def test_without_a_name_the_others_take_over_what_a_worker_gave_up_and_give_it_back(kafka: str, tmp_path: Path) -> None:
    with on_kafka(kafka, tmp_path, 1, ENGINE__APP_ID="nameless", **PATIENT) as it:
        assert rebalances_of_the_other_when_one_is_restarted(it, signal.SIGTERM, named=False) >= 1
