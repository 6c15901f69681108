"""How far behind the workers are, from a door's own questions."""

from hypothesis import given
from hypothesis import strategies as st

from streams.serving.pace import Pace


def test_an_answer_settles_the_questions_of_its_partition_that_came_before() -> None:
    pace: Pace[str] = Pace(2, max_lag_ms=100)
    for at_ms, asked in enumerate("abc"):
        pace.asked(0, asked, at_ms)
    pace.asked(1, "d", 50)
    pace.answered("b")
    assert not pace.is_behind(0, 102)
    pace.is_behind(0, 10_000)  # the one of this second that may try
    assert pace.is_behind(0, 10_001)
    pace.answered("unknown")
    pace.answered("c")
    assert not pace.is_behind(0, 1_000_000)
    pace.is_behind(1, 20_000)
    assert pace.is_behind(1, 20_500)


@given(st.lists(st.tuples(st.integers(0, 2), st.integers(0, 30), st.booleans())))
def test_it_remembers_no_more_than_is_open(steps: list[tuple[int, int, bool]]) -> None:
    pace: Pace[int] = Pace(3, max_lag_ms=1)
    open_: dict[int, list[int]] = {0: [], 1: [], 2: []}
    for now_ms, (partition, number, is_answer) in enumerate(steps):
        asked = 3 * number + partition  # a question is of one partition
        waiting = open_[partition]
        if is_answer:
            pace.answered(asked)
            if asked in waiting:
                del waiting[: waiting.index(asked) + 1]
        else:
            pace.asked(partition, asked, now_ms)
            if asked not in waiting:
                waiting.append(asked)
    assert {number: list(found) for number, found in enumerate(pace._open)} == open_
    assert set(pace._partitions) == {each for waiting in open_.values() for each in waiting}
