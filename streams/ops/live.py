"""The live view: the board as a terminal screen, or as plain lines where there is no terminal to draw on."""

from collections.abc import Mapping
from typing import Any, Final, Protocol

from rich.box import SIMPLE_HEAD
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.panel import Panel
from rich.progress_bar import ProgressBar
from rich.table import Column, Table
from rich.text import Text

from streams.ops.board import Board

MIN_COLUMNS: Final = 80
_PLAIN_INTERVAL_S: Final = 5.0


class View(Protocol):
    """Shows the board now and then."""

    def show(self, board: Board, done: int, total: int, elapsed_s: float) -> None: ...
    def close(self) -> None: ...


def choose_view(console: Console, *, headless: bool) -> View:
    """Chooses the screen on a terminal of at least 80 columns, plain lines elsewhere."""
    if headless or not console.is_terminal or console.width < MIN_COLUMNS:
        return PlainView(console)
    return ScreenView(console)


class PlainView:
    """One line every few seconds."""

    def __init__(self, console: Console, interval_s: float = _PLAIN_INTERVAL_S) -> None:
        self._console = console
        self._interval_s = interval_s
        self._due_s = 0.0

    def show(self, board: Board, done: int, total: int, elapsed_s: float) -> None:
        """Prints a line if it is time for one."""
        if elapsed_s < self._due_s:
            return
        self._due_s = elapsed_s + self._interval_s
        totals = board.totals()
        latency = board.latency_ms()
        parts = [
            f"{elapsed_s:4.0f} s",
            f"{totals['applied']:,} of {total:,} events applied",
            f"{board.rate():,.0f}/s",
            f"lag {board.lag():,}",
            f"p50 {latency['p50']:.0f} ms" if latency else "no latency yet",
            *(f"{name} AUC {auc:.3f}" for name, auc in _aucs(board).items() if auc is not None),
            *(_rate(name, policy) for name, policy in totals["policies"].items() if policy["ctr"]),
        ]
        self._console.print(Text("  ".join(parts)), soft_wrap=True)

    def close(self) -> None:
        """Does nothing; lines need no end."""


class ScreenView:
    """A screen that is redrawn in place."""

    def __init__(self, console: Console) -> None:
        self._live = Live(console=console, refresh_per_second=4, transient=True)
        self._live.start()

    def show(self, board: Board, done: int, total: int, elapsed_s: float) -> None:
        """Redraws the screen."""
        self._live.update(_screen(board, done, total, elapsed_s))

    def close(self) -> None:
        """Gives the terminal back."""
        self._live.stop()


def policies_table(totals: Mapping[str, Any]) -> Table:
    """Draws each policy's click rate, with its interval, and its lift over the control with bounds for any time."""
    headers = ("decided", "shown", "clicks", "rate", "95 %", "lift", "at any time")
    table = Table("policy", *map(_right, headers), box=SIMPLE_HEAD, collapse_padding=True, pad_edge=False)
    for name, policy in totals["policies"].items():
        rate, interval = policy["ctr"], policy["ctr_ci95"]
        lift, bounds = policy.get("lift"), policy.get("lift_anytime95")
        table.add_row(
            name,
            f"{policy['decisions']:,}",
            f"{policy['impressions']:,}",
            f"{policy['clicks']:,}",
            "-" if rate is None else f"{rate:.1%}",
            "-" if interval is None else f"{interval[0]:.1%}–{interval[1]:.1%}",
            "" if lift is None else f"{lift:+.0%}",
            "" if bounds is None else f"{bounds[0]:+.0%} to {bounds[1]:+.0%}",
        )
    return table


def regret_line(board: Board) -> Text:
    """Says how many clicks a slate each policy is behind the best slates of the shop, where that is known."""
    truths = board.truths()
    if not truths:
        return Text()
    behind = ", ".join(f"{name} {truth['regret_per_slate']:.3f}" for name, truth in sorted(truths.items()))
    return Text(f"regret against the known optimum, clicks a slate: {behind}", style="dim")


def targets_table(board: Board) -> Table:
    """Draws how well each target's champion predicts what came after."""
    columns = ("examples", "positives", "AUC", "log loss", "base rate's", "calibration", "F1")
    table = Table("target", *map(_right, columns))
    for name, record in board.learners().items():
        if "positives" not in record:
            continue
        served = record["members"][record["champion"]]
        table.add_row(
            name,
            f"{record['examples']:,}",
            f"{record['positives']:,.0f}",
            *(_number(served[key]) for key in ("auc", "log_loss", "base_log_loss", "calibration", "f1")),
        )
    return table


def amounts_line(board: Board) -> Text:
    """Says how far expected amounts were off, and how far the mean of all would have been."""
    text = Text(style="dim")
    for name, record in board.learners().items():
        if "amount" not in record:
            continue
        served = record["members"][record["champion"]]
        text.append(
            f"{name}: {record['examples']:,} examples, {served['positives']:,} above zero, off by "
            f"{_number(served['mae'])} (the mean by {_number(served['base_mae'])}), RMSE {_number(served['rmse'])} "
            f"({_number(served['base_rmse'])}), calibration {_number(served['calibration'])}"
        )
    return text


def _screen(board: Board, done: int, total: int, elapsed_s: float) -> RenderableType:
    totals = board.totals()
    latency = board.latency_ms()
    facts = Table.grid(padding=(0, 3))
    facts.add_row(
        f"{totals['applied']:,} applied",
        f"{totals['duplicates']:,} duplicates",
        f"{totals['late']:,} late",
        f"{sum(totals['dead_letters'].values()):,} dead letters",
        f"lag {board.lag():,}",
    )
    facts.add_row(
        f"{board.rate():,.0f} events/s",
        *(f"{name} {latency[name]:.0f} ms" for name in ("p50", "p95", "p99")) if latency else ("",),
        f"{totals['decisions']:,} decisions",
    )
    bar = ProgressBar(total=total, completed=min(done, total), width=None)
    return Panel(
        Group(
            Text(f"{done:,} of {total:,} events published, {elapsed_s:.0f} s"),
            bar,
            Text(),
            facts,
            Text(),
            targets_table(board),
            amounts_line(board),
            policies_table(totals),
            regret_line(board),
        ),
        title="Headrace",
    )


def _rate(name: str, policy: Mapping[str, Any]) -> str:
    bounds = policy.get("lift_anytime95")
    lift = f" ({bounds[0]:+.0%} to {bounds[1]:+.0%})" if bounds else ""
    return f"{name} CTR {policy['ctr']:.2%}{lift}"


def _aucs(board: Board) -> dict[str, float | None]:
    return {
        name: record["members"][record["champion"]]["auc"]
        for name, record in board.learners().items()
        if "positives" in record
    }


def _right(header: str) -> Column:
    return Column(header, justify="right")


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"
