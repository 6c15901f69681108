"""A key falls due once, at the earliest deadline that it was given, in whatever batches time passes."""

from hypothesis import given
from hypothesis import strategies as st

from streams.core.deadlines import Deadlines

Wakes = list[tuple[bytes, int]]

wakes = st.lists(st.tuples(st.sampled_from([b"a", b"b", b"c"]), st.integers(1, 30)), max_size=12)


def due(deadlines: Deadlines, watermark_ms: int) -> list[tuple[int, bytes]]:
    return list(iter(lambda: deadlines.pop(watermark_ms), None))


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
        may_fall = set(deadlines.begin(end_ms))
        now = due(deadlines, end_ms)
        assert {key for _, key in now} <= may_fall
        assert all(deadline_ms <= end_ms for deadline_ms, _ in now)
        fallen += now
        deadlines.end()
    assert fallen == sorted((deadline_ms, key) for key, deadline_ms in rows.items())
    assert len(deadlines) == 0


def test_a_key_that_is_woken_again_within_its_batch_falls_due_again() -> None:
    deadlines = Deadlines([(b"a", 3)])
    assert list(deadlines.begin(9)) == [b"a"]
    assert deadlines.pop(9) == (3, b"a")
    deadlines.wake(b"a", 7)
    deadlines.wake(b"a", 8)
    assert due(deadlines, 6) == []
    assert due(deadlines, 9) == [(7, b"a")]
