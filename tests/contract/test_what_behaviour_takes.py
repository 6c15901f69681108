"""Behaviour takes an event only with its user's key, in its user's partition, and not from the future."""

import pytest

from streams.contract.errors import RejectedRecord
from streams.contract.events import Event, encode_event
from streams.contract.partitioning import partition_of
from streams.core.behaviour.fold import BehaviourFold
from streams.testing import MemoryRecord, Pipeline
from tests.pipeline.shop_log import SETTINGS, START_MS

AHEAD_MS = int(SETTINGS.time.ahead_tolerance_s * 1000)
HOME = partition_of(b"anna", 2)
VIEW = Event(event_id="e", timestamp_ms=START_MS, kind="view", user_id="anna", item_id="i")
TICK = Event(event_id="t", timestamp_ms=START_MS, kind="tick")


@pytest.fixture(scope="module")
def fold() -> BehaviourFold:
    found = Pipeline(SETTINGS).behaviour.fold
    assert isinstance(found, BehaviourFold)
    return found


def record(event: Event, written_ms: int = START_MS, key: bytes | None = b"anna") -> MemoryRecord:
    return MemoryRecord(0, written_ms, key, encode_event(event))


def rejection(fold: BehaviourFold, taken: MemoryRecord, partition: int = HOME) -> str:
    with pytest.raises(RejectedRecord) as rejected:
        fold.decode(taken, partition)
    return rejected.value.reason


def test_an_event_in_its_place_is_taken(fold: BehaviourFold) -> None:
    assert fold.decode(record(VIEW), HOME).event == VIEW


@pytest.mark.parametrize("event", [VIEW, TICK])
def test_an_event_may_be_ahead_of_its_record_by_the_tolerance_and_no_more(fold: BehaviourFold, event: Event) -> None:
    assert fold.decode(record(event, START_MS - AHEAD_MS), HOME).event == event
    assert rejection(fold, record(event, START_MS - AHEAD_MS - 1)) == "ahead"


def test_an_event_may_be_as_old_as_it_likes(fold: BehaviourFold) -> None:
    assert fold.decode(record(VIEW, START_MS * 2), HOME).event == VIEW


@pytest.mark.parametrize("key", [None, b"", b"ben", b"anna ", b"Anna"])
def test_a_key_other_than_the_users_is_wrong(fold: BehaviourFold, key: bytes | None) -> None:
    assert rejection(fold, record(VIEW, key=key)) == "wrong-key"


def test_a_partition_other_than_the_users_is_wrong(fold: BehaviourFold) -> None:
    assert rejection(fold, record(VIEW), 1 - HOME) == "wrong-partition"


@pytest.mark.parametrize("partition", [0, 1])
@pytest.mark.parametrize("key", [None, b"anything"])
def test_a_tick_may_go_anywhere(fold: BehaviourFold, partition: int, key: bytes | None) -> None:
    assert fold.decode(record(TICK, key=key), partition).event == TICK
