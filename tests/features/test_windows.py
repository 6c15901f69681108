"""Windows are what a plain loop over all events says they are."""

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from streams.contract.settings import Window
from streams.core.features.windows import N_SUMS, Ring, Windows

WINDOWS = (Window(name="short", pane_s=1, panes=3), Window(name="long", pane_s=5, panes=4))

events = st.lists(
    st.tuples(st.integers(0, 40_000), st.integers(0, N_SUMS - 1), st.integers(1, 9)), min_size=1, max_size=60
)


def brute_force(window: Window, seen: list[tuple[int, int, int]], now_ms: int) -> list[int]:
    first = now_ms // (window.pane_s * 1000) - window.panes + 1
    sums = [0] * N_SUMS
    for at_ms, column, amount in seen:
        if first <= at_ms // (window.pane_s * 1000) <= now_ms // (window.pane_s * 1000):
            sums[column] += amount
    return sums


@given(events)
def test_sums_are_those_of_a_plain_loop_in_any_order_of_events(seen: list[tuple[int, int, int]]) -> None:
    windows = Windows(WINDOWS)
    rings = windows.empty()
    now_ms = 0
    for number, (at_ms, column, amount) in enumerate(seen, start=1):
        now_ms = max(now_ms, at_ms)
        windows.slide(rings, now_ms)
        windows.add(rings, at_ms, now_ms, column, amount)
        assert [ring.totals for ring in rings] == [brute_force(window, seen[:number], now_ms) for window in WINDOWS]


@given(events, st.integers(0, 100_000))
def test_time_alone_empties_windows(seen: list[tuple[int, int, int]], later_ms: int) -> None:
    windows = Windows(WINDOWS)
    rings = windows.empty()
    now_ms = max(at_ms for at_ms, _, _ in seen)
    for at_ms, column, amount in seen:
        windows.add(rings, at_ms, now_ms, column, amount)
    windows.slide(rings, now_ms + later_ms)
    assert [ring.totals for ring in rings] == [brute_force(window, seen, now_ms + later_ms) for window in WINDOWS]


@given(st.integers(0, 10**13))
def test_every_instant_is_in_exactly_one_pane(at_ms: int) -> None:
    ring = Ring()
    ring.add(at_ms // 1000, 0, 1)
    [(number, *_)] = ring.panes
    assert number * 1000 <= at_ms < (number + 1) * 1000


@given(events)
def test_a_decoded_ring_is_the_ring(seen: list[tuple[int, int, int]]) -> None:
    ring = Ring()
    for at_ms, column, amount in seen:
        ring.add(at_ms // 1000, column, amount)
    encoded = msgspec.msgpack.encode(ring)
    assert msgspec.msgpack.encode(msgspec.msgpack.decode(encoded, type=Ring)) == encoded


def test_amounts_are_added_pane_by_pane_and_rounded_each_time_on_every_python() -> None:
    ring = Ring()
    for number, amount in enumerate((1e16, 1.0, 1.0)):
        ring.add(number, 0, amount)
    added = ring.totals
    ring.slide(0)
    assert ring.totals == added
    assert ring.totals[0] == 1e16
