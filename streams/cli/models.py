"""``headrace models``: lists, shows, exports and rolls back learners."""

import json
from pathlib import Path

import click

from streams.cli.base import Group, data_option, settings_of, settings_options


@click.group(cls=Group, example="headrace models list --data .headrace")
def models() -> None:
    """Lists, shows, exports and rolls back learners."""


@models.command(name="list", example="headrace models list --data .headrace | jq -r .learner")
@data_option
@settings_options
@click.pass_context
def list_(context: click.Context, data: Path | None) -> None:
    """Lists the learners of a data directory, one JSON object a line; a worker may be running."""
    from streams.admin.learners import list_models

    for learner in list_models(data or Path(settings_of(context).engine.data_dir)):
        click.echo(json.dumps(learner))


@models.command(example="headrace models show purchase --data .headrace")
@click.argument("learner")
@data_option
@settings_options
@click.pass_context
def show(context: click.Context, learner: str, data: Path | None) -> None:
    """Shows a learner: applied positions, quality of its models, shapes of its arrays."""
    from streams.admin.learners import show_model

    settings = settings_of(context)
    click.echo(json.dumps(show_model(settings, data or Path(settings.engine.data_dir), learner), indent=2))


@models.command(example="headrace models export purchase purchase.snapshot --data .headrace")
@click.argument("learner")
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
@data_option
@settings_options
@click.pass_context
def export(context: click.Context, learner: str, file: Path, data: Path | None) -> None:
    """Writes a snapshot of a learner to FILE; a worker may be running."""
    from streams.admin.learners import export_model

    settings = settings_of(context)
    size = export_model(settings, data or Path(settings.engine.data_dir), learner, file)
    click.echo(f"{learner}: {size} bytes to {file}")


@models.command(example="headrace models rollback purchase.snapshot --data .headrace")
@click.argument("file", type=click.Path(path_type=Path))
@data_option
@settings_options
@click.pass_context
def rollback(context: click.Context, file: Path, data: Path | None) -> None:
    """Restores a learner's parameters from a snapshot.

    Stop the worker that has the learner first. When it runs again, it continues from the snapshot, learns no example
    twice, and publishes with its next examples, under a version above all earlier ones.
    """
    from streams.admin.learners import rollback_model

    settings = settings_of(context)
    done = rollback_model(settings, data or Path(settings.engine.data_dir), file)
    click.echo(f"{done['learner']}: rolled back to {file}, as version {done['version']}")
