"""Exactly once on a real broker: each mechanism does what it is there for, and is missed where it is taken away."""

import signal
from pathlib import Path

import pytest

from tests.broker.running import on_kafka, partition_totals
from tests.engine.running import stored_rows

pytestmark = [pytest.mark.kafka, pytest.mark.slow]


def test_kills_after_any_step_leave_every_output_once_and_every_row_right(kafka: str, tmp_path: Path) -> None:
    with on_kafka(kafka, tmp_path) as it:
        for number, step in enumerate(("fold", "emit", "log", "store", "acknowledge")):
            it.shop.publish(600)
            # Every other one begins on an empty disk.
            it.supervisor.run_until_killed(f"disk-{number // 2}", f"{step}:2")
        [last] = it.run_to_the_end(it.supervisor.start("disk-9"))
        last.send(signal.SIGTERM)
        assert last.wait() == 0, last.log.read_text()
        it.check()
        assert stored_rows(tmp_path / "disk-9") == it.shop.counts()
        assert partition_totals(kafka) == [{"applied": len(events)} for events in it.shop.events]
