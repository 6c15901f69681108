"""What the commands of ``headrace`` share: help that ends with an example, the settings in force, a report."""

import difflib
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeVar

import click

from streams.contract.errors import ConfigurationError

if TYPE_CHECKING:
    from streams.contract.settings import Settings

F = TypeVar("F", bound=Callable[..., Any])


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

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Finds a command, and names the nearest one where there is none."""
        near = difflib.get_close_matches(args[0], self.list_commands(ctx), n=1)
        if near and args[0] not in self.commands:
            ctx.fail(f"No such command {args[0]!r}; did you mean {near[0]}?")
        return super().resolve_command(ctx, args)


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


class Given(NamedTuple):
    """What was typed of the options that say where settings come from."""

    config: Path | None = None
    bootstrap_servers: str | None = None


def _remember(context: click.Context, parameter: click.Parameter, value: Any) -> None:
    given = context.obj or Given()
    context.obj = given if value is None else given._replace(**{str(parameter.name): value})


_CONFIG: Final = click.option(
    "--config",
    type=click.Path(path_type=Path),
    metavar="FILE.toml",
    expose_value=False,
    callback=_remember,
    help="Settings; without it, defaults.",
)
_BOOTSTRAP_SERVERS: Final = click.option(
    "--bootstrap-servers",
    metavar="HOST:PORT",
    expose_value=False,
    callback=_remember,
    help="The broker.  [env: KAFKA_BOOTSTRAP_SERVERS]",
)


def settings_options(command: F) -> F:
    """Lets the options that say where settings come from stand behind a command's name as well as before it."""
    return _CONFIG(_BOOTSTRAP_SERVERS(command))


def settings_of(context: click.Context) -> "Settings":
    """Reads the settings that the file, the environment and the options make."""
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
