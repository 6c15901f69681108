"""A worker that is told to end while its group waits for somebody else ends all the same."""

import signal
from pathlib import Path

import pytest

from tests.broker.on_kafka import on_kafka
from tests.broker.test_membership import PATIENT, until_each_has_its_share

pytestmark = pytest.mark.kafka


def test_workers_that_are_told_to_end_in_a_rebalance_end_though_it_does_not(
    kafka: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One member of three is paused, and the others wait for it to rejoin until its session ends.

    The group is one of its own, since it keeps the paused member for so long.
    """
    monkeypatch.setenv("LOGLEVEL", "info")
    with on_kafka(kafka, tmp_path, 1, ENGINE__APP_ID="endings", **PATIENT) as it:
        member, paused = it.supervisor.start("member"), it.supervisor.start("paused")
        until_each_has_its_share(member, paused)
        joins = member.told("(Re-)joining")
        paused.send(signal.SIGSTOP)
        newcomer = it.supervisor.start("newcomer")
        member.until_told("(Re-)joining", joins)
        newcomer.until_told("(Re-)joining")
        for worker in (member, newcomer):
            worker.send(signal.SIGTERM)
        for worker in (member, newcomer):
            assert worker.wait() == 0, worker.log.read_text()
