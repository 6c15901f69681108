"""What the commands of ``headrace`` share: help that ends with an example, the settings in force, a report."""

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from streams.contract.errors import ConfigurationError

if TYPE_CHECKING:
    from streams.contract.settings import Settings


class Command(click.Command):
    """A command whose help ends with an example."""

    def __init__(self, *arguments: Any, example: str, **settings: Any) -> None:
        super().__init__(*arguments, **settings)
        self.example = example

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Example"):
            for line in self.example.splitlines():
                formatter.write(f"{'':{formatter.current_indent}}{line}\n")


class Group(Command, click.Group):
    """A group whose commands are such, too."""

    command_class = Command
    group_class = type


def _writable(context: click.Context, parameter: click.Parameter, path: Path | None) -> Path | None:
    """Refuses a file that could not be written at the end, which may be an hour away."""
    if path is not None and not os.access(path if path.exists() else path.parent, os.W_OK):
        raise click.BadParameter(f"{path} cannot be written.")
    return path


report_option: Final = click.option(
    "--report",
    type=click.Path(path_type=Path, dir_okay=False),
    callback=_writable,
    metavar="FILE",
    help="Gets the summary, JSON.",
)


def settings_of(context: click.Context) -> "Settings":
    """Reads the settings that the file, the environment and the options before the command make."""
    from streams.contract.settings import load_settings

    path, bootstrap_servers = context.obj
    environment = dict(os.environ)
    if bootstrap_servers is not None:
        # The most specific of the variables, so that what is typed wins over both; quoted as a TOML string.
        environment["HEADRACE_KAFKA__BOOTSTRAP_SERVERS"] = json.dumps(bootstrap_servers)
    return load_settings(path, environment)


def write_report(summary: object, report: Path | None, *, shown: bool = False) -> None:
    """Writes a summary to a file, or prints it where there is none and it was not shown otherwise."""
    import msgspec

    encoded = msgspec.json.format(msgspec.json.encode(summary), indent=2)
    if report is not None:
        try:
            report.write_bytes(encoded + b"\n")
        except OSError as error:
            raise ConfigurationError(f"the report cannot be written: {error}") from error
    elif not shown:
        click.echo(encoded)
