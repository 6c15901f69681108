"""``headrace health``: asks a worker of this machine how it is."""

from pathlib import Path

import click

from streams.ops.commands.base import Command, settings_of, settings_options


@click.command(cls=Command, example="headrace health --ready --data /var/lib/headrace/1 | jq -r '.why[]'")
@click.option("--data", type=click.Path(path_type=Path), metavar="DIR", help="Instead of engine.data_dir.")
@click.option("--ready", is_flag=True, help="Whether it is ready, instead of whether it moves.")
@settings_options
@click.pass_context
def health(context: click.Context, data: Path | None, ready: bool) -> int:
    """Asks a worker how it is.

    It finds the worker by its data directory, prints what it answers, as JSON, and exits with 0 if all is well, else 1.
    """
    from streams.ops.probe import probe

    good, answer = probe(data or Path(settings_of(context).engine.data_dir), "/readyz" if ready else "/healthz")
    click.echo(answer)
    return 0 if good else 1
