"""A worker that is told to end while it does not fold yet ends within its bound, with 0, and another goes on."""

import signal
from pathlib import Path

import pytest

from tests.engine.supervised import PARTITIONS, running

pytestmark = pytest.mark.broker

USERS = 6000
PATIENT = {"ENGINE__SESSION_TIMEOUT_S": "600.0", "ENGINE__WATCHDOG_S": "1200.0"}


@pytest.fixture(autouse=True)
def _workers_tell_of_incidents(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOGLEVEL", "info")


def test_in_a_recovery_it_ends_where_it_is_and_the_next_goes_on_from_there(tmp_path: Path) -> None:
    with running(tmp_path) as (_, shop, supervisor, reader):
        shop.publish(USERS, USERS)
        supervisor.run_to_the_end("first", reader, shop.refs())
        ended = supervisor.start("second", mutant="slow-recovery")
        ended.until_told("a batch of a changelog", before=2)
        ended.send(signal.SIGTERM)
        assert ended.wait() == 0, ended.log.read_text()
        assert ended.told("rebalance-ends") == 0  # It was in the middle.
        shop.publish(200, USERS)
        supervisor.run_to_the_end("second", reader, shop.refs())


def test_in_a_rebalance_it_leaves_without_waiting_for_the_others(tmp_path: Path) -> None:
    """This broker lets those who join wait for a whole session."""
    with running(tmp_path, PARTITIONS, **PATIENT) as (_, _, supervisor, _):
        member = supervisor.start("member")
        member.until_told("rebalance-ends")
        newcomer = supervisor.start("newcomer")
        newcomer.until_told("(Re-)joining")
        member.until_told("(Re-)joining", before=1)
        for worker in (member, newcomer):
            worker.send(signal.SIGTERM)
        for worker in (member, newcomer):
            assert worker.wait() == 0, worker.log.read_text()
