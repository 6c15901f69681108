"""``headrace health``: checks a worker of this machine."""

from pathlib import Path

import click

from streams.cli.base import Command, data_option, settings_of, settings_options


@click.command(cls=Command, example="headrace health --ready --data /var/lib/headrace/1 | jq -r '.why[]'")
@data_option
@click.option("--ready", is_flag=True, help="Check that it is ready, not only that it makes progress.")
@settings_options
@click.pass_context
def health(context: click.Context, data: Path | None, ready: bool) -> int:
    """Checks a worker's health.

    It finds the worker by its data directory and prints the answer, JSON. The exit code is 0 for healthy, else 1.
    """
    from streams.observability.http_server import probe

    good, answer = probe(data or Path(settings_of(context).engine.data_dir), "/readyz" if ready else "/healthz")
    click.echo(answer)
    return 0 if good else 1
