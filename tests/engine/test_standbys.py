"""A standby has the rows before they are needed: when it takes over from a killed worker it reads next to none."""

import re
from pathlib import Path

import pytest

from streams.engine.exits import STALLED
from tests.engine.running import PARTITIONS, Process, Running, running

pytestmark = pytest.mark.slow

USERS = 4000


class RefusedMember(Exception):
    """The embedded broker refuses a member for good now and then, when others come or go at the same time."""


def until_told(worker: Process, words: str, before: int = 0) -> str:
    try:
        return worker.until_told(words, before)
    except AssertionError:
        if worker.code == STALLED:
            raise RefusedMember from None
        raise


def rows_read_by_who_takes_over(it: Running, *, is_standby: bool) -> int:
    """A worker has rows of many users; another joins it and takes half; the first is killed: what the other reads."""
    first = it.supervisor.start("first")
    it.shop.publish(USERS, USERS)
    first = it.supervisor.wait_for_outputs(first, it.reader, it.shop.refs())
    other = it.supervisor.start("other")
    until_told(other, f"rebalance-ends partitions={PARTITIONS // 2} ")
    if is_standby:
        until_told(other, "standbys-ready")
    before = other.told("rebalance-ends")
    first.kill()
    line = until_told(other, "rebalance-ends", before)
    found = re.search(rf"partitions={PARTITIONS} .*recovered_rows=(\d+)", line)
    assert found, line
    return int(found[1])


def rows_read(folder: Path, *, is_standby: bool) -> int:
    for attempt in range(5):
        with running(folder / str(attempt), ENGINE__STANDBY_REPLICAS=str(int(is_standby))) as it:
            (folder / str(attempt)).mkdir()
            try:
                return rows_read_by_who_takes_over(it, is_standby=is_standby)
            except RefusedMember:
                continue
    raise AssertionError("the broker refused a member each time")


@pytest.fixture(autouse=True)
def _workers_tell_of_incidents(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOGLEVEL", "info")


def test_who_takes_over_as_a_standby_reads_next_to_no_rows(tmp_path: Path) -> None:
    # Of each of the partitions taken over, the last record may be read once more.
    assert rows_read(tmp_path, is_standby=True) <= PARTITIONS


def test_without_a_standby_all_rows_that_are_taken_over_are_read(tmp_path: Path) -> None:
    assert rows_read(tmp_path, is_standby=False) > USERS // 8
