"""Event time: whose turn it is, and who waits."""

from collections.abc import Iterator
from random import Random

from hypothesis import given
from hypothesis import strategies as st

from producers.simulator.event_queue import EventQueue, Session, Waiting, WaitingRoom
from producers.simulator.plan import Plan, Step

Gaps = st.lists(st.integers(0, 5), min_size=1, max_size=6)


def plans_of(gaps: list[list[int]]) -> Iterator[Plan]:
    """Sessions that start 3 ms apart, each with steps after these gaps; at the end one that nobody reaches."""
    for number, steps in enumerate(gaps):
        times = [3 * number]
        for gap in steps[1:]:
            times.append(times[-1] + gap)
        yield Plan(number, number, False, [Step(time, order, "view", order) for order, time in enumerate(times)])
    yield Plan(len(gaps), 0, False, [Step(1 << 40, 0, "view", 0)])
    yield Plan(len(gaps) + 1, 0, False, [Step(1 << 41, 0, "view", 0)])


@given(st.lists(Gaps, min_size=1, max_size=8))
def test_steps_come_in_the_order_of_time_and_none_is_lost(gaps: list[list[int]]) -> None:
    queue = EventQueue(plans_of(gaps))
    taken = []
    while (session := queue.pop((1 << 40) - 1)) is not None:
        step = session.take()
        taken.append((step.timestamp_ms, session.number, step.order))
        queue.push(session)
    assert [time for time, _, _ in taken] == sorted(time for time, _, _ in taken)
    expected = [
        (plan.number, step.order) for plan in plans_of(gaps) for step in plan.steps if step.timestamp_ms < 1 << 40
    ]
    assert sorted((number, order) for _, number, order in taken) == sorted(expected)


@given(st.lists(Gaps, min_size=2, max_size=8), st.data())
def test_who_is_held_does_nothing_until_released(gaps: list[list[int]], data: st.DataObject) -> None:
    """Two users: their sessions are the even and the odd ones, and overlap."""
    queue = EventQueue(plan._replace(user=plan.number % 2) for plan in plans_of(gaps))
    held: set[int] = set()
    taken: dict[int, list[int]] = {0: [], 1: []}
    while True:
        session = queue.pop((1 << 40) - 1)
        if session is None:
            if not held:
                break
            queue.release(held.pop())
            continue
        assert session.user not in held
        taken[session.user].append(session.take().timestamp_ms)
        if data.draw(st.booleans()):
            queue.hold(session.user)
            held.add(session.user)
        queue.push(session)
    assert all(times == sorted(times) for times in taken.values())
    assert sum(map(len, taken.values())) == sum(map(len, gaps))


def test_a_step_after_the_limit_is_not_taken() -> None:
    queue = EventQueue(plans_of([[0, 5]]))
    first = queue.pop(0)
    assert first is not None
    first.take()
    queue.push(first)
    assert queue.pop(4) is None
    assert queue.pop(5) is first


@given(Gaps, st.lists(st.integers(0, 30), max_size=5))
def test_added_steps_fall_between_the_planned_ones(gaps: list[int], added: list[int]) -> None:
    session = Session(next(plans_of([gaps])))
    for time in added:
        session.add(Step(time, 0, "click", 99))
    times, orders = [], []
    while session.next_ms is not None:
        step = session.take()
        times.append(step.timestamp_ms)
        orders.append(step.order)
    assert times == sorted(times)
    assert len(set(orders)) == len(orders) == len(gaps) + len(added)
    assert 99 not in session.seen


@given(st.lists(st.tuples(st.integers(0, 20), st.integers(0, 20)), min_size=1, max_size=12), st.randoms())
def test_the_oldest_is_the_oldest_of_those_who_still_wait(stays: list[tuple[int, int]], random: Random) -> None:
    room = WaitingRoom()
    everyone = []
    for view_ms, since_s in stays:
        everyone.append(Waiting(Session(next(plans_of([[0]]))), 0, view_ms, since_s))
        room.add(everyone[-1])
    here = list(everyone)
    while here:
        assert room
        assert room.oldest_ms == min(waiting.view_ms for waiting in here)
        patient = room.since(10)
        assert set(map(id, patient)) == {id(waiting) for waiting in here if waiting.since_s <= 10}
        assert [waiting.view_ms for waiting in patient] == sorted(waiting.view_ms for waiting in patient)
        gone = here.pop(random.randrange(len(here)))
        room.leave(gone)
        assert gone.is_over
    assert not room
