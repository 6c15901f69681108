"""The harness waits for what it says, and the counting worker counts each event once."""

import subprocess
import sys
from collections.abc import Iterator

import pytest

from benchmarks.counting import CountingFold, State
from benchmarks.engine import USERS, views
from benchmarks.harness import Worker, polls
from benchmarks.memory import left_rows, offered
from streams.contract.events import decode_event
from streams.contract.fold import PartitionRow


@pytest.fixture
def ended() -> Iterator[Worker]:
    with subprocess.Popen([sys.executable, "-c", "raise SystemExit(3)"]) as worker:
        worker.wait()
        yield worker


def test_a_worker_that_ended_is_not_waited_for(ended: Worker) -> None:
    with pytest.raises(RuntimeError, match="has not committed: it ended with 3"):
        next(polls(ended, "committed"))


def test_the_counting_fold_counts_each_event_once() -> None:
    fold, state = CountingFold(), State(PartitionRow(), 0)
    events = [(offset, decode_event(message.value)) for offset, message in enumerate(views(2 * USERS))]
    keys = list(fold.keys(state, events))
    assert len(keys) == USERS
    outputs, rows, _ = fold.fold(state, events, dict.fromkeys(keys))
    assert len(outputs) == 2 * USERS
    assert {(row.events, row.sum) for row in rows.values()} == {(2, 3.0)}
    again = fold.fold(state, events, {key: fold.decode_row(fold.encode_row(row)) for key, row in rows.items()})
    assert again.outputs == []
    assert again.rows == rows


def test_users_who_left_have_nothing_open_and_items_have_all_their_neighbours() -> None:
    assert len(left_rows()) > 100
    [first, *_] = items = list(offered(1000, 24, 1000.0))
    assert len(items) == 1000
    assert set(first.row.neighbours) == set(first.summary.neighbours)
    assert len(first.row.neighbours) == 24
