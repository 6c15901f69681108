"""``headrace evaluate pipeline``, ``replay`` and ``shop``: measure served predictions against simple rules."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from streams.cli.base import Command, report_option, settings_of, settings_options, write_report
from streams.cli.recorded import FileOptions, file_options, recorded, timeline_of

if TYPE_CHECKING:
    from streams.contract.events import Event


@click.command(
    cls=Command,
    example="headrace evaluate pipeline UserBehavior.csv --report served.json",
)
@file_options
@report_option
@settings_options
@click.pass_context
def pipeline(context: click.Context, files: tuple[Path, ...], options: FileOptions, report: Path | None) -> None:
    """Measures the served predictions on a recorded clickstream.

    Behaviour and Learning fold the events of the files in memory. Every probability is compared with its later label,
    with the base rate and with a rule of last activity. Measured are the targets of the settings; by default, the
    built-in ones and churn within a day.
    """
    from streams.evaluation.served import measure_served, read_targets
    from streams.observability.progress import progress

    events = _events(files, options)
    with progress("folding", "events", len(events)) as advance:
        measured = measure_served(events, read_targets(settings_of(context)), advance)
    write_report(measured, report)


@click.command(
    cls=Command,
    example="headrace evaluate replay UserBehavior.csv --speed 3600x --report replayed.json",
)
@file_options
@click.option("--speed", default="3600x", show_default=True, help="max, or a factor; 3600x is an hour a second.")
@report_option
@settings_options
@click.pass_context
def replay(
    context: click.Context, files: tuple[Path, ...], options: FileOptions, speed: str, report: Path | None
) -> None:
    """Measures the predictions of a real worker on a replayed clickstream.

    It starts an embedded broker and a worker, replays the files to them, and measures as `evaluate
    pipeline` does. The faster the replay, the older, in event time, are the weights behind the predictions.
    """
    from producers.replay.replay import parse_speed
    from streams.evaluation.replayed import measure_replayed
    from streams.evaluation.served import read_targets
    from streams.observability.progress import progress

    factor = parse_speed(speed)
    events = _events(files, options)
    with progress("replaying", "events", len(events)) as advance:
        measured = measure_replayed(read_targets(settings_of(context)), events, factor, advance)
    write_report(measured, report)


@click.command(cls=Command, example="headrace evaluate shop --events 100000 --seeds 3 --report shop.json")
@click.option("--events", type=click.IntRange(min=1000), default=100_000, show_default=True)
@click.option("--seeds", type=click.IntRange(min=1), default=1, show_default=True, help="Number of shops.")
@report_option
@settings_options
@click.pass_context
def shop(context: click.Context, events: int, seeds: int, report: Path | None) -> None:
    """Measures the served predictions on the synthetic shop, which has prices.

    It measures as `evaluate pipeline` does, on events of shoppers without recommendations. There is one report for each
    seed.
    """
    from producers.simulator.parameters import SimulationParameters
    from producers.simulator.simulation import organic_events
    from streams.evaluation.served import measure_served, read_targets
    from streams.observability.progress import progress

    settings = read_targets(settings_of(context))
    measured = {}
    with progress("folding", "events", events * seeds) as advance:
        for seed in range(seeds):
            folded = list(organic_events(SimulationParameters(seed=seed, events=events)))
            measured[f"seed {seed}"] = measure_served(folded, settings, advance)
    write_report(measured, report)


def _events(files: Sequence[Path], options: FileOptions) -> "list[Event]":
    with recorded(files, options) as read, timeline_of(read, options) as timeline:
        return list(timeline.events())
