"""``headrace models``: what has been learned, taken out and put back."""

import json
from pathlib import Path

import click

from streams.ops.commands.base import Command, Group, settings_of, settings_options

_data = click.option("--data", type=click.Path(path_type=Path), metavar="DIR", help="Instead of engine.data_dir.")


@click.group(cls=Group, example="headrace models list --data .headrace")
def models() -> None:
    """Lists, shows, exports and rolls back what has been learned."""


@models.command(cls=Command, name="list", example="headrace models list --data .headrace | jq -r .learner")
@_data
@settings_options
@click.pass_context
def list_(context: click.Context, data: Path | None) -> None:
    """Lists the learners of a data directory, a line of JSON each; a worker may be running."""
    from streams.ops.models import list_models

    for learner in list_models(data or Path(settings_of(context).engine.data_dir)):
        click.echo(json.dumps(learner))


@models.command(cls=Command, example="headrace models show purchase --data .headrace")
@click.argument("learner")
@_data
@settings_options
@click.pass_context
def show(context: click.Context, learner: str, data: Path | None) -> None:
    """Shows a learner: marks, quality of its members, arrays by their shape."""
    from streams.ops.models import show_model

    settings = settings_of(context)
    click.echo(json.dumps(show_model(settings, data or Path(settings.engine.data_dir), learner), indent=2))


@models.command(cls=Command, example="headrace models export purchase purchase.snapshot --data .headrace")
@click.argument("learner")
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
@_data
@settings_options
@click.pass_context
def export(context: click.Context, learner: str, file: Path, data: Path | None) -> None:
    """Writes a snapshot of a learner to FILE; a worker may be running."""
    from streams.ops.models import export_model

    settings = settings_of(context)
    size = export_model(settings, data or Path(settings.engine.data_dir), learner, file)
    click.echo(f"{learner}: {size} bytes to {file}")


@models.command(cls=Command, example="headrace models rollback purchase.snapshot --data .headrace")
@click.argument("file", type=click.Path(path_type=Path))
@_data
@settings_options
@click.pass_context
def rollback(context: click.Context, file: Path, data: Path | None) -> None:
    """Gives a learner the parameters of a snapshot.

    Stop the worker that has the learner first. When it runs again it learns on from the snapshot, no example twice, and
    publishes with its next examples, under a version above all earlier ones.
    """
    from streams.ops.models import rollback_model

    settings = settings_of(context)
    done = rollback_model(settings, data or Path(settings.engine.data_dir), file)
    click.echo(f"{done['learner']}: goes on from {file} as version {done['version']}")
