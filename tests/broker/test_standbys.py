"""A standby has the rows before it is needed: who takes over from a killed worker then reads next to none."""

import re
from pathlib import Path

import pytest

from tests.broker.on_kafka import OnKafka, on_kafka
from tests.broker.test_membership import until_each_has_its_share
from tests.engine.supervised import PARTITIONS

pytestmark = pytest.mark.kafka

USERS = 4000
PATIENT = {"ENGINE__WATCHDOG_S": "1200.0"}


@pytest.fixture(autouse=True)
def _workers_tell_of_incidents(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOGLEVEL", "info")


def rows_read_by_who_takes_over(it: OnKafka, *, is_standby: bool, mishap: str = "") -> int:
    """A worker has rows of many users; another joins it and takes half; the first is killed: what the other reads."""
    first = it.supervisor.start("first")
    it.shop.publish(USERS, USERS)
    [first] = it.run_to_the_end(first)
    other = it.supervisor.start("other", mutant=mishap)
    until_each_has_its_share(first, other)
    if is_standby:
        other.until_told("standbys-ready")
    before = other.told("rebalance-ends")
    first.kill()
    line = other.until_told("rebalance-ends", before)
    it.shop.publish(200, USERS)
    it.run_to_the_end(other)
    assert it.wrong() == {}
    found = re.search(rf"partitions={PARTITIONS} .*recovered_rows=(\d+)", line)
    assert found, line
    return int(found[1])


@pytest.mark.parametrize("mishap", ["", "standby-loses-a-batch"])
def test_who_takes_over_from_a_killed_worker_as_its_standby_reads_next_to_no_rows(
    kafka: str, tmp_path: Path, mishap: str
) -> None:
    with on_kafka(kafka, tmp_path, 1, ENGINE__STANDBY_REPLICAS="1", ENGINE__BATCH_RECORDS="100", **PATIENT) as it:
        # Of each of the partitions taken over, the last record may be read once more.
        assert rows_read_by_who_takes_over(it, is_standby=True, mishap=mishap) <= PARTITIONS


def test_without_a_standby_all_rows_that_are_taken_over_are_read(kafka: str, tmp_path: Path) -> None:
    with on_kafka(kafka, tmp_path, 1, **PATIENT) as it:
        assert rows_read_by_who_takes_over(it, is_standby=False) > len(it.shop.counts()) // 4
