"""``headrace demo``: runs the whole system on one machine."""

import os
from pathlib import Path
from typing import Final

import click

from streams.cli.base import Command, report_option, settings_of, settings_options, write_report

_TERMINATED: Final = 143


@click.command(cls=Command, example="headrace demo --events 100000 --seed 7 --headless --report out.json")
@click.option("--events", type=click.IntRange(min=1), default=1_000_000, show_default=True, help="End after N events.")
@click.option(
    "--seconds",
    type=click.FloatRange(min=0.0),
    help="End after N seconds, 0 for no limit.  [default: 80, or 0 with --events]",
)
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True)
@click.option("--users", type=click.IntRange(min=1), default=5000, show_default=True)
@click.option("--headless", is_flag=True, help="Plain lines instead of the live view.")
@click.option("--page/--no-page", default=True, show_default=True, help="Serve the page, and print its address first.")
@report_option
@settings_options
@click.pass_context
def demo(
    context: click.Context,
    events: int,
    seconds: float | None,
    seed: int,
    users: int,
    headless: bool,
    page: bool,
    report: Path | None,
) -> None:
    """Runs the whole system on this machine.

    It starts an embedded broker, two workers and synthetic shoppers in a closed loop, with a live view and a page for
    the browser, for about 90 s. With --bootstrap-servers it uses that broker instead, and one worker. All processes end
    with it.
    """
    from streams.brokers.process_group import end_on_sigterm
    from streams.demo.closed_loop import DemoOptions, run_demo

    end_on_sigterm(_TERMINATED)
    # Shoppers are made up: only the option, which is typed for this run, sends them to a cluster.
    embedded = context.obj.bootstrap_servers is None
    if embedded and "KAFKA_BOOTSTRAP_SERVERS" in os.environ:
        click.echo("headrace: not on KAFKA_BOOTSTRAP_SERVERS: --bootstrap-servers runs the demo on a cluster", err=True)
    given = context.get_parameter_source("events") is click.core.ParameterSource.COMMANDLINE
    options = DemoOptions(
        events=events,
        seconds=(0.0 if given else 80.0) if seconds is None else seconds,
        seed=seed,
        users=users,
        headless=headless,
        embedded=embedded,
        page=page,
    )
    write_report(run_demo(settings_of(context), options), report, shown=True)
