"""``headrace config``: shows the settings in force."""

import click

from streams.cli.base import Group, settings_of, settings_options


@click.group(cls=Group, example="headrace config show")
def config() -> None:
    """Shows the settings in force."""


@config.command(example="HEADRACE_KAFKA__PARTITIONS=8 headrace --config shop.toml config show")
@settings_options
@click.pass_context
def show(context: click.Context) -> None:
    """Prints the settings in force.

    They include the file and the environment. The output is JSON, with secrets blanked.
    """
    import orjson

    from streams.contract.settings import dump_settings

    click.echo(orjson.dumps(dump_settings(settings_of(context)), option=orjson.OPT_INDENT_2))
