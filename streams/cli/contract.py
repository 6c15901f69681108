"""``headrace contract``: the contract with other systems."""

import click

from streams.cli.base import Group, Registered, settings_of, settings_options


@click.group(cls=Group, example="headrace contract show --format openapi")
def contract() -> None:
    """Shows the contract with other systems."""


@contract.command(example="headrace contract show --format asyncapi | jq '.channels | keys'")
@click.option(
    "--format", "name", required=True, type=Registered("streams.serving.contract:FORMATS"), help="Its format."
)
@settings_options
@click.pass_context
def show(context: click.Context, name: str) -> None:
    """Prints the contract.

    OpenAPI describes the HTTP door, AsyncAPI the topics, and JSON Schema the records of both.
    """
    from streams.serving.contract import FORMATS, encoded

    click.echo(encoded(FORMATS[name](settings_of(context))), nl=False)
