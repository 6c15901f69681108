"""``headrace worker``: runs one worker."""

from pathlib import Path

import click

from streams.cli.base import Command, Registered, data_option, settings_of, settings_options


@click.command(
    cls=Command,
    example="headrace worker --data /var/lib/headrace\nHEADRACE_CONFIG=shop.toml faust -A streams.app worker",
)
@data_option
@click.option(
    "--fold",
    "folds",
    multiple=True,
    type=Registered("streams.agents:FOLDS"),
    help="Run only this fold; may be repeated.",
)
@click.option("--loglevel", type=click.Choice(("debug", "info", "warning", "error")), default="warning")
@settings_options
@click.pass_context
def worker(context: click.Context, data: Path | None, folds: tuple[str, ...], loglevel: str) -> None:
    """Runs a worker.

    It processes its share of the partitions until Ctrl-C or SIGTERM. Start one worker a core, each with its own data
    directory. Either every worker of a cluster runs all folds, or each fold runs on workers that have the same folds.
    """
    from msgspec.structs import replace

    from streams.agents import FOLDS
    from streams.app import run_worker

    settings = settings_of(context)
    if data is not None:
        settings = replace(settings, engine=replace(settings.engine, data_dir=str(data)))
    run_worker(settings, folds or tuple(FOLDS), loglevel)
