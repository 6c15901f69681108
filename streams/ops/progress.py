"""Progress of something long: a bar on a terminal, a plain line now and then anywhere else. On standard error."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, Task, TextColumn, TimeElapsedColumn
from rich.text import Text

PLAIN_INTERVAL_S: Final = 5.0

Advance = Callable[[int], None]
"""Tells that so many more units are done."""


@contextmanager
def progress(
    task: str,
    unit: str,
    total: int | None = None,
    console: Console | None = None,
    clock: Callable[[], float] = time.monotonic,
) -> Iterator[Advance]:
    """Shows how far a task is, from entry to exit.

    Args:
        task: What is being done: ``replaying clicks.csv``.
        unit: Of what is counted, plural.
        total: In units; ``None`` when it is not known beforehand.
        console: Where to; standard error if not given.
        clock: Seconds from anywhere.

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


@contextmanager
def _bar(task: str, unit: str, total: int | None, console: Console) -> Iterator[Advance]:
    columns = (TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn(), _Rate(unit))
    with Progress(*columns, TimeElapsedColumn(), console=console) as bar:
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
        console.print(Text(f"{task}: {done:,}{whole} {unit}, {rate:,.0f}/s"), soft_wrap=True)

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


class _Rate(ProgressColumn):
    def __init__(self, unit: str) -> None:
        super().__init__()
        self._unit = unit

    def render(self, task: Task) -> Text:
        return Text(f"{self._unit}, {task.speed or 0.0:,.0f}/s")
