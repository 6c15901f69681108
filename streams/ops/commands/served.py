"""``headrace evaluate pipeline``, ``replay`` and ``shop``: what had been served, beside simple rules."""

from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from streams.contract.errors import ConfigurationError
from streams.ops.commands.base import Command, report_option, settings_of, settings_options, write_report

if TYPE_CHECKING:
    from streams.contract.events import Event

_page: Final = click.option(
    "--page",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE.md",
    help="Gets the table, between two marks; what else the page says stays.",
)
_format: Final = click.option("--format", "name", required=True, help="Of the file: taobao.")


@click.command(
    cls=Command,
    example="headrace evaluate pipeline UserBehavior.csv --format taobao --report served.json --page docs/taobao.md",
)
@click.argument("file", type=click.Path(path_type=Path))
@_format
@_page
@report_option
@settings_options
@click.pass_context
def pipeline(context: click.Context, file: Path, name: str, page: Path | None, report: Path | None) -> None:
    """Measures what the pipeline serves on a recorded clickstream.

    Behaviour and Learning fold the events of FILE in memory; every probability is measured that was served before its
    label was there, against the base rate and a rule of last activity. Without targets of its own the settings' are
    measured, and churn at a day.
    """
    from streams.ops.evaluate.served import measure_served, read_targets
    from streams.ops.progress import progress

    events = _recorded(file, name)
    with progress(f"folding {file.name}", "events", len(events)) as advance:
        measured = measure_served(events, read_targets(settings_of(context)), advance)
    _write(measured, f"headrace evaluate pipeline {file.name}", page, report)


@click.command(
    cls=Command,
    example="headrace evaluate replay UserBehavior.csv --format taobao --speed 3600x --page docs/taobao.md",
)
@click.argument("file", type=click.Path(path_type=Path))
@_format
@click.option("--speed", default="3600x", show_default=True, help="max, or a factor like 3600x: an hour a second.")
@_page
@report_option
@settings_options
@click.pass_context
def replay(context: click.Context, file: Path, name: str, speed: str, page: Path | None, report: Path | None) -> None:
    """Measures what a real worker serves while a recorded clickstream is replayed to it.

    Starts an embedded broker and a worker, replays FILE to them in the order of time, and measures as `evaluate
    pipeline` does. The faster the replay, the older in event time are the weights that predictions are made with.
    """
    from producers.replay.replay import parse_speed
    from streams.ops.evaluate.replayed import measure_replayed
    from streams.ops.evaluate.served import read_targets
    from streams.ops.progress import progress

    events, factor = _recorded(file, name), parse_speed(speed)
    with progress(f"replaying {file.name}", "events", len(events)) as advance:
        measured = measure_replayed(read_targets(settings_of(context)), events, factor, advance)
    _write(measured, f"headrace evaluate replay {file.name} --speed {speed}", page, report)


@click.command(cls=Command, example="headrace evaluate shop --events 100000 --seeds 3 --report shop.json")
@click.option("--events", type=click.IntRange(min=1000), default=100_000, show_default=True)
@click.option("--seeds", type=click.IntRange(min=1), default=1, show_default=True, help="Shops.")
@report_option
@settings_options
@click.pass_context
def shop(context: click.Context, events: int, seeds: int, report: Path | None) -> None:
    """Measures what the pipeline serves on the synthetic shop, where there are prices.

    As `evaluate pipeline` does on a file: what its shoppers do of their own accord is folded in memory. A report for
    each seed.
    """
    from producers.simulator.parameters import SimulationParameters
    from streams.ops.evaluate.served import measure_served, read_targets
    from streams.ops.evaluate.shop import organic_events
    from streams.ops.progress import progress

    settings = read_targets(settings_of(context))
    measured = {}
    with progress("folding", "events", events * seeds) as advance:
        for seed in range(seeds):
            folded = list(organic_events(SimulationParameters(seed=seed, events=events)))
            measured[f"seed {seed}"] = measure_served(folded, settings, advance)
    write_report(measured, report)


def _recorded(file: Path, name: str) -> "list[Event]":
    from producers.replay.formats import FORMATS

    if name not in FORMATS:
        raise ConfigurationError(f"there is no format {name!r}; there are {', '.join(FORMATS)}")
    events = sorted(FORMATS[name](file), key=lambda event: event.timestamp_ms)
    if not events:
        raise ConfigurationError(f"{file}: there are no events")
    return events


def _write(measured: dict[str, Any], command: str, page: Path | None, report: Path | None) -> None:
    from streams.ops.evaluate.page import write_section
    from streams.ops.evaluate.served import table_of

    if page is not None:
        write_section(page, command, table_of(measured))
    write_report(measured, report)
