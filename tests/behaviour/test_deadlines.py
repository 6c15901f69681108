"""A key falls due once, at the earliest deadline that it was given, in whatever batches time passes."""

from hypothesis import given
from hypothesis import strategies as st

from streams.core.behaviour.deadlines import Deadlines, Entry, end_of

Wakes = list[tuple[bytes, int]]

wakes = st.lists(st.tuples(st.sampled_from([b"a", b"b", b"c"]), st.integers(1, 30)), max_size=12)


def due_before(deadlines: Deadlines, before: Entry) -> list[Entry]:
    return list(iter(lambda: deadlines.pop(before), None))


def due(deadlines: Deadlines, watermark_ms: int) -> list[Entry]:
    return due_before(deadlines, end_of(watermark_ms))


@given(wakes, wakes, st.lists(st.integers(0, 40), max_size=5).map(sorted))
def test_a_key_falls_due_once_at_its_earliest_deadline(stored: Wakes, woken: Wakes, ends: list[int]) -> None:
    rows = dict(stored)
    deadlines = Deadlines(rows.items())
    for key, deadline_ms in woken:
        deadlines.wake(key, deadline_ms)
        rows[key] = min(deadline_ms, rows.get(key, deadline_ms))
    deadlines.end()
    fallen = []
    for end_ms in [*ends, 40]:
        assert deadlines.take(end_ms, len(rows))
        may_fall = set(deadlines.taken())
        now = due(deadlines, end_ms)
        assert {key for _, key in now} <= may_fall
        assert all(deadline_ms <= end_ms for deadline_ms, _ in now)
        fallen += now
        deadlines.end()
    assert fallen == sorted((deadline_ms, key) for key, deadline_ms in rows.items())
    assert len(deadlines) == 0


def test_a_key_that_is_woken_again_within_its_batch_falls_due_again() -> None:
    deadlines = Deadlines([(b"a", 3)])
    assert deadlines.take(9, 1)
    assert list(deadlines.taken()) == [b"a"]
    assert deadlines.pop(end_of(9)) == (3, b"a")
    deadlines.wake(b"a", 7)
    deadlines.wake(b"a", 8)
    assert due(deadlines, 6) == []
    assert due(deadlines, 9) == [(7, b"a")]


@given(wakes, wakes, st.integers(1, 3), st.integers(0, 40))
def test_taken_in_parts_everything_falls_due_once_and_in_order(
    stored: Wakes, woken: Wakes, limit: int, end_ms: int
) -> None:
    deadlines, at_once = Deadlines(dict(stored).items()), Deadlines(dict(stored).items())
    for each in (deadlines, at_once):
        for key, deadline_ms in woken:
            each.wake(key, deadline_ms)
        each.end()
    at_once.take(end_ms, 100)
    fallen = []
    while True:
        deadlines.begin(-1)
        is_all = deadlines.take(end_ms, limit)
        assert len(list(deadlines.taken())) <= limit
        before = end_of(end_ms) if is_all else deadlines.first_left()
        part = due_before(deadlines, before)
        assert part or is_all
        fallen += part
        deadlines.end()
        if is_all:
            break
    assert fallen == due(at_once, end_ms)
