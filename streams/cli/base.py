"""Shared parts of the commands: help that ends with an example, options for the settings, reports."""

import difflib
import json
import os
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from pkgutil import resolve_name
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeVar

import click

from streams.contract.errors import ConfigurationError, UnreachableBroker

if TYPE_CHECKING:
    from streams.contract.settings import Settings

F = TypeVar("F", bound=Callable[..., Any])


class Command(click.Command):
    """A command whose help ends with an example."""

    def __init__(self, *arguments: Any, example: str, **settings: Any) -> None:
        super().__init__(*arguments, **settings)
        self.example = example

    def invoke(self, ctx: click.Context) -> Any:
        """Runs it; where no broker answers, the error says why."""
        try:
            return super().invoke(ctx)
        except UnreachableBroker as error:
            if isinstance(self, click.Group):
                raise
            from streams.engine.reachability import why_unreachable

            why = why_unreachable(settings_of(ctx).kafka)
            raise UnreachableBroker(f"{error}; {why}" if why else str(error)) from error

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Example"):
            for line in self.example.splitlines():
                formatter.write(f"{'':{formatter.current_indent}}{line}\n")


class Group(Command, click.Group):
    """A group whose commands have an example, too."""

    command_class = Command
    group_class = type

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Finds a command; for an unknown name the error names the nearest one."""
        near = difflib.get_close_matches(args[0], self.list_commands(ctx), n=1)
        if near and args[0] not in self.commands and not ctx.resilient_parsing:  # as it is for shell completion
            ctx.fail(f"No such command {args[0]!r}; did you mean {near[0]}?")
        return super().resolve_command(ctx, args)


class Registered(click.Choice[str]):
    """A choice among the names of a registry, which is imported only to parse an argument or to show the help.

    Args:
        registry: ``module:attribute`` of a mapping or a tuple of names.
    """

    def __init__(self, registry: str) -> None:
        super().__init__(())
        self._registry = registry

    @property
    def choices(self) -> Sequence[str]:
        return tuple(resolve_name(self._registry))

    @choices.setter
    def choices(self, choices: Sequence[str]) -> None:
        """Ignores the value that :class:`click.Choice` sets."""


def _writable(context: click.Context, parameter: click.Parameter, path: Path | None) -> Path | None:
    """Refuses a file that cannot be written, before the command runs for an hour."""
    if path is not None and not os.access(path if path.exists() else path.parent, os.W_OK):
        raise click.BadParameter(f"{path} cannot be written.")
    return path


report_option: Final = click.option(
    "--report",
    type=click.Path(path_type=Path, dir_okay=False),
    callback=_writable,
    metavar="FILE",
    help="Write the summary to this file, as JSON.",
)


data_option: Final = click.option(
    "--data",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="Data directory.  [default: engine.data_dir]",
)


strict_option: Final = click.option(
    "--strict",
    is_flag=True,
    help="Refuse a file with a bad row or an unknown event; otherwise they are left out and shown.",
)


def notify(sentence: str) -> None:
    """Writes a sentence to standard error."""
    click.echo(f"headrace: {sentence}", err=True)


class SettingsOptions(NamedTuple):
    """Values of the options that tell where the settings come from; ``None`` if not given."""

    config: Path | None = None
    bootstrap_servers: str | None = None


def _remember(context: click.Context, parameter: click.Parameter, value: Any) -> None:
    options = context.obj or SettingsOptions()
    context.obj = options if value is None else options._replace(**{str(parameter.name): value})


_CONFIG: Final = click.option(
    "--config",
    type=click.Path(path_type=Path),
    metavar="FILE.toml",
    expose_value=False,
    callback=_remember,
    help="File of settings.  [default: built-in settings]",
)
_BOOTSTRAP_SERVERS: Final = click.option(
    "--bootstrap-servers",
    metavar="HOST:PORT",
    expose_value=False,
    callback=_remember,
    help="Address of the broker.  [env: KAFKA_BOOTSTRAP_SERVERS]",
)


def settings_options(command: F) -> F:
    """Adds the options of the settings to a command, so that they may stand before or behind its name."""
    return _CONFIG(_BOOTSTRAP_SERVERS(command))


def settings_of(context: click.Context) -> "Settings":
    """Loads the settings from the file, the environment and the options."""
    from streams.contract.settings import load_settings

    path, bootstrap_servers = context.obj
    environment = dict(os.environ)
    if bootstrap_servers is not None:
        # The most specific variable, so that the option overrides file and environment; quoted as a TOML string.
        environment["HEADRACE_KAFKA__BOOTSTRAP_SERVERS"] = json.dumps(bootstrap_servers)
    return load_settings(path, environment)


def write_report(summary: object, report: Path | None, *, shown: bool = False) -> None:
    """Writes a summary to a file; without a file, prints it unless it was ``shown`` already."""
    import msgspec

    encoded = msgspec.json.format(msgspec.json.encode(summary), indent=2)
    if report is not None:
        try:
            report.write_bytes(encoded + b"\n")
        except OSError as error:
            raise ConfigurationError(f"the report cannot be written: {error}") from error
    elif not shown:
        click.echo(encoded)


def print_lines(batches: Iterable[list[bytes]]) -> None:
    """Writes lines to standard output, batch by batch, until the reader (such as ``head``) closes the pipe."""
    output = click.get_binary_stream("stdout")
    try:
        for lines in batches:
            output.write(b"".join(line + b"\n" for line in lines))
            output.flush()
    except BrokenPipeError:
        # Python flushes once more at exit, which must not raise.
        os.dup2(os.open(os.devnull, os.O_WRONLY), output.fileno())


def total_of(advance: Callable[[int], None]) -> Callable[[int], None]:
    """Turns a callback for increments into a callback for totals."""
    shown = 0

    def advance_to(total: int) -> None:
        nonlocal shown
        advance(total - shown)
        shown = total

    return advance_to
