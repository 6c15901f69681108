"""Live view of the metrics: a screen on a terminal, plain lines elsewhere."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from types import MappingProxyType
from typing import IO, Final, NamedTuple, Protocol

from msgspec.structs import asdict
from rich.console import Console, ConsoleDimensions, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.text import Text

from streams.contract.metrics import PolicyTotals
from streams.contract.records import Recommendation
from streams.contract.settings import Settings
from streams.contract.topics import CLICKSTREAM, EXAMPLES, ITEM_SIGNALS
from streams.demo.policies_view import leading_policy, lift_line, lift_text, policies_table, recommendations_grid
from streams.demo.recommendations import N_RECENT, RecentRecommendations, recent_recommendations
from streams.demo.targets_view import aucs, targets_table
from streams.observability.metrics_view import MetricsView

MIN_COLUMNS: Final = 80
_LEAST_LINES: Final = 24
_ROOMY_LINES: Final = 30
"""From so many lines on, blank lines part the tables."""
_N_PARTINGS: Final = 3
_FILE_COLUMNS: Final = 1000
"""Wider than any line: in a file or a pipe nothing is wrapped."""
_PLAIN_INTERVAL_S: Final = 5.0
_REFRESHES_PER_S: Final = 4
_LAGS: Final = {CLICKSTREAM: "events", EXAMPLES: "examples", ITEM_SIGNALS: "item signals"}


class Progress(NamedTuple):
    """Progress of a demo.

    Attributes:
        events: Number of events to be published.
        starting: Parts that are being started; empty once events are applied.
        is_ended: Whether the last event is published.
        page: Its address; empty for none.
    """

    events: int
    elapsed_s: float
    starting: str = ""
    is_ended: bool = False
    page: str = ""


class View(Protocol):
    """Regular display of the metrics."""

    def follow(self, settings: Settings) -> AbstractContextManager[None]:
        """Shows in this context also what is recommended."""

    def show(self, metrics_view: MetricsView, progress: Progress) -> None: ...
    def warn(self, lines: Iterable[str]) -> None:
        """Shows lines that the demo's processes have logged."""

    def close(self) -> None: ...


def open_console(file: IO[str] | None = None) -> Console:
    """Opens a console that wraps lines at the width of a terminal, and nowhere else."""
    console = Console(file=file)
    return console if console.is_terminal else Console(file=file, width=_FILE_COLUMNS)


def choose_view(console: Console, *, headless: bool) -> View:
    """Chooses the screen on a terminal of at least 80 columns, plain lines elsewhere."""
    if headless or not console.is_terminal or console.width < MIN_COLUMNS:
        return PlainView(console)
    return ScreenView(console)


class PlainView:
    """Plain lines, one every five seconds, and one whenever something else is started or waited for."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._due_s = 0.0
        self._stage: tuple[str, bool] | None = None

    def follow(self, settings: Settings) -> AbstractContextManager[None]:
        return nullcontext()

    def show(self, metrics_view: MetricsView, progress: Progress) -> None:
        """Prints a line if it is due."""
        elapsed_s, stage = progress.elapsed_s, (progress.starting, progress.is_ended)
        if elapsed_s < self._due_s and stage == self._stage:
            return
        self._due_s, self._stage = elapsed_s + _PLAIN_INTERVAL_S, stage
        parts = [f"{elapsed_s:4.0f} s", *_state(metrics_view, progress)]
        self._console.print(Text("  ".join(parts)), soft_wrap=True)

    def warn(self, lines: Iterable[str]) -> None:
        for line in lines:
            self._console.print(Text(line), soft_wrap=True)

    def close(self) -> None:
        """Does nothing."""


class ScreenView:
    """Screen that is redrawn in place; what was logged is printed when it closes."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._logged: list[str] = []
        self._recent: RecentRecommendations | None = None
        self._live = Live(console=console, refresh_per_second=_REFRESHES_PER_S, screen=True)
        self._live.start()

    @contextmanager
    def follow(self, settings: Settings) -> Iterator[None]:
        with recent_recommendations(settings) as self._recent:
            yield
        self._recent = None

    def show(self, metrics_view: MetricsView, progress: Progress) -> None:
        recommended = self._recent.read() if self._recent else ()
        titles = self._recent.titles if self._recent else {}
        self._live.update(screen(metrics_view, progress, self._logged, recommended, self._console.size, titles))

    def warn(self, lines: Iterable[str]) -> None:
        self._logged += lines

    def close(self) -> None:
        self._live.stop()
        for line in self._logged:
            self._console.print(Text(line), soft_wrap=True)


def awaited(metrics_view: MetricsView) -> str:
    """Names what is published but not yet applied."""
    left = {name: metrics_view.lag(source) for source, name in _LAGS.items()}
    named = ", ".join(f"{lag:,} {name}" for name, lag in left.items() if lag)
    return f"{named or 'nothing'} left"


def screen(
    metrics_view: MetricsView,
    progress: Progress,
    logged: Sequence[str],
    recommended: Sequence[Recommendation],
    size: ConsoleDimensions,
    titles: Mapping[str, str] = MappingProxyType({}),
) -> RenderableType:
    """Draws the screen; it needs 80 columns and 24 lines.

    Args:
        recommended: Recent recommendations, newest first; as many are shown as there is room for.
        titles: Item to its title in the shop's catalogue.
    """
    if size.width < MIN_COLUMNS:
        return Text("  ".join(_state(metrics_view, progress)))
    totals = metrics_view.totals()
    latency = metrics_view.latency_ms()
    published = totals.applied + metrics_view.lag(CLICKSTREAM)
    heading = f"Headrace  {published:,} of {progress.events:,} events published, {progress.elapsed_s:.0f} s"
    if progress.starting:
        heading = f"Headrace  starting {progress.starting}, {progress.elapsed_s:.0f} s"
    if progress.page:
        heading += f"  {progress.page}"
    facts = (
        f"{totals.applied:,} applied",
        f"{totals.duplicates:,} duplicates",
        f"{totals.late:,} late",
        f"{sum(totals.dead_letters.values()):,} dead letters",
        f"{totals.decisions:,} decisions",
    )
    speed = (
        f"{metrics_view.rate():,.0f} events/s",
        *(f"{name} {ms:.0f} ms" for name, ms in (asdict(latency) if latency else {}).items()),
        _lags(metrics_view),
    )
    lines: list[RenderableType] = [
        Text(heading, style="bold"),
        ProgressBar(total=progress.events, completed=min(published, progress.events), width=None),
        Text(),  # ends the bar's line
        Text("   ".join(facts)),
        Text(_waiting(metrics_view) if progress.is_ended else "   ".join(speed)),
    ]
    if logged:
        last = f"logged ({len(logged):,}): {logged[-1]}"
        lines.append(Text(last, style="yellow", no_wrap=True, overflow="ellipsis"))
    policies = totals.policies
    parting = [Text()] if size.height >= _ROOMY_LINES else []
    n_recommended = min(max(size.height - _LEAST_LINES + 1 - _N_PARTINGS * len(parting), 1), N_RECENT)
    return Group(
        *lines,
        *parting,
        targets_table(metrics_view),
        *parting,
        policies_table(policies, metrics_view.ground_truth()),
        lift_line(policies),
        *parting,
        recommendations_grid(recommended[:n_recommended], size.width, titles),
    )


def _state(metrics_view: MetricsView, progress: Progress) -> list[str]:
    """Lists the facts of a plain line."""
    if progress.starting:
        return [f"starting {progress.starting}"]
    totals = metrics_view.totals()
    applied = f"{totals.applied:,} of {progress.events:,} events applied"
    if progress.is_ended:
        return [applied, _waiting(metrics_view)]
    latency = metrics_view.latency_ms()
    return [
        applied,
        f"{metrics_view.rate():,.0f}/s",
        _lags(metrics_view),
        f"p50 {latency.p50:.0f} ms" if latency else "no latency yet",
        *(f"{name} AUC {auc:.3f}" for name, auc in aucs(metrics_view).items()),
        *(
            f"{name} CTR {policy.ctr.estimate:.2%}"
            for name, policy in totals.policies.items()
            if policy.ctr and policy.clicks
        ),
        *_lifts(totals.policies),
    ]


def _lifts(policies: Mapping[str, PolicyTotals]) -> list[str]:
    leader = leading_policy(policies)
    lifts = policies[leader].lift if leader else {}
    return [f"{leader} over {control} {lift_text(lift)}" for control, lift in lifts.items() if lift]


def _lags(metrics_view: MetricsView) -> str:
    return "lag " + ", ".join(f"{metrics_view.lag(source):,} {name}" for source, name in _LAGS.items())


def _waiting(metrics_view: MetricsView) -> str:
    if any(metrics_view.lag(source) for source in _LAGS):
        return f"waiting until all is learned: {awaited(metrics_view)}"
    return "all is learned; measuring what was attainable"
