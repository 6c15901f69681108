"""Progress of a long task on standard error: a bar on a terminal, a plain line every five seconds elsewhere.

Where the total is known, it says how much time is left.
"""

import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Final, TypeVar

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.text import Text

PLAIN_INTERVAL_S: Final = 5.0
_ITEMS: Final = 1000
"""Items between two calls of an :data:`Advance`, which takes longer than an item."""

ItemT = TypeVar("ItemT")

Advance = Callable[[int], None]
"""Function of the number of units completed since its last call."""


@contextmanager
def progress(
    task: str,
    unit: str,
    total: int | None = None,
    console: Console | None = None,
    clock: Callable[[], float] = time.monotonic,
) -> Iterator[Advance]:
    """Shows the progress of a task, from entry to exit.

    Args:
        task: Its description, such as ``replaying clicks.csv``.
        unit: Name of the units that are counted, plural.
        total: Number of units; ``None`` if unknown.
        console: Standard error if not given.
        clock: A monotonic clock, seconds.

    Example::

        with progress("replaying clicks.csv", "events", total) as advance:
            for batch in batches:
                publish(batch)
                advance(len(batch))
    """
    console = console or Console(stderr=True)
    shown = _bar(task, unit, total, console) if console.is_terminal else _lines(task, unit, total, console, clock)
    with shown as advance:
        yield advance


def watched(items: Iterable[ItemT], task: str, unit: str, console: Console | None = None) -> Iterator[ItemT]:
    """Yields items, of which nobody knows how many there are, and shows how many were taken so far.

    Args:
        task: As of :func:`progress`.
    """
    taken = 0
    with progress(task, unit, console=console) as advance:
        try:
            for item in items:
                yield item
                taken += 1
                if taken == _ITEMS:
                    advance(taken)
                    taken = 0
        finally:
            advance(taken)


@contextmanager
def _bar(task: str, unit: str, total: int | None, console: Console) -> Iterator[Advance]:
    columns = (TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn(), _Rate(unit))
    remaining = () if total is None else (TextColumn("left"), TimeRemainingColumn())
    with Progress(*columns, TimeElapsedColumn(), *remaining, console=console) as bar:
        number = bar.add_task(task, total=total)
        yield lambda done: bar.advance(number, done)


@contextmanager
def _lines(task: str, unit: str, total: int | None, console: Console, clock: Callable[[], float]) -> Iterator[Advance]:
    begun_s = clock()
    done = 0
    due_s = begun_s + PLAIN_INTERVAL_S

    def show(now_s: float) -> None:
        whole = f" of {total:,} ({done / total:.0%})" if total else ""
        rate = done / max(now_s - begun_s, 1e-9)
        left = f", {_duration((total - done) / rate)} left" if total and 0 < done < total else ""
        console.print(Text(f"{task}: {done:,}{whole} {unit}, {rate:,.0f}/s{left}"), soft_wrap=True)

    def advance(more: int) -> None:
        nonlocal done, due_s
        done += more
        if (now_s := clock()) >= due_s:
            show(now_s)
            due_s = now_s + PLAIN_INTERVAL_S

    try:
        yield advance
    finally:
        show(clock())


def _duration(seconds: float) -> str:
    """Returns a duration for people.

    >>> _duration(42.3), _duration(200), _duration(7300)
    ('42 s', '3 min', '2.0 h')
    """
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"


class _Rate(ProgressColumn):
    def __init__(self, unit: str) -> None:
        super().__init__()
        self._unit = unit

    def render(self, task: Task) -> Text:
        return Text(f"{self._unit}, {task.speed or 0.0:,.0f}/s")
