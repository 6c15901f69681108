"""Progress without a terminal, on a clock of the test's own, and with one."""

import io
from itertools import count

import pytest
from rich.console import Console

from streams.observability.progress import progress, watched


def lines(console: Console) -> list[str]:
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue().splitlines()


def test_without_a_terminal_a_plain_line_now_and_then_and_one_at_the_end() -> None:
    console = Console(file=io.StringIO())
    seconds = count()
    with progress("replaying [a].csv", "events", 40, console, clock=lambda: float(next(seconds))) as advance:
        for _ in range(10):
            advance(4)
    assert lines(console) == [
        "replaying [a].csv: 20 of 40 (50%) events, 4/s, 5 s left",
        "replaying [a].csv: 40 of 40 (100%) events, 4/s",
        "replaying [a].csv: 40 of 40 (100%) events, 4/s",
    ]


def test_an_unknown_total_is_left_out() -> None:
    console = Console(file=io.StringIO())
    seconds = count()
    with progress("simulating", "events", None, console, clock=lambda: float(next(seconds))) as advance:
        advance(2500)
    assert lines(console) == ["simulating: 2,500 events, 1,250/s"]


def test_what_was_done_is_said_even_when_it_fails() -> None:
    console = Console(file=io.StringIO())

    def fail_halfway() -> None:
        with progress("replaying", "events", 4, console) as advance:
            advance(2)
            raise ValueError

    with pytest.raises(ValueError):  # noqa: PT011
        fail_halfway()
    assert lines(console)[-1].startswith("replaying: 2 of 4 (50%) events")


def test_what_is_watched_comes_as_it_was_and_is_counted_to_where_it_ended() -> None:
    console = Console(file=io.StringIO())
    assert list(watched(range(2500), "checking a.csv", "events", console)) == list(range(2500))
    taken = watched(range(2500), "checking b.csv", "events", console)
    assert [next(taken) for _ in range(3)] == [0, 1, 2]
    taken.close()  # type: ignore[attr-defined]
    assert [line.partition(" events")[0] for line in lines(console)] == ["checking a.csv: 2,500", "checking b.csv: 2"]


def test_on_a_terminal_a_bar() -> None:
    console = Console(file=io.StringIO(), force_terminal=True, width=120)
    with progress("replaying [a].csv", "events", 2, console) as advance:
        advance(2)
    shown = "\n".join(lines(console))
    assert "replaying [a].csv" in shown
    assert "2/2" in shown
